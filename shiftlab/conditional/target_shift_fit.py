"""Could weights on Y alone explain the target's X? For classes and for numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.conditional.label_shift_fit import (
    WORST_CONDITION,
    copies,
    discount_copies,
    halves,
    reduction,
    some_rows,
)
from shiftlab.stats.label_fit import LabelFitResult, LabelView, learnt_label_fit
from shiftlab.stats.learners import BlendedClassifier, BlendedRegressor

__all__ = ["is_scale", "label_basis", "target_shift_fit"]

Floats = NDArray[np.float64]

MANY_VALUES = 20  # numbers with more different values are a scale, not names of classes
FEWEST_ROWS = 40  # of each side


def is_scale(y: NDArray[Any]) -> bool:
    """Whether Y is a number with more than 20 different values, and not the name of a class."""
    return y.dtype.kind in "iuf" and len(np.unique(y)) > MANY_VALUES


def label_basis(y: NDArray[Any], n_knots: int) -> Floats:
    """Return functions of Y that sum to one: its classes, or bumps at quantiles of its scale.

    O(n k).

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels or numbers.
    n_knots : int
        Number of bumps for numbers with more than 20 different values.

    Returns
    -------
    ndarray of shape (n, k)
        Non-negative; rows sum to one. Bumps are triangles, so that weights are piecewise linear
        in Y.

    Examples
    --------
    >>> import numpy as np
    >>> label_basis(np.array(["a", "b", "a"]), 5).tolist()
    [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    >>> label_basis(np.arange(101.0), 3)[25].tolist()
    [0.5, 0.5, 0.0]
    """
    if not is_scale(y):
        values, codes = np.unique(y, return_inverse=True)
        return np.eye(len(values))[codes]
    return _bumps(y, y, n_knots)


def _bumps(y: NDArray[Any], among: NDArray[Any], n_knots: int) -> Floats:
    knots = np.unique(np.quantile(among, np.linspace(0, 1, n_knots)))
    return np.stack([np.interp(y, knots, unit) for unit in np.eye(len(knots))], axis=1)


def target_shift_fit(
    X: Floats,
    y: NDArray[Any],
    Z: Floats,
    source_weight: Floats | None,
    weigh: Callable[[NDArray[np.intp], NDArray[np.intp]], Floats],
    n_knots: int,
    rng: np.random.RandomState,
) -> LabelFitResult | None:
    """Test whether some weights on Y make the source's rows the target's.

    By :func:`shiftlab.stats.label_fit.learnt_label_fit`. Y is predicted from X on the half on
    which the score is learnt; a number is predicted as bumps at quantiles of its prediction, as
    many as X can tell apart. At most 2,000 rows of each side are used; about a second.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Source rows.
    y : ndarray of shape (n,)
        Their labels or numbers.
    Z : ndarray of shape (m, d)
        Target rows.
    source_weight : ndarray of shape (n,) or None
        Weights of the source rows.
    weigh : callable
        From source rows and target rows, as indices, to weights of these source rows under which
        they have the target's Y.
    n_knots : int
        Most bumps for numbers, see :func:`label_basis`.
    rng : RandomState
        For the halves.

    Returns
    -------
    LabelFitResult or None
        None where there are too few rows, or predictions that do not tell Y apart.
    """
    scale = is_scale(y)
    own = np.ones(len(y)) if source_weight is None else source_weight
    rows = some_rows(np.flatnonzero(own > 0), rng)
    target_rows = some_rows(np.arange(len(Z)), rng)
    if not scale and len(rows):  # a class of which a half may have no row is left out
        _, codes, counts = np.unique(y[rows], return_inverse=True, return_counts=True)
        rows = rows[counts[codes] >= 4]
    if min(len(rows), len(target_rows)) < FEWEST_ROWS:
        return None
    X, y, Z, own = X[rows], y[rows], Z[target_rows], own[rows]
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        return None
    strata = np.zeros(len(y), np.intp) if scale else codes
    target_kin = copies(Z)
    half = halves(strata, copies(X, strata), rng)
    target_half = halves(np.zeros(len(Z), np.intp), target_kin, rng)
    seed = int(rng.randint(2**31 - 1))
    looks = [_look(X, y, Z, half == learn, target_half == learn, scale, seed) for learn in (0, 1)]
    for k in range(n_knots if scale else 2, 1, -1):
        member = own[:, None] * (_bumps(y, y, k) if scale else np.eye(len(classes))[codes])
        seen = [
            _with_bumps(look, half == learn, k) if scale else look
            for learn, look in enumerate(looks)
        ]
        if all(
            _condition(member[half != learn], view.predictions[half != learn]) <= WORST_CONDITION
            for learn, view in enumerate(seen)
        ):
            break
    else:
        return None

    def view(learn: NDArray[np.bool_], target_learn: NDArray[np.bool_]) -> LabelView:
        weight = np.zeros(len(X))
        weight[learn] = weigh(rows[learn], target_rows[target_learn])
        return seen[int(half[learn][0])]._replace(weight=weight)

    return discount_copies(learnt_label_fit(view, member, half, target_half, seed), target_kin)


def _look(
    X: Floats,
    y: NDArray[Any],
    Z: Floats,
    learn: NDArray[np.bool_],
    target_learn: NDArray[np.bool_],
    scale: bool,
    seed: int,
) -> LabelView:
    """Predict Y of all rows by what some of them teach; weights are still missing."""
    look = reduction(X[learn], Z[target_learn])
    A, B = look(X), look(Z)
    if scale:
        model = BlendedRegressor(random_state=seed).fit(A[learn], y[learn])
        p, t = model.predict(A)[:, None], model.predict(B)[:, None]
        seen, target_seen = p, t
    else:
        classifier = BlendedClassifier(random_state=seed).fit(A[learn], y[learn])
        p, t = classifier.predict_proba(A), classifier.predict_proba(B)
        seen, target_seen = (np.log(np.maximum(values, 1e-6)) for values in (p, t))
    return LabelView(np.ones(len(A)), np.hstack([A, seen]), np.hstack([B, target_seen]), p, t)


def _with_bumps(look: LabelView, learn: NDArray[np.bool_], k: int) -> LabelView:
    """Put k bumps in the place of a predicted number."""
    among = look.predictions[~learn, 0]
    return look._replace(
        predictions=_bumps(look.predictions[:, 0], among, k),
        target_predictions=_bumps(look.target_predictions[:, 0], among, k),
    )


def _condition(member: Floats, predictions: Floats) -> float:
    """Return the condition number of the mean predictions of each class or bump."""
    if predictions.shape[1] != member.shape[1]:
        return np.inf
    return float(np.linalg.cond(predictions.T @ (member / member.sum(axis=0))))
