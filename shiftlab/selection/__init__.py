"""Choosing without target labels: validators and the search over adapters."""
