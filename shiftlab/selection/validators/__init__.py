"""Scores of a fitted candidate, none but the oracle with target labels; one family a file."""
