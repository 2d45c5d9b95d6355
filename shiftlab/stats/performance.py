"""What a model scores in a target without labels, each estimate under its own assumption."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftlab.stats.bootstrap import (
    Estimate,
    check_weights,
    estimate_of,
    resampled_counts,
    weighted_means,
)
from shiftlab.stats.calibration import (
    CALIBRATIONS,
    SMALLEST,
    Calibration,
    select_calibration,
)
from shiftlab.stats.priors import em_prior

__all__ = [
    "balanced_probability",
    "density_ratio",
    "label_shift_estimate",
    "unlabelled_accuracy",
]

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

LARGEST_RATIO = 50.0  # a larger density ratio is believed to be this one
FOLDS = 5


def balanced_probability(probability: ArrayLike, n_source: int, n_target: int) -> Floats:
    r"""Take the sample sizes out of a domain classifier's probabilities.

    .. math:: \pi(x) = \frac{p_T(x)}{p_S(x) + p_T(x)}
              = \frac{n_S\, P(T\mid x)}{n_S\, P(T\mid x) + n_T\, P(S\mid x)}

    O(n).

    Parameters
    ----------
    probability : array-like of shape (n,)
        ``P(target | x)`` by a classifier of ``n_source + n_target`` rows.
    n_source, n_target : int
        Numbers of rows, positive.

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> balanced_probability([0.25, 0.5], n_source=300, n_target=100).tolist()
    [0.5, 0.75]
    """
    p = np.asarray(probability, dtype=np.float64)
    return np.asarray(n_source * p / (n_source * p + n_target * (1 - p)))


def density_ratio(balanced: ArrayLike) -> Floats:
    r"""Turn balanced domain probabilities into ``p_T(x) / p_S(x)``, clipped at 50.

    .. math:: w(x) = \min\{50,\ \pi(x) / (1 - \pi(x))\}

    O(n).

    Parameters
    ----------
    balanced : array-like of shape (n,)
        From :func:`balanced_probability`.

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> density_ratio([0.5, 0.75, 1.0]).tolist()
    [1.0, 3.0, 50.0]
    """
    pi = np.asarray(balanced, dtype=np.float64)
    ratio = np.divide(pi, 1 - pi, out=np.full(pi.shape, LARGEST_RATIO), where=pi < 1)
    return np.asarray(np.minimum(ratio, LARGEST_RATIO))


def unlabelled_accuracy(
    source_probabilities: ArrayLike,
    source_codes: ArrayLike,
    target_probabilities: ArrayLike,
    source_ratio: ArrayLike | None = None,
    *,
    rng: np.random.Generator,
) -> dict[str, Estimate]:
    r"""Estimate a model's accuracy in the target from unlabelled target rows, in several ways.

    With the model's class :math:`\hat y`, confidences :math:`c(x)` (calibrated probability of
    :math:`\hat y`; the calibration is chosen by cross-validation on the source rows) and the
    source accuracy :math:`a_S`:

    - "average confidence": :math:`E_T\, c`.
    - "ATC": :math:`P_T(c > t)` with t such that :math:`P_S(c > t) = a_S`; rows at t count
      in part, so that the equation holds exactly.
    - "DoC": :math:`a_S + E_T c - E_S c`.
    - "label-shift adjusted": :math:`\sum_y q_y P_S(\hat y = y \mid y)`, the recalls weighted
      with the target prior q by EM. The mean of the largest reweighted probability, which is
      sometimes used, is the accuracy of a model that was adapted to q, not of this one.
    - "importance weighting": :math:`\sum_i w_i 1[\hat y_i = y_i] / \sum_i w_i`.

    Source and target rows are resampled for the intervals, which count the sampling of
    the calibration to first order (and take its kind, the density ratios and the calibrated
    probabilities behind q as known). O(200 (n + m)(k + log(n + m))) time and
    O(200 (n + m)) memory.

    Parameters
    ----------
    source_probabilities : array-like of shape (n, k)
        Class probabilities of source rows that the model did not train on.
    source_codes : array-like of shape (n,)
        Their classes, as columns of the probabilities; anything outside 0..k-1 is a class
        that the model does not know, in which it is always wrong.
    target_probabilities : array-like of shape (m, k)
        Class probabilities of target rows.
    source_ratio : array-like of shape (n,), default=None
        :math:`p_T(x) / p_S(x)` at the source rows. None leaves importance weighting out.
    rng : numpy.random.Generator
        For the resampling.

    Returns
    -------
    dict of str to Estimate
        By the names above; "label-shift adjusted" is left out when no source row has a known class.

    Raises
    ------
    ValueError
        If a side has no rows or shapes disagree.

    References
    ----------
    D. Guillory, V. Shankar, S. Ebrahimi, T. Darrell, L. Schmidt, "Predicting with Confidence
    on Unseen Distributions", ICCV 2021 (DoC).

    S. Garg, S. Balakrishnan, Z. Lipton, B. Neyshabur, H. Sedghi, "Leveraging Unlabeled Data
    to Predict Out-of-Distribution Performance", ICLR 2022 (ATC).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> sure, unsure = [0.9, 0.1], [0.6, 0.4]
    >>> source = np.array([sure] * 100 + [unsure] * 100)
    >>> codes = np.repeat([0, 1, 0, 1], [90, 10, 60, 40])
    >>> found = unlabelled_accuracy(source, codes, np.array([sure] * 200), rng=rng)
    >>> round(found["average confidence"].value, 1), round(found["DoC"].value, 1)
    (0.9, 0.9)
    """
    p_s = np.asarray(source_probabilities, dtype=np.float64)
    p_t = np.asarray(target_probabilities, dtype=np.float64)
    codes = np.asarray(source_codes, dtype=np.intp)
    if p_s.ndim != 2 or p_t.ndim != 2 or p_s.shape[1] != p_t.shape[1]:
        raise ValueError(
            "source_probabilities and target_probabilities must be (n, k) and (m, k), got "
            f"{p_s.shape} and {p_t.shape}"
        )
    if min(p_s.shape[0], p_t.shape[0]) == 0 or codes.shape != p_s.shape[:1]:
        raise ValueError(
            f"every side needs rows, and every source row a code; got {p_s.shape[0]} source rows, "
            f"{p_t.shape[0]} target rows and codes of shape {codes.shape}"
        )
    k = p_s.shape[1]
    known = (codes >= 0) & (codes < k)
    chosen_s, chosen_t = p_s.argmax(axis=1), p_t.argmax(axis=1)
    right = (chosen_s == codes).astype(np.float64)
    counts_s, counts_t = resampled_counts(len(p_s), rng), resampled_counts(len(p_t), rng)
    folds = rng.permutation(int(known.sum())) % FOLDS
    calibration = select_calibration(p_s[known], codes[known], folds, CALIBRATIONS)
    calibrated = calibration(p_t)
    sure_s = calibration(p_s)[np.arange(len(p_s)), chosen_s]
    sure_t = calibrated[np.arange(len(p_t)), chosen_t]
    mean_sure = counts_t @ sure_t / len(p_t)
    accuracy = counts_s @ right / len(p_s)

    influence = np.zeros(len(p_s))
    influence[known] = _influence(calibration, p_s[known], codes[known], p_t, chosen_t)
    found = {
        "average confidence": mean_sure + (counts_s - 1) @ influence,
        "ATC": _thresholded(counts_s, right, sure_s, counts_t, sure_t),
        "DoC": accuracy + mean_sure - counts_s @ sure_s / len(p_s),
    }
    if known.any():
        found["label-shift adjusted"] = _recall_weighted(
            counts_s[:, known], right[known], codes[known], counts_t, calibrated
        )
    if source_ratio is not None:
        ratio = np.asarray(source_ratio, dtype=np.float64)
        check_weights(ratio, "source_ratio", right, "source_codes")
        found["importance weighting"] = weighted_means(counts_s, right, ratio)
    return {name: estimate_of(values, 0.0, 1.0) for name, values in found.items()}


def label_shift_estimate(
    values: ArrayLike,
    codes: ArrayLike,
    source_probabilities: ArrayLike,
    target_probabilities: ArrayLike,
    *,
    rng: np.random.Generator,
) -> Estimate:
    r"""Mean of a value of rows in the target, if only the class shares changed.

    .. math:: \sum_y q_y\, E_S[v \mid y]

    with the target prior q by EM on calibrated probabilities. With ``v = 1`` where a model is
    right it is that model's accuracy; with the difference of two models' losses, what one
    gains over the other, which is known much better than the two by themselves. Source and
    target rows are resampled for the interval; the calibration counts as known. O(200 (n + m) k)
    time, O(200 (n + m)) memory.

    Parameters
    ----------
    values : array-like of shape (n,)
        Of source rows.
    codes : array-like of shape (n,)
        Their classes, as columns of the probabilities.
    source_probabilities : array-like of shape (n, k)
        Class probabilities of the same rows by a model that did not train on them.
    target_probabilities : array-like of shape (m, k)
        Those of target rows.
    rng : numpy.random.Generator
        For the resampling.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        If a side has no rows, or codes are outside 0..k-1.

    Examples
    --------
    >>> import numpy as np
    >>> codes = np.repeat([0, 1], 50)
    >>> sure = np.eye(2)
    >>> target = sure[np.repeat([0, 1], [20, 80])]
    >>> rng = np.random.default_rng(0)
    >>> round(label_shift_estimate(codes == 1, codes, sure[codes], target, rng=rng).value, 2)
    0.8
    """
    v = np.asarray(values, dtype=np.float64)
    y = np.asarray(codes, dtype=np.intp)
    p_s = np.asarray(source_probabilities, dtype=np.float64)
    p_t = np.asarray(target_probabilities, dtype=np.float64)
    if min(len(v), len(p_t)) == 0 or not len(v) == len(y) == len(p_s):
        raise ValueError(
            f"every side needs rows, and every source row a value and a code; got {len(v)} values, "
            f"{len(y)} codes, {len(p_s)} source and {len(p_t)} target rows"
        )
    if y.min() < 0 or y.max() >= p_s.shape[1]:
        raise ValueError(f"codes must be within 0..{p_s.shape[1] - 1}, got {y.min()}..{y.max()}")
    folds = rng.permutation(len(y)) % FOLDS
    calibrated = select_calibration(p_s, y, folds, CALIBRATIONS)(p_t)
    counts_s, counts_t = resampled_counts(len(v), rng), resampled_counts(len(p_t), rng)
    return estimate_of(_recall_weighted(counts_s, v, y, counts_t, calibrated))


def _influence(
    calibration: Calibration, p_s: Floats, codes: Codes, p_t: Floats, chosen: Codes
) -> Floats:
    r"""What one more copy of a source row does to the target's mean confidence.

    One Newton step of the calibration's parameters, :math:`-J^\top H^{-1} g_i`, with the
    gradient g of a row's log-loss, the Hessian H of their sum (with the penalty of one) and
    the derivative J of the mean confidence.
    """
    if calibration.method == "none":
        return np.zeros(len(p_s))
    logs_s, logs_t = np.log(np.maximum(p_s, SMALLEST)), np.log(np.maximum(p_t, SMALLEST))
    fitted_s, fitted_t = calibration(p_s), calibration(p_t)
    k, rows_s, rows_t = p_s.shape[1], np.arange(len(p_s)), np.arange(len(p_t))
    # inverse temperature first, then one bias per class
    centred = logs_s - (fitted_s * logs_s).sum(axis=1, keepdims=True)
    gradient = np.column_stack([-centred[rows_s, codes], fitted_s - np.eye(k)[codes]])
    hessian = np.eye(k + 1)
    hessian[0, 0] += (fitted_s * centred**2).sum()
    hessian[0, 1:] = hessian[1:, 0] = (fitted_s * centred).sum(axis=0)
    hessian[1:, 1:] += np.diag(fitted_s.sum(axis=0)) - fitted_s.T @ fitted_s
    sure = fitted_t[rows_t, chosen]
    slope = sure @ (logs_t[rows_t, chosen] - (fitted_t * logs_t).sum(axis=1))
    biases = np.bincount(chosen, weights=sure, minlength=k) - sure @ fitted_t
    derivative = np.append(slope, biases) / len(p_t)
    used = slice(0, 1 if calibration.method == "temperature" else k + 1)
    step = np.linalg.solve(hessian[used, used], derivative[used])
    return np.asarray(-gradient[:, used] @ step, dtype=np.float64)


def _thresholded(
    counts_s: Floats, right: Floats, sure_s: Floats, counts_t: Floats, sure_t: Floats
) -> Floats:
    """Share of the target above the confidence that the source's accuracy sets (ATC)."""
    levels, at = np.unique(np.concatenate([sure_s, sure_t]), return_inverse=True)

    def above(counts: Floats, level: Codes) -> Floats:
        """Rows at a level or above it, (draws, levels)."""
        lines = np.arange(len(counts))[:, None] * len(levels)
        cells = np.bincount(
            (lines + level).ravel(), weights=counts.ravel(), minlength=len(counts) * len(levels)
        )
        found: Floats = cells.reshape(len(counts), -1)[:, ::-1].cumsum(axis=1)[:, ::-1]
        return np.hstack([found, np.zeros((len(counts), 1))])

    source, target = above(counts_s, at[: len(sure_s)]), above(counts_t, at[len(sure_s) :])
    n_right = counts_s @ right
    # the highest level that has so many source rows at or above it
    level = np.maximum((source[:, :-1] >= n_right[:, None]).sum(axis=1) - 1, 0)
    lines = np.arange(len(counts_s))
    at_level = source[lines, level] - source[lines, level + 1]
    needed = n_right - source[lines, level + 1]
    part = np.divide(needed, at_level, out=np.zeros_like(needed), where=at_level > 0)
    inside = (1 - part) * target[lines, level + 1] + part * target[lines, level]
    return np.asarray(inside / len(sure_t), dtype=np.float64)


