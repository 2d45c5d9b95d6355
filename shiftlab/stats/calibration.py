"""Calibration of class probabilities: temperature, and temperature with biases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

__all__ = ["CALIBRATIONS", "Calibration", "fit_calibration", "log_loss", "select_calibration"]

Method = Literal["none", "temperature", "bias_corrected"]
CALIBRATIONS: tuple[Method, ...] = ("none", "temperature", "bias_corrected")
Floats = NDArray[np.float64]

# A probability of exactly zero has no logarithm; this is the smallest one believed.
SMALLEST = 1e-12
# The temperature stays within these bounds: 1 / temperature of 0 would ignore x entirely.
INVERSE_TEMPERATURES = (0.02, 50.0)


@dataclass(frozen=True, eq=False)
class Calibration:
    r"""A fitted calibration map, ``softmax(log p / temperature + bias)``.

    Parameters
    ----------
    method : {"none", "temperature", "bias_corrected"}
        How it was fitted.
    temperature : float
        Above 1 for probabilities that were too sure of themselves.
    bias : ndarray of shape (k,)
        Zero unless the method is "bias_corrected".
    """

    method: Method
    temperature: float
    bias: Floats

    def __call__(self, probabilities: NDArray[np.floating]) -> Floats:
        """Return calibrated probabilities of shape (n, k)."""
        p = np.asarray(probabilities, dtype=np.float64)
        if self.method == "none":
            return p
        return np.asarray(softmax(_logs(p) / self.temperature + self.bias, axis=1))


def _logs(probabilities: NDArray[np.floating]) -> Floats:
    return np.asarray(np.log(np.maximum(probabilities, SMALLEST)), dtype=np.float64)


def log_loss(probabilities: Floats, codes: NDArray[np.intp], weight: Floats | None = None) -> float:
    """Return the weighted mean of ``-log p[i, codes[i]]``; O(n)."""
    losses = -_logs(probabilities[np.arange(len(codes)), codes])
    return float(np.average(losses, weights=weight))


def fit_calibration(
    probabilities: NDArray[np.floating],
    codes: NDArray[np.intp],
    method: Method,
    weight: Floats | None = None,
) -> Calibration:
    r"""Fit a calibration map to held-out probabilities.

    .. math:: \min_{a, b} -\sum_i w_i \log \mathrm{softmax}(a \log p_i + b)_{y_i}
              + \tfrac12 (a - 1)^2 + \tfrac12 \lVert b\rVert^2

    convex in the inverse temperature :math:`a` and the biases :math:`b` (which are 0 for
    "temperature"). The penalty has the strength of about one row: it keeps the optimum finite
    for samples that are predicted without error. O(n k) time for each of some ten steps.

    Parameters
    ----------
    probabilities : ndarray of shape (n, k)
        Probabilities of rows that the classifier did not train on.
    codes : ndarray of shape (n,)
        Their classes, as columns of ``probabilities``.
    method : {"none", "temperature", "bias_corrected"}
        Which map.
    weight : ndarray of shape (n,), default=None
        Row weights, of mean about one.

    Returns
    -------
    Calibration

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On Calibration of Modern Neural Networks",
    ICML 2017 (temperature).

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
    logs = _logs(probabilities)
    w = np.ones(n) if weight is None else weight
    rows = np.arange(n)
    onehot_sum = np.bincount(codes, weights=w, minlength=k)
    has_bias = method == "bias_corrected"

    def objective(parameters: Floats) -> tuple[float, Floats]:
        a, b = parameters[0], parameters[1:] if has_bias else np.zeros(k)
        log_p = log_softmax(a * logs + b, axis=1)
        p = np.exp(log_p)
        value = -(w * log_p[rows, codes]).sum() + 0.5 * (a - 1) ** 2 + 0.5 * (b @ b)
        slope = (w * ((p * logs).sum(axis=1) - logs[rows, codes])).sum() + (a - 1)
        gradient = np.array([slope])
        if has_bias:
            gradient = np.append(gradient, w @ p - onehot_sum + b)
        # Per row, so that the stopping rule means the same at every n.
        return value / n, gradient / n

    start = np.append(1.0, np.zeros(k if has_bias else 0))
    bounds = [INVERSE_TEMPERATURES] + [(None, None)] * (len(start) - 1)
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"gtol": 1e-8}
    ).x
    return Calibration(method, 1.0 / float(found[0]), found[1:] if has_bias else np.zeros(k))


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
    methods : tuple of {"none", "temperature", "bias_corrected"}
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
        held_out = np.empty(probabilities.shape)
        for fold in names:
            test, train = folds == fold, folds != fold
            inside = None if weight is None else weight[train]
            fitted = fit_calibration(probabilities[train], codes[train], method, inside)
            held_out[test] = fitted(probabilities[test])
        losses.append(log_loss(held_out, codes, weight))
    return fit_calibration(probabilities, codes, methods[int(np.argmin(losses))], weight)
