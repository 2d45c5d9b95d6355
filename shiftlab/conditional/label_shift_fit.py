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
from shiftlab.stats.label_fit import LabelFitResult, label_fit_test, mixture_moments
from shiftlab.stats.learners import BlendedClassifier
from shiftlab.stats.priors import em_prior
from shiftlab.validation import numeric_rows

__all__ = ["copies", "is_label_shift_plausible", "label_shift_fit"]

Floats = NDArray[np.float64]

LEVEL = 0.01
SMALLEST_MISFIT = 0.02  # a smaller one does not move a prior by much, however certain it is
ROWS = 2000  # of each side
COLUMNS = 64  # more are reduced to as many principal directions
WORST_CONDITION = 50.0


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

    On one half of the rows a classifier learns what tells the target from the source after the
    source's classes are weighted to the estimated prior; on the other half
    :func:`shiftlab.stats.label_fit.label_fit_test` asks whether its score is higher than any
    mixture of classes allows. Both ways round are averaged, whose standard deviation is at most
    one under label shift. The classifier sees the columns (as 64 principal directions where
    there are more; none of a data frame with text) and the predictions. At most 2,000 rows of
    each side are used; about a second.

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
    rows = _some(np.flatnonzero(np.isin(codes, kept)), rng)
    target_rows = _some(np.arange(target.n_rows), rng)
    kept = np.flatnonzero(np.bincount(codes[rows], minlength=probabilities.shape[1]) >= 4)
    rows = rows[np.isin(codes[rows], kept)]
    if len(kept) < 2 or len(target_rows) < 10:
        return None
    p = probabilities[rows][:, kept]
    t = target_probabilities[target_rows][:, kept]
    c = np.searchsorted(kept, codes[rows])
    if mixture_moments(p, c, t).condition > WORST_CONDITION:
        return None
    source, target = source.take(rows), target.take(target_rows)
    X, Z = _columns(source, p, target, t)
    kin, target_kin = copies(source.X, c), copies(target.X)
    half, target_half = _halves(c, kin, rng), _halves(np.zeros(len(t), np.intp), target_kin, rng)
    seed = int(rng.randint(2**31 - 1))
    ways = []
    for learn in (0, 1):
        a, b, d, e = half == learn, half != learn, target_half == learn, target_half != learn
        ways.append(_one_way((X[a], p[a], c[a], Z[d], t[d]), (X[b], p[b], c[b], Z[e], t[e]), seed))
    statistic, misfit, error = np.mean(
        [(r.statistic, r.misfit, r.standard_error) for r in ways], axis=0
    )
    # Copies of a row say no more than the row itself.
    times = np.bincount(target_kin)
    statistic /= np.sqrt(np.square(times).sum() / times.sum())
    return LabelFitResult(float(statistic), float(norm.sf(statistic)), float(misfit), float(error))


def _one_way(learn: tuple[Any, ...], test: tuple[Any, ...], seed: int) -> LabelFitResult:
    """Learn what tells the sides apart on some rows, test on others."""
    X, p, c, Z, t = learn
    shares = np.bincount(c) / len(c)
    total = t.sum(axis=1, keepdims=True)  # less than one where a rare class was left out
    known = total[:, 0] > 1e-6
    weight = np.ones(len(c))
    if known.any():
        weight = (em_prior(t[known] / total[known], shares).prior / shares)[c]
    look = _reduction(X, Z)
    is_target = np.repeat([False, True], [len(X), len(Z)])
    # Both sides weigh the same, so that the score is about shape and not about sizes.
    balance = np.append(weight / weight.sum(), np.full(len(Z), 1 / len(Z)))
    scorer = BlendedClassifier(random_state=seed)
    scorer.fit(np.vstack([look(X, p), look(Z, t)]), is_target, balance * len(is_target) / 2)
    X, p, c, Z, t = test
    return label_fit_test(
        scorer.predict_proba(look(X, p))[:, 1], p, c, scorer.predict_proba(look(Z, t))[:, 1], t
    )


def _some(rows: NDArray[Any], rng: np.random.RandomState) -> NDArray[Any]:
    return rows if len(rows) <= ROWS else np.sort(rng.choice(rows, ROWS, replace=False))


def _halves(
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


def _reduction(X: Any, Z: Any) -> Callable[[Any, Floats], Floats]:
    """Return what makes of columns and predictions the few that the classifier sees."""
    directions = None
    if X.shape[1] > COLUMNS:
        # Learnt on these rows only: directions of all target rows would fit them better.
        both = sp.vstack([X, Z]) if sp.issparse(X) else np.vstack([X, Z])
        directions = TruncatedSVD(COLUMNS, random_state=0).fit(both)

    def look(rows: Any, predicted: Floats) -> Floats:
        columns = rows if directions is None else directions.transform(rows)
        return np.hstack([columns, np.log(np.maximum(predicted, 1e-6))])

    return look
