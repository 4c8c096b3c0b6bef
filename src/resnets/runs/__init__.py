"""What happened: the run directory, the contract between commands."""
