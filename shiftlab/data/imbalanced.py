"""Two-class tables with one rare class, and a target with the same or with equal shares."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shiftlab.domain import Domain

__all__ = ["IMBALANCED", "TARGETS", "make_imbalanced"]

Rows = tuple[NDArray[np.float64], NDArray[np.intp]]

RARE = 0.05  # share of the rare class in the source
N_SOURCE = 1000  # at most; half of a small table
TARGETS = ("same", "balanced")


def _tumours(rng: np.random.Generator) -> Rows:
    """Breast cancer of Wisconsin, standardised; malignant is the rare class."""
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), (y == 0).astype(np.intp)


def _eights(rng: np.random.Generator) -> Rows:
    """scikit-learn's digits; the eight is the rare class."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return X / 16.0, (y == 8).astype(np.intp)


def _overlap(rng: np.random.Generator) -> Rows:
    """Generated: two Gaussians of five columns, for which logistic regression is right."""
    y = np.repeat([0, 1], [6000, 2000]).astype(np.intp)
    return rng.normal(size=(8000, 5)) + y[:, None] * np.array([1.2, 0.8, 0.4, 0.0, 0.0]), y


def _islands(rng: np.random.Generator) -> Rows:
    """Generated: the rare class in four islands among the usual one."""
    y = np.repeat([0, 1], [6000, 2000]).astype(np.intp)
    X = rng.uniform(-4, 4, size=(8000, 2))
    centres = np.array([[-2.0, -2.0], [-2.0, 2.0], [2.0, -2.0], [2.0, 2.0]])
    X[y == 1] = centres[rng.integers(0, 4, 2000)] + 0.5 * rng.normal(size=(2000, 2))
    return X, y


IMBALANCED: dict[str, Callable[[np.random.Generator], Rows]] = {
    "tumours": _tumours,
    "eights": _eights,
    "overlap": _overlap,
    "islands": _islands,
}
"""Name of a table to what draws it: two that ship with scikit-learn, and two that are generated."""


def make_imbalanced(name: str, target: str, random_state: int) -> tuple[Domain, Domain]:
    """Draw a source of which 5% are of the rare class, and a target of other rows.

    Accuracy on a "balanced" target is the balanced accuracy: what counts where missing a rare
    case costs as much more as it is rarer.

    Parameters
    ----------
    name : {"tumours", "eights", "overlap", "islands"}
        Which table. The first two are thinned to the share.
    target : {"same", "balanced"}
        Whether the target has the source's shares or equal ones.
    random_state : int
        Seed.

    Returns
    -------
    tuple of (Domain, Domain)
        Source and target, both with labels.

    Examples
    --------
    >>> source, target = make_imbalanced("overlap", "balanced", 0)
    >>> round(float(source.y.mean()), 2), round(float(target.y.mean()), 2)
    (0.05, 0.5)
    """
    rng = np.random.default_rng(random_state)
    X, y = IMBALANCED[name](rng)
    usual, rare = (rng.permutation(np.flatnonzero(y == c)) for c in (0, 1))
    n_rare = min(round(RARE * N_SOURCE), round(RARE * len(usual) / 2))
    n_usual = round(n_rare * (1 - RARE) / RARE)
    trained = np.concatenate([usual[:n_usual], rare[:n_rare]])
    usual, rare = usual[n_usual:], rare[n_rare:]
    share = RARE if target == "same" else 0.5
    # As many as there are in these shares.
    total = min(len(usual) / (1 - share), len(rare) / share)
    tested = np.concatenate([usual[: round(total * (1 - share))], rare[: round(total * share)]])
    return Domain(X[trained], y[trained], name="source"), Domain(X[tested], y[tested], name=target)
