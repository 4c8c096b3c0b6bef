"""The rows of the catalogue, a file per family; a family derives its rows with ``dataclasses.replace``."""
