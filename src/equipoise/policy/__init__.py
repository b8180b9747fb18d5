"""Policies: one file each. They turn estimates into a probability for every alternative."""
