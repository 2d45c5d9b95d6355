"""Adapters for marginals that differ: ``P(X_S) != P(X_T)``."""
