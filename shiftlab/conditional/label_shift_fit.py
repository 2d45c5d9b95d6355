"""Could a change of the class shares alone explain the target's X?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.decomposition import TruncatedSVD

from shiftlab.domain import Domain
from shiftlab.stats.label_fit import LabelFitResult, label_fit_test, mixture_moments
from shiftlab.stats.learners import BlendedClassifier
from shiftlab.stats.priors import em_prior
from shiftlab.validation import numeric_rows

__all__ = ["is_label_shift_plausible", "label_shift_fit"]

Floats = NDArray[np.float64]

LEVEL = 0.01
SMALLEST_MISFIT = 0.02  # a smaller one does not move a prior by much, however certain it is
ROWS = 2000  # of each side
COLUMNS = 50  # more are reduced to as many principal directions
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
    one under label shift. The classifier sees the columns (as 50 principal directions where
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
    X, Z = _columns(source.take(rows), p, target.take(target_rows), t)
    half = _halves(c, rng)
    target_half = rng.permutation(len(t)) % 2
    seed = int(rng.randint(2**31 - 1))
    ways = []
    for learn in (0, 1):
        a, b, d, e = half == learn, half != learn, target_half == learn, target_half != learn
        shares = np.bincount(c[a]) / a.sum()
        total = np.maximum(t[d].sum(axis=1, keepdims=True), 1e-12)
        weight = (em_prior(_normal(t[d], total), shares).prior / shares)[c[a]]
        scorer = BlendedClassifier(random_state=seed)
        is_target = np.repeat([False, True], [a.sum(), d.sum()])
        # Both sides weigh the same, so that the score is about shape and not about sizes.
        balance = np.append(weight / weight.sum(), np.full(d.sum(), 1 / d.sum()))
        scorer.fit(np.vstack([X[a], Z[d]]), is_target, balance * len(is_target) / 2)
        ways.append(
            label_fit_test(
                scorer.predict_proba(X[b])[:, 1], p[b], c[b], scorer.predict_proba(Z[e])[:, 1], t[e]
            )
        )
    statistic, misfit, error = np.mean(
        [(r.statistic, r.misfit, r.standard_error) for r in ways], axis=0
    )
    return LabelFitResult(float(statistic), float(norm.sf(statistic)), float(misfit), float(error))


def _normal(p: Floats, total: Floats) -> Floats:
    return np.where(total > 1e-12, p / total, 1 / p.shape[1])


def _some(rows: NDArray[Any], rng: np.random.RandomState) -> NDArray[Any]:
    return rows if len(rows) <= ROWS else np.sort(rng.choice(rows, ROWS, replace=False))


def _halves(codes: NDArray[np.intp], rng: np.random.RandomState) -> NDArray[np.intp]:
    """Deal the rows of each class into two halves."""
    half = np.empty(len(codes), dtype=np.intp)
    for code in np.unique(codes):
        inside = rng.permutation(np.flatnonzero(codes == code))
        half[inside] = np.arange(len(inside)) % 2
    return half


def _columns(source: Domain, p: Floats, target: Domain, t: Floats) -> tuple[Floats, Floats]:
    """Return what the classifier of the two sides sees."""
    logs, target_logs = np.log(np.maximum(p, 1e-6)), np.log(np.maximum(t, 1e-6))
    try:
        X = numeric_rows(source, "", sparse=True)
        Z = numeric_rows(target, "", sparse=True)
    except ValueError:  # text or missing values: the estimator takes them, this does not
        return logs, target_logs
    if X.shape[1] > COLUMNS:
        directions = TruncatedSVD(COLUMNS, random_state=0).fit(Z)
        X, Z = directions.transform(X), directions.transform(Z)
    elif source.is_sparse:
        X, Z = X.toarray(), Z.toarray()
    return np.hstack([X, logs]), np.hstack([Z, target_logs])
