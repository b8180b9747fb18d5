"""Data that comes with the package or is known to it by name."""
