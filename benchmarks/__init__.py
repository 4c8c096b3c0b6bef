"""Measurements against other projects; each prints hardware and versions."""
