"""What a shift costs: accuracy without target labels, and a change of loss split by cause."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftlab.stats.calibration import (
    CALIBRATIONS,
    SMALLEST,
    Calibration,
    select_calibration,
)
from shiftlab.stats.priors import em_prior

__all__ = [
    "Estimate",
    "LossChange",
    "balanced_probability",
    "decompose_loss_change",
    "density_ratio",
    "mean_estimate",
    "unlabelled_accuracy",
]

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

DRAWS = 200  # of the bootstrap
LARGEST_RATIO = 50.0  # a larger density ratio is believed to be this one
FOLDS = 5


class Estimate(NamedTuple):
    """A number with its 95% bootstrap interval.

    Attributes
    ----------
    value : float
        On all rows.
    interval : tuple of (float, float)
        2.5% and 97.5% quantiles over the draws.
    """

    value: float
    interval: tuple[float, float]


class LossChange(NamedTuple):
    """What :func:`decompose_loss_change` returns; a positive number is a worse target.

    Attributes
    ----------
    total : Estimate
        Mean loss in the target less that in the source: the sum of the next three.
    to_shared : Estimate
        From the source's X to the shared X, with the source's Y given X.
    y_given_x : Estimate
        From the source's to the target's Y given X, at the shared X.
    from_shared : Estimate
        From the shared X to the target's X, with the target's Y given X.
    x : Estimate
        ``to_shared + from_shared``.
    """

    total: Estimate
    to_shared: Estimate
    y_given_x: Estimate
    from_shared: Estimate
    x: Estimate


def _counts(n: int, rng: np.random.Generator) -> Floats:
    """How often each row is drawn: once in the first line, then in bootstrap samples."""
    drawn = rng.integers(n, size=(DRAWS, n)) + n * np.arange(1, DRAWS + 1)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=n * (DRAWS + 1)).astype(np.float64)
    counts[:n] = 1.0
    return counts.reshape(DRAWS + 1, n)


def _estimate(values: Floats, low: float = -np.inf, high: float = np.inf) -> Estimate:
    """Summarise a statistic of the lines of :func:`_counts`, kept between two bounds."""
    kept = np.clip(values, low, high)
    lower, upper = np.nanquantile(kept[1:], [0.025, 0.975])
    return Estimate(float(kept[0]), (float(lower), float(upper)))


def _weighted_means(counts: Floats, values: Floats, weights: Floats) -> Floats:
    total = counts @ weights
    # A draw in which no row has any weight has no mean.
    found: Floats = np.divide(
        counts @ (values * weights), total, out=np.full(len(total), np.nan), where=total > 0
    )
    return found


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


def mean_estimate(
    values: ArrayLike, weights: ArrayLike | None = None, *, rng: np.random.Generator
) -> Estimate:
    r"""Self-normalised weighted mean :math:`\sum_i w_i v_i / \sum_i w_i` with its interval.

    With density ratios as weights and losses of source rows as values it estimates the mean
    loss in the target, if Y given X is the same there and the source has rows wherever the
    target has. Rows are resampled together with their weights, which count as known. O(200 n)
    time and memory.

    Parameters
    ----------
    values : array-like of shape (n,)
        Such as losses, or whether a row was right.
    weights : array-like of shape (n,), default=None
        Non-negative, not all zero. None gives the plain mean.
    rng : numpy.random.Generator
        For the resampling.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        If there are no values or the weights do not fit them.

    Examples
    --------
    >>> import numpy as np
    >>> mean_estimate([0.0, 1.0], [3.0, 1.0], rng=np.random.default_rng(0)).value
    0.25
    """
    v = np.asarray(values, dtype=np.float64)
    w = np.ones_like(v) if weights is None else np.asarray(weights, dtype=np.float64)
    if v.ndim != 1 or v.size == 0:
        raise ValueError(f"values must be a non-empty 1-D array, got shape {v.shape}")
    _check_weights(w, "weights", v, "values")
    return _estimate(_weighted_means(_counts(v.size, rng), v, w))


def _check_weights(weights: Floats, name: str, values: Floats, of: str) -> None:
    if weights.shape != values.shape:
        raise ValueError(f"{name} must have the shape of {of}, {values.shape}, got {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(f"{name} must be finite, non-negative and not all zero")


def decompose_loss_change(
    source_loss: ArrayLike,
    target_loss: ArrayLike,
    source_balanced: ArrayLike,
    target_balanced: ArrayLike,
    *,
    rng: np.random.Generator,
) -> LossChange:
    r"""Split the change of a model's mean loss into what X and what Y at equal X cause.

    With the shared density :math:`p_*(x) \propto p_S(x) p_T(x) / (p_S(x) + p_T(x))`, large
    where both domains have rows, and the expected losses :math:`\ell_S(x), \ell_T(x)` under
    the Y given X of either domain,

    .. math:: E_T\ell_T - E_S\ell_S = \{E_*\ell_S - E_S\ell_S\} + E_*\{\ell_T - \ell_S\}
              + \{E_T\ell_T - E_*\ell_T\}.

    The means over :math:`p_*` are self-normalised weighted means with weights :math:`\pi(x_i)`
    for source rows and :math:`1 - \pi(x_i)` for target rows. The three parts sum to the total
    exactly, in every draw. The intervals resample the rows of both sides; :math:`\pi` counts
    as known. What Y at equal X does where only one domain has rows cannot be seen and falls
    to the X parts. O(200 (n + m)) time and memory.

    Parameters
    ----------
    source_loss : array-like of shape (n,)
        Losses of rows that the model did not train on.
    target_loss : array-like of shape (m,)
        The same in the target.
    source_balanced, target_balanced : array-like of shape (n,) and (m,)
        :math:`\pi` at the same rows, by a classifier that did not train on them; see
        :func:`balanced_probability`.
    rng : numpy.random.Generator
        For the resampling.

    Returns
    -------
    LossChange

    Raises
    ------
    ValueError
        If a side has no rows, shapes disagree or the two domains share no row.

    References
    ----------
    T. Cai, H. Namkoong, S. Yadlowsky, "Diagnosing Model Performance Under Distribution
    Shift", Operations Research 2025; arXiv 2303.02011.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> wrong = rng.random(1000) < 0.1, rng.random(1000) < 0.3
    >>> parts = decompose_loss_change(*wrong, np.full(1000, 0.5), np.full(1000, 0.5), rng=rng)
    >>> round(parts.y_given_x.value - parts.total.value, 12), round(abs(parts.x.value), 12)
    (0.0, 0.0)
    """
    means, shared = [], []
    for side, loss, pi in (
        ("source", source_loss, np.asarray(source_balanced, dtype=np.float64)),
        ("target", target_loss, 1 - np.asarray(target_balanced, dtype=np.float64)),
    ):
        values = np.asarray(loss, dtype=np.float64)
        if values.ndim != 1 or values.size == 0:
            raise ValueError(f"{side}_loss must be a non-empty 1-D array, got {values.shape}")
        _check_weights(pi, f"the shared weights by {side}_balanced", values, f"{side}_loss")
        counts = _counts(values.size, rng)
        means.append(counts @ values / values.size)
        shared.append(_weighted_means(counts, values, pi))
    to_shared, from_shared = shared[0] - means[0], means[1] - shared[1]
    return LossChange(
        total=_estimate(means[1] - means[0]),
        to_shared=_estimate(to_shared),
        y_given_x=_estimate(shared[1] - shared[0]),
        from_shared=_estimate(from_shared),
        x=_estimate(to_shared + from_shared),
    )


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
    counts_s, counts_t = _counts(len(p_s), rng), _counts(len(p_t), rng)
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
        _check_weights(ratio, "source_ratio", right, "source_codes")
        found["importance weighting"] = _weighted_means(counts_s, right, ratio)
    return {name: _estimate(values, 0.0, 1.0) for name, values in found.items()}


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
