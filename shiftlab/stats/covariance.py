"""Means and shrunk covariances of weighted samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["shrunk_covariance"]

Floats = NDArray[np.float64]


def shrunk_covariance(
    X: Floats, weight: Floats | None = None, shrinkage: float | str = "auto"
) -> tuple[Floats, Floats, float]:
    r"""Mean and covariance, shrunk towards a multiple of the identity.

    .. math:: (1 - \lambda) S + \lambda \frac{\mathrm{tr} S}{d} I

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows.
    weight : ndarray of shape (n,), default=None
        Row weights.
    shrinkage : float or "auto", default="auto"
        :math:`\lambda`; "auto" is the estimate of Ledoit and Wolf.

    Returns
    -------
    tuple of (mean, covariance, shrinkage)
        Shapes (d,) and (d, d), and the :math:`\lambda` that was used.

    References
    ----------
    O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional covariance
    matrices", Journal of Multivariate Analysis 2004.
    """
    n, d = X.shape
    share = np.full(n, 1.0 / n) if weight is None else weight / weight.sum()
    mean = share @ X
    centred = X - mean
    scatter = (centred * share[:, None]).T @ centred
    level = np.trace(scatter) / d
    concentration = float(share @ share)  # 1/n for equal weights
    if shrinkage == "auto":
        spread = float((scatter**2).sum())
        distance = spread - d * level**2
        squared = np.einsum("ij,ij->i", centred, centred) ** 2
        noise = concentration * (float(share @ squared) - spread)
        amount = 0.0 if noise <= 0 else 1.0 if noise >= distance else noise / distance
    else:
        amount = float(shrinkage)
    covariance = (1 - amount) * scatter
    covariance[np.diag_indices(d)] += amount * level
    return mean, covariance / (1 - concentration), amount
