"""Numbers -> matplotlib figures."""
