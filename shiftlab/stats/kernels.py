"""Gaussian kernels: distances, the median heuristic and low-rank feature maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "NystroemMap",
    "gaussian_kernel",
    "median_distance",
    "pooled_spread",
    "squared_distances",
]

Floats = NDArray[np.float64]

PAIRS = 2000  # distances behind the median


def squared_distances(X: Floats, Y: Floats) -> Floats:
    r"""Return :math:`\lVert x_i - y_j \rVert^2` for all pairs of rows.

    O(n m d) time by one matrix product, O(n m) memory; never negative.

    Parameters
    ----------
    X, Y : ndarray of shape (n, d) and (m, d)
        Rows. Centre them first where they lie far from zero: the product loses digits there.

    Returns
    -------
    ndarray of shape (n, m)

    Examples
    --------
    >>> import numpy as np
    >>> squared_distances(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]])).tolist()
    [[25.0]]
    """
    distances = X @ (-2.0 * Y.T)
    distances += np.einsum("ij,ij->i", X, X)[:, None]
    distances += np.einsum("ij,ij->i", Y, Y)
    return np.maximum(distances, 0.0, out=distances)


def gaussian_kernel(X: Floats, Y: Floats, bandwidth: float) -> Floats:
    r"""Return :math:`\exp(-\lVert x_i - y_j \rVert^2 / (2 \sigma^2))` for all pairs of rows.

    Parameters
    ----------
    X, Y : ndarray of shape (n, d) and (m, d)
        Rows.
    bandwidth : float
        :math:`\sigma`, in the unit of the distances.

    Returns
    -------
    ndarray of shape (n, m)
        In the dtype of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> gaussian_kernel(np.array([[0.0]]), np.array([[0.0], [1.0]]), 1.0).round(4).tolist()
    [[1.0, 0.6065]]
    """
    kernel = squared_distances(X, Y)
    kernel *= -0.5 / bandwidth**2
    return np.exp(kernel, out=kernel)


def median_distance(X: Floats, rng: np.random.RandomState) -> float:
    """Return the median distance between two rows, over 2,000 random pairs.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows.
    rng : numpy.random.RandomState
        Draws the pairs.

    Returns
    -------
    float
        Of the pairs that are not equal; 1.0 where all rows are.
    """
    i, j = rng.randint(len(X), size=(2, PAIRS))
    distance = np.sqrt(np.square(X[i] - X[j]).sum(axis=1, dtype=np.float64))
    positive = distance[distance > 0]
    return float(np.median(positive)) if positive.size else 1.0


def pooled_spread(source: Floats, target: Floats) -> Floats:
    r"""Return the standard deviation of every column inside the samples.

    :math:`\sqrt{(\sigma_S^2 + \sigma_T^2) / 2}`: dividing by it makes distances independent of
    the columns' units, and leaves a shift between the samples as large as it is.

    Parameters
    ----------
    source, target : ndarray of shape (n, d)
        Rows.

    Returns
    -------
    ndarray of shape (d,)
        1 where both samples are constant.
    """
    spread = np.sqrt((source.var(axis=0) + target.var(axis=0)) / 2)
    # what rounding leaves of a constant column's variance is no spread
    size = np.maximum(np.abs(source).max(axis=0), np.abs(target).max(axis=0))
    return np.where(spread > 1e-12 * size, spread, 1.0)


class NystroemMap:
    r"""Features whose inner products approximate a Gaussian kernel.

    .. math:: \phi(x) = K_{LL}^{-1/2} k_L(x), \qquad
              \phi(x)^\top \phi(y) = k_L(x)^\top K_{LL}^{+} k_L(y) \approx k(x, y)

    exact when x or y is a landmark. Directions in which the landmarks' kernel matrix has
    no more than rounding are left out. O(m^3) to make, O(n m (d + r)) to apply.

    Parameters
    ----------
    landmarks : ndarray of shape (m, d)
        The points L.
    bandwidth : float
        Of the kernel.

    Attributes
    ----------
    root : ndarray of shape (m, r)
        :math:`K_{LL}^{-1/2}` on the r directions that are kept.

    References
    ----------
    C. Williams, M. Seeger, "Using the Nyström Method to Speed Up Kernel Machines",
    NeurIPS 2000.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> phi = NystroemMap(X, 1.0)(X)
    >>> bool(np.allclose(phi @ phi.T, gaussian_kernel(X, X, 1.0), atol=1e-6))
    True
    """

    def __init__(self, landmarks: Floats, bandwidth: float) -> None:
        self.landmarks = landmarks
        self.bandwidth = bandwidth
        kernel = gaussian_kernel(landmarks, landmarks, bandwidth)
        values, vectors = np.linalg.eigh(kernel)
        rounding = len(values) * np.finfo(values.dtype).eps
        kept = values > rounding * values[-1]
        self.root = vectors[:, kept] / np.sqrt(values[kept])

    def __call__(self, X: Floats) -> Floats:
        """Return the features of rows, ``(n, r)``."""
        return np.asarray(gaussian_kernel(X, self.landmarks, self.bandwidth) @ self.root)