def _recall_weighted(
    counts_s: Floats, right: Floats, codes: Codes, counts_t: Floats, calibrated_t: Floats
) -> Floats:
    """Sum of the source's recalls, weighted with the target prior by EM."""
    present, position = np.unique(codes, return_inverse=True)
    indicator = np.eye(len(present))[position]
    posterior = calibrated_t[:, present] + SMALLEST
    posterior /= posterior.sum(axis=1, keepdims=True)
    prior = indicator.mean(axis=0)
    sizes = counts_s @ indicator
    overall = (right @ indicator) / indicator.sum(axis=0)
    recall = np.divide(
        counts_s @ (right[:, None] * indicator),
        sizes,
        # a class that a draw does not hold keeps its recall
        out=np.broadcast_to(overall, sizes.shape).copy(),
        where=sizes > 0,
    )
    estimate = em_prior(posterior, prior, tol=1e-6).prior
    priors = _em_draws(posterior, prior, 0.9 * estimate + 0.1 * prior, counts_t)
    priors[0] = estimate
    return np.asarray((priors * recall).sum(axis=1), dtype=np.float64)


def _em_draws(posterior: Floats, prior: Floats, start: Floats, counts: Floats) -> Floats:
    """Run the EM of ``em_prior`` in all draws at once, from a start near the end."""
    found = np.tile(start, (len(counts), 1))
    for _ in range(100):
        ratio = found / prior
        updated = ratio * ((counts / (ratio @ posterior.T)) @ posterior) / posterior.shape[0]
        moved = float(np.abs(updated - found).max())
        found = updated
        if moved < 1e-4:
            break
    return found
