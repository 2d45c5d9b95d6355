"""Choose how much of the source to use by what held-out labelled target rows say."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

__all__ = ["FEW", "dealt_folds", "row_losses", "unless_better"]

Floats = NDArray[np.float64]

FEW = 10  # labelled target rows below which a choice by cross-validation is a lottery


def dealt_folds(y: NDArray[Any], cv: int, rng: np.random.RandomState) -> NDArray[np.intp]:
    """Deal rows into folds, those of a class one after the other, so that folds have its share.

    Parameters
    ----------
    y : ndarray of shape (m,)
        Labels, or numbers, which are then dealt in their order.
    cv : int
        Folds; never more than rows.
    rng : RandomState
        Shuffles the rows of a class.

    Returns
    -------
    ndarray of shape (m,)
        The fold of each row.
    """
    m = len(y)
    codes = np.unique(y, return_inverse=True)[1]
    fold = np.empty(m, dtype=np.intp)
    fold[np.lexsort((rng.permutation(m), codes))] = np.arange(m) % min(cv, m)
    return fold


def row_losses(model: Any, X: Any, y: NDArray[Any]) -> Floats:
    """Return the loss of each row: log-loss, error without `predict_proba`, or squared error.

    Parameters
    ----------
    model : estimator
        Fitted.
    X : array of shape (m, d)
        Rows that it did not train on, in its shape.
    y : ndarray of shape (m,)
        Their labels or numbers.

    Returns
    -------
    ndarray of shape (m,)
    """
    if not is_classifier(model):
        return np.asarray((np.ravel(model.predict(X)) - y) ** 2, dtype=np.float64)
    if not hasattr(model, "predict_proba"):
        return np.asarray(model.predict(X) != y, dtype=np.float64)
    probabilities = np.asarray(model.predict_proba(X), dtype=np.float64)
    place = np.searchsorted(model.classes_, y).clip(max=len(model.classes_) - 1)
    own = probabilities[np.arange(len(y)), place]
    own = np.where(model.classes_[place] == y, own, 0.0)
    return np.asarray(-np.log(np.maximum(own, 1e-3)))  # one row must not decide alone


def unless_better(losses: Floats, counts: Floats, default: int) -> int:
    """Return the choice with the smallest mean loss, if it beats the default by a standard error.

    Parameters
    ----------
    losses : ndarray of shape (g, m)
        Loss of each held-out row under each choice.
    counts : ndarray of shape (m,)
        What each row counts for; they sum to one.
    default : int
        The choice that stays unless another is better by more than one standard error of the
        difference, row by row.

    Returns
    -------
    int

    Examples
    --------
    >>> import numpy as np
    >>> quarter = np.full(4, 0.25)
    >>> unless_better(np.array([[2.0, 2, 2, 2], [1.0, 1, 1, 2]]), quarter, 0)
    1
    >>> unless_better(np.array([[2.0, 2, 2, 2], [1.0, 3, 1, 2]]), quarter, 0)
    0
    """
    best = int(np.argmin(losses @ counts))
    gain = losses[default] - losses[best]
    error = np.sqrt(counts**2 @ (gain - gain @ counts) ** 2)
    return best if gain @ counts > error else default
