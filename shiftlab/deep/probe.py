"""A linear head on features that stand still, fitted exactly and drawn to where it starts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

__all__ = ["fit_head"]

Floats = NDArray[np.float64]


def fit_head(
    features: NDArray[np.floating],
    codes: NDArray[np.int64],
    weight: NDArray[np.floating],
    bias: NDArray[np.floating],
    *,
    strength: float = 1.0,
) -> tuple[Floats, Floats]:
    r"""Fit a linear classifier near the one that is there.

    .. math:: \min_{W, b} \frac{1}{n} \sum_i -\log \mathrm{softmax}(W f_i + b)_{y_i}
              + \frac{\lambda s}{2 n} \| W - W_0 \|_F^2, \qquad
              s = \frac{1}{n} \sum_i \| f_i - \bar f \|^2

    Convex, so the same rows give the same head. With :math:`s` the penalty does
    not depend on the scale of the features. Without labels of a class its row stays at
    :math:`W_0` but for what the other classes' rows push it away.

    Parameters
    ----------
    features : ndarray, shape (n, d)
        Rows.
    codes : ndarray of int64, shape (n,)
        Their classes.
    weight : ndarray, shape (k, d)
        :math:`W_0`.
    bias : ndarray, shape (k,)
        Where b starts.
    strength : float, default=1.0
        :math:`\lambda`, above 0.

    Returns
    -------
    tuple of (weight, bias)
        Of the shapes given.

    Examples
    --------
    >>> f, y = np.array([[-1.0], [1.0]]), np.array([0, 1])
    >>> weight, bias = fit_head(f, y, np.zeros((2, 1)), np.zeros(2))
    >>> bool(weight[1, 0] > 0 > weight[0, 0])
    True
    """
    rows = np.asarray(features, dtype=np.float64)
    start = np.asarray(weight, dtype=np.float64)
    n, d = rows.shape
    k = len(start)
    one_hot = np.eye(k)[codes]
    # About the mean: features after a ReLU are far from zero, and the solver takes far fewer
    # steps. The bias takes the mean up again.
    middle = rows.mean(axis=0)
    centred = rows - middle
    penalty = strength * max(float((centred**2).sum() / n), 1e-12) / n

    def loss(flat: Floats) -> tuple[float, Floats]:
        W, b = flat[: k * d].reshape(k, d), flat[k * d :]
        log_p = log_softmax(centred @ W.T + b, axis=1)
        residual = (np.exp(log_p) - one_hot) / n
        moved = W - start
        value = -float(log_p[one_hot > 0].sum()) / n + 0.5 * penalty * float((moved**2).sum())
        gradient = residual.T @ centred + penalty * moved
        return value, np.concatenate([gradient.ravel(), residual.sum(axis=0)])

    first = np.concatenate([start.ravel(), np.asarray(bias, dtype=np.float64) + start @ middle])
    options = {"maxiter": 1000, "ftol": 1e-12, "gtol": 1e-7}
    found = minimize(loss, first, jac=True, method="L-BFGS-B", options=options).x
    W = found[: k * d].reshape(k, d)
    return W, found[k * d :] - W @ middle
