"""How many components a projection keeps, and in which units, by source labels alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_regressor
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier

from shiftlab.domain import Domain
from shiftlab.marginal.alignment.subspaces import choose_size
from shiftlab.stats.kernels import pooled_spread
from shiftlab.supervised import fit_estimator, weight_keyword

__all__ = ["FEW", "components_to_keep", "scale_columns"]

Floats = NDArray[np.float64]

FEW = 30
SIZES = (FEW, 100, 300)
ROWS = 2000
FOLDS = 3
SAME_SPREAD = 1.5  # of columns whose spreads differ by no more


def components_to_keep(
    n_components: int | None,
    possible: int,
    scores: Callable[[NDArray[np.intp]], Floats],
    source: Domain,
    estimator: Any,
    who: str,
) -> int:
    """Return the number of components: as given, or the fewest that the source's labels allow.

    None takes 30, or all where there are fewer. Where held-out source rows are predicted
    better with 100, 300 or all of the principal components, by more than a standard error of
    the difference, it takes the fewest that are within it: a projection that throws away what
    the labels depend on cannot be mended by aligning the rest. No target label is used. Up to
    12 fits of the estimator (of a nearest neighbour, where there is none) on 2,000 rows.

    Parameters
    ----------
    n_components : int or None
        As the user gave it.
    possible : int
        How many components there are.
    scores : callable
        Positions of source rows to all their principal components, the strongest first.
    source : Domain
        With the labels.
    estimator : estimator or None
        What will be trained on the components.
    who : str
        The adapter, for messages.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If ``n_components`` is larger than what there is.
    """
    few = choose_size(n_components, possible, FEW, who)
    if n_components is not None or possible <= FEW:
        return few
    rows = _judged_rows(source, estimator)
    if rows is None:
        return few
    sizes = [*[k for k in SIZES if k < possible], possible]
    components = scores(rows)
    losses = _held_out_losses([components[:, :k] for k in sizes], rows, source, estimator)
    best = min(losses, key=lambda loss: float(loss.mean()))
    within = [not _clearly_less(best, loss) for loss in losses]
    return int(sizes[within.index(True)])


def scale_columns(
    scale: bool | str, X_source: Floats, X_target: Floats, source: Domain, estimator: Any
) -> bool:
    """Return whether columns are divided by their spread: as given, or as the labels say.

    "auto" divides, unless there are more than 30 columns and held-out source rows are predicted
    better without, by more than a standard error of the difference. Columns of one unit, such as
    components or frequencies of words, say by their spread how much they matter.

    Parameters
    ----------
    scale : bool or "auto"
        As the user gave it.
    X_source, X_target : ndarray of shape (n, d)
        Rows.
    source : Domain
        With the labels.
    estimator : estimator or None
        What will be trained; a nearest neighbour where it is None.

    Returns
    -------
    bool
    """
    if scale != "auto":
        return bool(scale)
    spread = pooled_spread(X_source, X_target)
    if X_source.shape[1] <= FEW or spread.max() < SAME_SPREAD * spread.min():
        return True
    rows = _judged_rows(source, estimator)
    if rows is None:
        return True
    X = X_source[rows]
    scaled, plain = _held_out_losses([X / spread, X], rows, source, estimator)
    return not _clearly_less(plain, scaled)


def _clearly_less(first: Floats, second: Floats) -> bool:
    """Whether the first losses are less than the second by more than a standard error."""
    excess = second - first
    return bool(excess.mean() > excess.std() / np.sqrt(len(excess)))


def _judged_rows(source: Domain, estimator: Any) -> NDArray[np.intp] | None:
    """Labelled source rows to hold out in turn; None where they could not tell anything."""
    rows = np.flatnonzero(source.labelled)
    if len(rows) < 2 * FOLDS:
        return None
    if len(rows) > ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, ROWS).astype(np.intp)]
    if estimator is None or not is_regressor(estimator):
        counts = np.unique(np.asarray(source.y)[rows], return_counts=True)[1]
        if len(counts) < 2 or counts.max() < FOLDS:
            return None
    return rows


def _held_out_losses(
    options: list[Floats], rows: NDArray[np.intp], source: Domain, estimator: Any
) -> list[Floats]:
    """Loss of every held-out row under each form of the rows."""
    numbers = estimator is not None and is_regressor(estimator)
    if estimator is None:
        estimator = KNeighborsClassifier(n_neighbors=1)
    y = np.asarray(source.y)[rows]
    known = Domain(np.zeros((len(rows), 1)), y)
    if source.weight is not None and weight_keyword(estimator) is not None:
        known = known.with_(weight=source.weight[rows])
    splits: Any = KFold(FOLDS, shuffle=True, random_state=0)
    if not numbers and np.unique(y, return_counts=True)[1].min() >= FOLDS:
        splits = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    losses = [np.empty(len(rows)) for _ in options]
    for learn, test in splits.split(known.X, y):
        for loss, option in zip(losses, options, strict=True):
            part = known.with_(X=np.ascontiguousarray(option))
            predicted = fit_estimator(estimator, part.take(learn)).predict(option[test])
            loss[test] = (predicted - y[test]) ** 2 if numbers else predicted != y[test]
    return losses
