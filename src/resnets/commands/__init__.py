"""One file per command of the command line, each with one public function of that name."""
