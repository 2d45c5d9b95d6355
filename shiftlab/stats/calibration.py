"""Calibration of class probabilities: temperatures, biases and isotonic curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.isotonic import IsotonicRegression

__all__ = [
    "ALL_CALIBRATIONS",
    "CALIBRATIONS",
    "Calibration",
    "calibration_scores",
    "expected_calibration_error",
    "fit_calibration",
    "held_out_calibration",
    "log_loss",
    "select_calibration",
]

Method = Literal["none", "temperature", "bias_corrected", "vector", "isotonic"]
# Those with few parameters, which small samples can choose among; then the others.
CALIBRATIONS: tuple[Method, ...] = ("none", "temperature", "bias_corrected")
ALL_CALIBRATIONS: tuple[Method, ...] = (*CALIBRATIONS, "vector", "isotonic")
Floats = NDArray[np.float64]

# A probability of exactly zero has no logarithm; this is the smallest one believed.
SMALLEST = 1e-12
# The temperature stays within these bounds: 1 / temperature of 0 would ignore x entirely.
INVERSE_TEMPERATURES = (0.02, 50.0)


@dataclass(frozen=True, eq=False)
class Calibration:
    r"""A fitted calibration map, ``softmax(log p / temperature + bias)`` or isotonic curves.

    Parameters
    ----------
    method : {"none", "temperature", "bias_corrected", "vector", "isotonic"}
        How it was fitted.
    temperature : float or ndarray of shape (k,)
        Above 1 for probabilities that were too sure of themselves; one for each class with
        "vector".
    bias : ndarray of shape (k,)
        Zero unless the method is "bias_corrected" or "vector".
    curves : tuple of (ndarray, ndarray), default=()
        With "isotonic", the knots ``(p, calibrated p)`` of each class; the results are
        scaled to sum to one.
    """

    method: Method
    temperature: float | Floats
    bias: Floats
    curves: tuple[tuple[Floats, Floats], ...] = ()

    def __call__(self, probabilities: NDArray[np.floating]) -> Floats:
        """Return calibrated probabilities of shape (n, k)."""
        p = np.asarray(probabilities, dtype=np.float64)
        if self.method == "none":
            return p
        if self.method == "isotonic":
            mapped = [
                np.interp(column, *knots) for column, knots in zip(p.T, self.curves, strict=True)
            ]
            found = np.stack(mapped, axis=1)
            return np.asarray(found / found.sum(axis=1, keepdims=True))
        return np.asarray(softmax(_logs(p) / self.temperature + self.bias, axis=1))


def _logs(probabilities: NDArray[np.floating]) -> Floats:
    return np.asarray(np.log(np.maximum(probabilities, SMALLEST)), dtype=np.float64)


def log_loss(probabilities: Floats, codes: NDArray[np.intp], weight: Floats | None = None) -> float:
    """Return the weighted mean of ``-log p[i, codes[i]]``; O(n)."""
    losses = -_logs(probabilities[np.arange(len(codes)), codes])
    return float(np.average(losses, weights=weight))


def expected_calibration_error(
    probabilities: NDArray[np.floating], codes: NDArray[np.intp], n_bins: int = 15
) -> float:
    r"""Mean distance of probabilities and frequencies over bins of equally many rows.

    .. math:: \frac1k \sum_y \sum_b \frac{n_b}{n} \lvert \bar p_{by} - \bar 1[Y = y]_b\rvert

    with bins :math:`b` of equal size, made for each class along its own probability (the
    class-wise error; for two classes both terms are equal). O(k n log n).

    Parameters
    ----------
    probabilities : ndarray of shape (n, k)
        Predicted.
    codes : ndarray of shape (n,)
        True classes, as columns.
    n_bins : int, default=15
        Number of bins.

    Returns
    -------
    float
        0 for perfect calibration.

    References
    ----------
    M. Pakdaman Naeini, G. Cooper, M. Hauskrecht, "Obtaining Well Calibrated Probabilities
    Using Bayesian Binning", AAAI 2015.

    Examples
    --------
    >>> import numpy as np
    >>> p = np.tile([0.7, 0.3], (10, 1))
    >>> round(expected_calibration_error(p, np.repeat([0, 1], [7, 3]), n_bins=1), 6)
    0.0
    """
    n, k = probabilities.shape
    total = 0.0
    for y in range(k):
        order = np.argsort(probabilities[:, y], kind="stable")
        gap = probabilities[order, y] - (codes[order] == y)
        total += sum(abs(float(part.sum())) for part in np.array_split(gap, min(n_bins, n)))
    return float(total / (n * k))


def fit_calibration(
    probabilities: NDArray[np.floating],
    codes: NDArray[np.intp],
    method: Method,
    weight: Floats | None = None,
) -> Calibration:
    r"""Fit a calibration map to held-out probabilities.

    .. math:: \min_{a, b} -\sum_i w_i \log \mathrm{softmax}(a \odot \log p_i + b)_{y_i}
              + \tfrac12 \lVert a - 1\rVert^2 + \tfrac12 \lVert b\rVert^2

    convex in the inverse temperature :math:`a` (one number, or one for each class with
    "vector") and the biases :math:`b` (which are 0 for "temperature"). The penalty has the
    strength of about one row: it keeps the optimum finite for samples that are predicted
    without error. "isotonic" instead fits the best monotone curve to each class and its
    probability, kept 1/(n + 2) away from 0 and 1. O(n k) time for each of some ten steps;
    "isotonic" O(k n log n).

    Parameters
    ----------
    probabilities : ndarray of shape (n, k)
        Probabilities of rows that the classifier did not train on.
    codes : ndarray of shape (n,)
        Their classes, as columns of ``probabilities``.
    method : {"none", "temperature", "bias_corrected", "vector", "isotonic"}
        Which map.
    weight : ndarray of shape (n,), default=None
        Row weights, of mean about one.

    Returns
    -------
    Calibration

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On Calibration of Modern Neural Networks",
    ICML 2017 (temperature, vector).

    B. Zadrozny, C. Elkan, "Transforming Classifier Scores into Accurate Multiclass
    Probability Estimates", KDD 2002 (isotonic).

    A. Alexandari, A. Kundaje, A. Shrikumar, "Maximum Likelihood with Bias-Corrected
    Calibration is Hard-To-Beat at Label Shift Adaptation", ICML 2020.

    Examples
    --------
    >>> import numpy as np
    >>> too_sure = np.array([[0.99, 0.01]] * 10)
    >>> fitted = fit_calibration(too_sure, np.array([0] * 7 + [1] * 3), "temperature")
    >>> bool(fitted.temperature > 1), fitted(too_sure[:1]).round(1).tolist()
    (True, [[0.7, 0.3]])
    """
    n, k = probabilities.shape
    if method == "none" or n == 0:
        return Calibration("none", 1.0, np.zeros(k))
    if method == "isotonic":
        return Calibration(method, 1.0, np.zeros(k), _isotonic_curves(probabilities, codes, weight))
    logs = _logs(probabilities)
    w = np.ones(n) if weight is None else weight
    rows = np.arange(n)
    onehot_sum = np.bincount(codes, weights=w, minlength=k)
    n_slopes = k if method == "vector" else 1
    n_biases = 0 if method == "temperature" else k
    # sum_i w_i log p_i,y_i for each class y: the data's part of the slope's gradient
    observed = np.bincount(codes, weights=w * logs[rows, codes], minlength=k)

    def objective(parameters: Floats) -> tuple[float, Floats]:
        a, b = parameters[:n_slopes], parameters[n_slopes:]
        log_p = log_softmax(a * logs + b if n_biases else a * logs, axis=1)
        p = np.exp(log_p)
        value = -(w * log_p[rows, codes]).sum() + 0.5 * ((a - 1) @ (a - 1)) + 0.5 * (b @ b)
        slopes = w @ (p * logs) - observed
        gradient = (slopes if n_slopes == k else slopes.sum(keepdims=True)) + (a - 1)
        if n_biases:
            gradient = np.append(gradient, w @ p - onehot_sum + b)
        # Per row, so that the stopping rule means the same at every n.
        return value / n, gradient / n

    start = np.append(np.ones(n_slopes), np.zeros(n_biases))
    bounds = [INVERSE_TEMPERATURES] * n_slopes + [(None, None)] * n_biases
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"gtol": 1e-8}
    ).x
    slopes, biases = found[:n_slopes], found[n_slopes:] if n_biases else np.zeros(k)
    return Calibration(method, 1.0 / slopes if n_slopes > 1 else 1.0 / float(slopes[0]), biases)


def _isotonic_curves(
    probabilities: NDArray[np.floating], codes: NDArray[np.intp], weight: Floats | None
) -> tuple[tuple[Floats, Floats], ...]:
    n, k = probabilities.shape
    edge = 1 / (n + 2)
    curves = []
    for y in range(k):
        fitted = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip")
        fitted.fit(probabilities[:, y], codes == y, sample_weight=weight)
        curves.append((fitted.X_thresholds_, fitted.y_thresholds_))
    return tuple(curves)


def calibration_scores(
    probabilities: NDArray[np.floating],
    codes: NDArray[np.intp],
    weight: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Return what each row pulls at an inverse temperature and biases, and what holds them.

    At the identity, ``a = 1, b = 0``, of the "bias_corrected" map: to second order, the fit to a
    sample in which row i occurs ``1 + counts[i]`` times instead of once moves these parameters by
    ``-solve(curvature, counts @ scores)``. That is how much a calibration could have come out
    otherwise. O(n k^2).

    Parameters
    ----------
    probabilities : ndarray of shape (n, k)
        Held-out probabilities, calibrated.
    codes : ndarray of shape (n,)
        Their classes.
    weight : ndarray of shape (n,), default=None
        Row weights, of mean about one.

    Returns
    -------
    tuple of (scores, curvature)
        Of shapes (n, k + 1) and (k + 1, k + 1): the inverse temperature first, then the biases.
        The curvature has the penalty of `fit_calibration` in it.
    """
    n, k = probabilities.shape
    w = np.ones(n) if weight is None else weight
    logs, p = _logs(probabilities), np.asarray(probabilities, dtype=np.float64)
    pull = p - np.eye(k)[codes]
    scores = w[:, None] * np.column_stack([(logs * pull).sum(axis=1), pull])
    # The log-loss has the Hessian diag(p) - p p' in the logits a log p + b.
    mean = (p * logs).sum(axis=1)
    across = (w[:, None] * p * (logs - mean[:, None])).sum(axis=0)
    curvature = np.eye(k + 1)
    curvature[0, 0] += w @ ((p * logs**2).sum(axis=1) - mean**2)
    curvature[0, 1:] += across
    curvature[1:, 0] += across
    curvature[1:, 1:] += np.diag(w @ p) - (w[:, None] * p).T @ p
    return scores, curvature


