"""Samples of the benchmark, the same for every tool; needs numpy and scikit-learn only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

N_TRAIN, N_TARGET = 1100, 500
ALPHAS = (0.1, 1.0, 10.0)
NOISES = (0.0, 0.35)
SEEDS = 20


class Case(NamedTuple):
    """One sample: labelled source rows, target rows, and the target's labels for the score."""

    X: np.ndarray
    y: np.ndarray
    target: np.ndarray
    hidden: np.ndarray


def digits_case(noise: float, alpha: float, seed: int) -> Case:
    """Draw 1,100 source rows, and 500 target rows of a Dirichlet prior from all the others.

    The pixels (0 to 1) get Gaussian noise before the split. Target rows are drawn with
    replacement, since a skewed prior asks for more rows of a class than there are.
    """
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng([seed, round(100 * noise), round(10 * alpha)])
    X = X / 16 + noise * rng.normal(size=X.shape)
    rows = rng.permutation(len(y))
    train, rest = rows[:N_TRAIN], rows[N_TRAIN:]
    counts = rng.multinomial(N_TARGET, rng.dirichlet(np.full(10, alpha)))
    target = np.concatenate([rng.choice(rest[y[rest] == c], counts[c]) for c in range(10)])
    return Case(X[train], y[train], X[target], y[target])


def shares(labels: np.ndarray) -> np.ndarray:
    """Return the share of each digit."""
    return np.bincount(labels, minlength=10) / len(labels)
