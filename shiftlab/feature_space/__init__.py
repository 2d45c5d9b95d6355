"""Adapters for feature spaces that differ: ``X_S != X_T``."""