def held_out_calibration(
    probabilities: NDArray[np.floating],
    codes: NDArray[np.intp],
    folds: NDArray[np.intp],
    method: Method,
    weight: Floats | None = None,
) -> Floats:
    """Calibrate each fold by a map that was fitted to the others.

    Parameters
    ----------
    probabilities : ndarray of shape (n, k)
        Probabilities of rows that the classifier did not train on.
    codes : ndarray of shape (n,)
        Their classes, as columns of ``probabilities``.
    folds : ndarray of shape (n,)
        Fold of each row.
    method : {"none", "temperature", "bias_corrected", "vector", "isotonic"}
        Which map.
    weight : ndarray of shape (n,), default=None
        Row weights, of mean about one.

    Returns
    -------
    ndarray of shape (n, k)
    """
    held_out = np.empty(probabilities.shape)
    for fold in np.unique(folds):
        test, train = folds == fold, folds != fold
        inside = None if weight is None else weight[train]
        fitted = fit_calibration(probabilities[train], codes[train], method, inside)
        held_out[test] = fitted(probabilities[test])
    return held_out


def select_calibration(
    probabilities: NDArray[np.floating],
    codes: NDArray[np.intp],
    folds: NDArray[np.intp],
    methods: tuple[Method, ...] = CALIBRATIONS,
    weight: Floats | None = None,
) -> Calibration:
    """Fit the map that has the smallest cross-validated log-loss.

    Parameters
    ----------
    probabilities : ndarray of shape (n, k)
        Probabilities of rows that the classifier did not train on.
    codes : ndarray of shape (n,)
        Their classes, as columns of ``probabilities``.
    folds : ndarray of shape (n,)
        Fold of each row; a map is judged on the fold that it was not fitted on.
    methods : tuple of {"none", "temperature", "bias_corrected", "vector", "isotonic"}
        What to choose from, the simplest first: it wins a tie.
    weight : ndarray of shape (n,), default=None
        Row weights, of mean about one.

    Returns
    -------
    Calibration
        Fitted to all rows.
    """
    names = np.unique(folds)
    if len(methods) == 1 or len(names) < 2:
        return fit_calibration(probabilities, codes, methods[0], weight)
    losses = []
    for method in methods:
        held_out = held_out_calibration(probabilities, codes, folds, method, weight)
        losses.append(log_loss(held_out, codes, weight))
    return fit_calibration(probabilities, codes, methods[int(np.argmin(losses))], weight)
