"""Could a change of the class shares alone explain the target's X?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.decomposition import TruncatedSVD

from shiftlab.domain import Domain
from shiftlab.stats.label_fit import (
    LabelFitResult,
    LabelView,
    learnt_label_fit,
    mixture_moments,
)
from shiftlab.stats.priors import em_prior
from shiftlab.validation import numeric_rows

__all__ = [
    "copies",
    "discount_copies",
    "halves",
    "is_label_shift_plausible",
    "label_shift_fit",
    "reduction",
    "some_rows",
]

Floats = NDArray[np.float64]

LEVEL = 0.01
SMALLEST_MISFIT = 0.02  # a smaller one does not move a prior by much, however certain it is
ROWS = 2000  # of each side
COLUMNS = 64  # more are reduced to as many principal directions
WORST_CONDITION = 50.0
WORST_ERROR = 0.25  # of a share, with which poor predictions of many rows still tell it


def is_label_shift_plausible(fit: LabelFitResult | None) -> bool:
    """Whether a test leaves label shift standing: not rejected, by much or at all.

    Parameters
    ----------
    fit : LabelFitResult or None
        From `label_shift_fit`.

    Returns
    -------
    bool
        True as well where nothing could be tested.
    """
    return fit is None or fit.p_value > LEVEL or fit.misfit <= SMALLEST_MISFIT


def label_shift_fit(
    source: Domain,
    probabilities: Floats,
    codes: NDArray[np.intp],
    target: Domain,
    target_probabilities: Floats,
    rng: np.random.RandomState,
) -> LabelFitResult | None:
    """Test whether the target's rows are a mixture of the source's classes.

    By :func:`shiftlab.stats.label_fit.learnt_label_fit`: on one half of the rows a classifier
    learns what tells the target from the source after the source's classes are weighted to the
    estimated prior; on the other half its score is tested. The classifier sees the columns (as
    64 principal directions where there are more; none of a data frame with text) and the
    predictions. At most 2,000 rows of each side are used; about a second.

    Parameters
    ----------
    source : Domain
        Held-out rows.
    probabilities : ndarray of shape (n, k)
        Predictions of them by models that did not train on them.
    codes : ndarray of shape (n,)
        Their classes.
    target : Domain
        Target rows.
    target_probabilities : ndarray of shape (m, k)
        Their predictions by the same models.
    rng : RandomState
        For the halves.

    Returns
    -------
    LabelFitResult or None
        None where there are too few rows, or predictions that do not tell the classes apart.
    """
    kept = np.flatnonzero(np.bincount(codes, minlength=probabilities.shape[1]) >= 4)
    rows = some_rows(np.flatnonzero(np.isin(codes, kept)), rng)
    target_rows = some_rows(np.arange(target.n_rows), rng)
    kept = np.flatnonzero(np.bincount(codes[rows], minlength=probabilities.shape[1]) >= 4)
    rows = rows[np.isin(codes[rows], kept)]
    if len(kept) < 2 or len(target_rows) < 10:
        return None
    p = probabilities[rows][:, kept]
    t = target_probabilities[target_rows][:, kept]
    c = np.searchsorted(kept, codes[rows])
    moments = mixture_moments(p, c, t)
    if moments.condition > WORST_CONDITION and not (moments.standard_error < WORST_ERROR).all():
        return None
    source, target = source.take(rows), target.take(target_rows)
    X, Z = _columns(source, p, target, t)
    kin, target_kin = copies(source.X, c), copies(target.X)

    def view(learn: NDArray[np.bool_], target_learn: NDArray[np.bool_]) -> LabelView:
        shares = np.bincount(c[learn], minlength=len(kept)) / learn.sum()
        # Less than one where a rare class was left out.
        total = t[target_learn].sum(axis=1, keepdims=True)
        known = total[:, 0] > 1e-6
        weight = np.ones(len(c))
        if known.any() and shares.all():
            found = em_prior(t[target_learn][known] / total[known], shares).prior
            weight = (found / shares)[c]
        look = reduction(X[learn], Z[target_learn])
        seen, target_seen = (np.log(np.maximum(rows, 1e-6)) for rows in (p, t))
        return LabelView(
            weight, np.hstack([look(X), seen]), np.hstack([look(Z), target_seen]), p, t
        )

    half = halves(c, kin, rng)
    target_half = halves(np.zeros(len(t), np.intp), target_kin, rng)
    found = learnt_label_fit(view, c, half, target_half, int(rng.randint(2**31 - 1)))
    return discount_copies(found, target_kin)


def discount_copies(found: LabelFitResult, kin: NDArray[np.intp]) -> LabelFitResult:
    """Return the result as if copies of a target row said no more than the row itself."""
    times = np.bincount(kin)
    statistic = found.statistic / float(np.sqrt(np.square(times).sum() / times.sum()))
    return found._replace(statistic=statistic, p_value=float(norm.sf(statistic)))


def some_rows(rows: NDArray[Any], rng: np.random.RandomState) -> NDArray[Any]:
    """Return all rows, or 2,000 of them at random."""
    return rows if len(rows) <= ROWS else np.sort(rng.choice(rows, ROWS, replace=False))


def halves(
    codes: NDArray[np.intp], kin: NDArray[np.intp], rng: np.random.RandomState
) -> NDArray[np.intp]:
    """Deal the rows of each class into two halves, equal rows into the same one."""
    half = np.empty(len(codes), dtype=np.intp)
    for code in np.unique(codes):
        inside = np.flatnonzero(codes == code)
        different, member = np.unique(kin[inside], return_inverse=True)
        half[inside] = (rng.permutation(len(different)) % 2)[member]
    return half


def copies(X: Any, codes: NDArray[np.intp] | None = None) -> NDArray[np.intp]:
    """Return a number for each row that copies of it share, such as oversampling makes.

    Equal rows of different classes are no copies: columns of few values make them by chance. In
    that case, and where X is no matrix, every row has a number of its own.

    Parameters
    ----------
    X : array, CSR matrix, data frame or images
        Rows.
    codes : ndarray of shape (n,), default=None
        Their classes.

    Returns
    -------
    ndarray of shape (n,)
    """
    n = X.shape[0]
    if not isinstance(X, np.ndarray) or X.dtype == object or n == 0:
        return np.arange(n)
    flat = np.ascontiguousarray(X.reshape(n, -1))
    keys = flat.view(np.dtype((np.void, flat.dtype.itemsize * flat.shape[1]))).ravel()
    different, kin = np.unique(keys, return_inverse=True)
    kin = kin.reshape(-1)
    if codes is not None:
        most = np.zeros(len(different), dtype=np.intp)
        least = np.full(len(different), codes.max())
        np.maximum.at(most, kin, codes)
        np.minimum.at(least, kin, codes)
        if (most != least).any():
            return np.arange(n)
    return kin.astype(np.intp)


def _columns(source: Domain, p: Floats, target: Domain, t: Floats) -> tuple[Any, Any]:
    """Return the columns that can be read as numbers: all, or none."""
    try:
        X, Z = numeric_rows(source, "", sparse=True), numeric_rows(target, "", sparse=True)
    except ValueError:  # text or missing values: the estimator takes them, this does not
        return np.empty((len(p), 0)), np.empty((len(t), 0))
    if X.shape[1] <= COLUMNS and source.is_sparse:
        return X.toarray(), Z.toarray()
    return X, Z


def reduction(X: Any, Z: Any) -> Callable[[Any], Floats]:
    """Return what makes of columns the few that a classifier sees, learnt on these rows only.

    Directions of all target rows would fit them better than the source's.
    """
    directions = None
    if X.shape[1] > COLUMNS:
        both = sp.vstack([X, Z]) if sp.issparse(X) else np.vstack([X, Z])
        directions = TruncatedSVD(COLUMNS, random_state=0).fit(both)

    def look(rows: Any) -> Floats:
        return np.asarray(rows if directions is None else directions.transform(rows))

    return look
