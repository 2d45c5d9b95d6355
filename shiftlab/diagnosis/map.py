"""Both domains in two dimensions."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftlab.diagnosis.explanation import DomainMap

__all__ = ["draw_map"]

Floats = NDArray[np.float64]

POINTS = 400
FURTHEST = 5.0  # robust standard deviations; what lies beyond is drawn there
LARGEST_ODDS = 10.0
QUARTILES = 1.349  # interquartile range of a standard normal


def draw_map(
    X_source: ArrayLike,
    X_target: ArrayLike,
    domain_scores: tuple[ArrayLike, ArrayLike] | None,
    seed: int,
) -> DomainMap:
    r"""Project a sample of both sides to two dimensions.

    At most 400 random rows a side are used. Missing values become the pooled median, columns
    are standardised by pooled median and interquartile range (standard deviation where that
    is zero) and cut at 5. Without scores the axes are the first two principal components. With
    domain log odds :math:`s` the first axis is :math:`s`, and the second the first
    principal component of :math:`Z - s b^\top`, what is left after the regression of each
    column on :math:`s`: the first axis shows the difference and the second the largest spread
    beside it. O(n d^2).

    Parameters
    ----------
    X_source, X_target : array-like of shape (n_source, d) and (n_target, d)
        Numbers, NaN where missing.
    domain_scores : tuple of (source, target) log odds or None
        For each row how much it looks like the target, by a model that did not learn from it.
    seed : int
        Of the choice of rows.

    Returns
    -------
    DomainMap
        Points rounded to 3 decimals.

    Raises
    ------
    ValueError
        If there is no column, a side is empty, or shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> drawn = draw_map(rng.normal(size=(50, 3)), rng.normal(size=(900, 3)), None, seed=0)
    >>> len(drawn.source), len(drawn.target), drawn.axes[0]
    (50, 400, 'first principal component')
    """
    sides = [np.asarray(X, dtype=np.float64) for X in (X_source, X_target)]
    if any(X.ndim != 2 or X.size == 0 for X in sides) or sides[0].shape[1] != sides[1].shape[1]:
        raise ValueError(
            "X_source and X_target must be matrices with rows and the same columns, got shapes "
            f"{sides[0].shape} and {sides[1].shape}"
        )
    rng = np.random.default_rng(seed)
    rows = [np.sort(rng.permutation(X.shape[0])[:POINTS]) for X in sides]
    Z = _standardised(np.vstack([X[r] for X, r in zip(sides, rows, strict=True)]))
    total = float(np.square(Z).sum())
    if domain_scores is None:
        scores, shown = _components(Z, 2)
        axes = "first principal component", "second principal component"
        note = "Principal components of the standardised columns"
    else:
        odds = [np.asarray(s, dtype=np.float64) for s in domain_scores]
        if any(s.shape != (X.shape[0],) for s, X in zip(odds, sides, strict=True)):
            raise ValueError(
                "domain_scores must hold one number for every row, got shapes "
                f"{odds[0].shape} and {odds[1].shape} for {sides[0].shape[0]} and "
                f"{sides[1].shape[0]} rows"
            )
        first = np.concatenate([s[r] for s, r in zip(odds, rows, strict=True)])
        first = np.clip(first, -LARGEST_ODDS, LARGEST_ODDS)
        centred = first - first.mean()
        slope = centred @ Z / max(float(centred @ centred), 1e-12)
        rest = Z - np.outer(centred, slope)
        second, shown = _components(rest, 1)
        shown += total - float(np.square(rest).sum())
        scores = np.column_stack([first, second])
        axes = (
            "how much a row looks like the target (log odds)",
            "main direction of what remains",
        )
        note = (
            "Across: held-out log odds of the target. Up: first principal component of the "
            "standardised columns after the log odds are taken out"
        )
    share = shown / total if total > 0 else 0.0
    n_source = rows[0].size
    points = np.round(scores, 3) + 0.0  # no negative zero
    drawn = f"{n_source} of {sides[0].shape[0]} source rows and {rows[1].size} of "
    return DomainMap(
        source=tuple((float(a), float(b)) for a, b in points[:n_source]),
        target=tuple((float(a), float(b)) for a, b in points[n_source:]),
        axes=axes,
        note=f"{note}; the two axes show {share:.0%} of the variance of the columns. Drawn: "
        f"{drawn}{sides[1].shape[0]} target rows.",
    )


def _standardised(X: Floats) -> Floats:
    """Impute, standardise robustly, cut, and centre."""
    X = np.where(np.isfinite(X), X, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns without a value
        low, median, high = np.nan_to_num(np.nanquantile(X, [0.25, 0.5, 0.75], axis=0))
        deviation = np.nan_to_num(np.nanstd(X, axis=0))
    filled = np.where(np.isnan(X), median, X)
    scale = (high - low) / QUARTILES
    scale = np.where(scale > 0, scale, deviation)
    Z = np.clip((filled - median) / np.where(scale > 0, scale, 1.0), -FURTHEST, FURTHEST)
    return np.asarray(Z - Z.mean(axis=0), dtype=np.float64)


def _components(Z: Floats, k: int) -> tuple[Floats, float]:
    """Scores on the first k principal components (zero beyond the rank) and their sum of squares.

    A component points to where its largest loading is positive, so that the map does not flip.
    """
    _, values, loadings = np.linalg.svd(Z, full_matrices=False)
    scores = np.zeros((Z.shape[0], k))
    for i in range(min(k, values.size)):
        sign = 1.0 if loadings[i, np.argmax(np.abs(loadings[i]))] > 0 else -1.0
        scores[:, i] = sign * (Z @ loadings[i])
    return scores, float(np.square(values[:k]).sum())
