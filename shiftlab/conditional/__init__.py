"""Adapters for conditionals and label priors that differ: ``P(Y_S|X_S) != P(Y_T|X_T)``."""
