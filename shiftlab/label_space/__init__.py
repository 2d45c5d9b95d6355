"""Adapters for label spaces that differ between source and target."""
