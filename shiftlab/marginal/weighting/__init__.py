"""Importance weights for the source rows."""
