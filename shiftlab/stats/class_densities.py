"""Densities of each class's predictions, for posteriors that a calibration map cannot give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from shiftlab.stats.calibration import SMALLEST

__all__ = ["ClassDensities", "fit_class_densities", "held_out_densities"]

Floats = NDArray[np.float64]

DEGREES = 5.0  # of freedom: tails in which a row that fits nowhere is near to no class
RIDGE = 0.05
POOLING = 3.0  # rows of the covariance of all classes, for each dimension


@dataclass(frozen=True, eq=False)
class ClassDensities:
    """Densities of the predictions of each class; called, they give the posteriors of rows.

    Parameters
    ----------
    centre, spread : ndarray of shape (k,)
        What the coordinates are standardised with.
    means : ndarray of shape (k, k)
        One row for each class.
    precisions : ndarray of shape (k, k, k)
        Inverse scale matrices.
    offsets : ndarray of shape (k,)
        Log-normaliser and log-prior of each class.
    """

    centre: Floats
    spread: Floats
    means: Floats
    precisions: Floats
    offsets: Floats

    def __call__(self, probabilities: NDArray[np.floating]) -> Floats:
        """Return posteriors of shape (n, k), of the classes of the rows it was fitted to."""
        Z = (_coordinates(probabilities) - self.centre) / self.spread
        logs = np.empty(Z.shape)
        for y, (mean, precision) in enumerate(zip(self.means, self.precisions, strict=True)):
            apart = Z - mean
            distance = ((apart @ precision) * apart).sum(axis=1)
            logs[:, y] = -0.5 * (DEGREES + Z.shape[1] - 1) * np.log1p(distance / DEGREES)
        return np.asarray(softmax(logs + self.offsets, axis=1))


def _coordinates(probabilities: NDArray[np.floating]) -> Floats:
    logs = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), SMALLEST))
    return np.asarray(logs - logs.mean(axis=1, keepdims=True))


def fit_class_densities(
    probabilities: NDArray[np.floating],
    codes: NDArray[np.intp],
    weight: Floats | None = None,
) -> ClassDensities:
    r"""Fit a Student distribution to the centred log-probabilities of each class.

    .. math:: z = \log p - \overline{\log p}, \qquad
              z \mid y \sim t_5(\mu_y, \Sigma_y), \qquad
              \Sigma_y = (1 - \lambda_y) S_y + \lambda_y S_W + \text{ridge}

    with the covariance :math:`S_y` of the class, :math:`S_W` of all classes within, and
    :math:`\lambda_y = 3(k - 1) / (3(k - 1) + n_y)`. A calibration map gives every class one
    number a row; here a class knows what the classifier takes its rows for. The posteriors
    :math:`P(y \mid z)` hold as long as :math:`P(z \mid y)` does, which label shift keeps, and so
    serve to estimate a prior; calibrate them first, as the densities are never quite right. Far
    from all source rows they say little, so that they are not for predictions elsewhere.
    O(n k^3).

    Parameters
    ----------
    probabilities : ndarray of shape (n, k)
        Of rows that the classifier did not train on.
    codes : ndarray of shape (n,)
        Their classes, each with some rows.
    weight : ndarray of shape (n,), default=None
        Row weights, of mean about one.

    Returns
    -------
    ClassDensities

    References
    ----------
    J. Friedman, "Regularized Discriminant Analysis", Journal of the American Statistical
    Association 1989.

    Examples
    --------
    Class 2 is predicted like class 1, but with less certainty:

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1, 2], 200)
    >>> logits = rng.normal(np.array([[4.0, 0, 0], [0, 4, 1], [0, 2, 1]])[y], 0.5)
    >>> p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    >>> fitted = fit_class_densities(p, y)
    >>> bool((fitted(p).argmax(axis=1) == y).mean() > 0.95 > (p.argmax(axis=1) == y).mean())
    True
    """
    Z = _coordinates(probabilities)
    k = Z.shape[1]
    w = np.ones(len(Z)) if weight is None else weight
    centre = w @ Z / w.sum()
    spread = np.sqrt(w @ (Z - centre) ** 2 / w.sum())
    spread = np.where(spread > 0, spread, 1.0)
    Z = (Z - centre) / spread
    counts = np.bincount(codes, weights=w, minlength=k)
    means, scatters = np.zeros((k, k)), np.zeros((k, k, k))
    for y in range(k):
        rows = codes == y
        means[y] = w[rows] @ Z[rows] / counts[y]
        apart = Z[rows] - means[y]
        scatters[y] = (w[rows][:, None] * apart).T @ apart
    within = scatters.sum(axis=0) / counts.sum()
    pooled = POOLING * (k - 1) / (POOLING * (k - 1) + counts)[:, None, None]
    scale = (1 - pooled) * scatters / counts[:, None, None] + pooled * within
    scale = (1 - RIDGE) * scale + RIDGE * np.eye(k)
    offsets = np.log(counts / counts.sum()) - 0.5 * np.linalg.slogdet(scale)[1]
    return ClassDensities(centre, spread, means, np.linalg.inv(scale), offsets)


def held_out_densities(
    probabilities: NDArray[np.floating],
    codes: NDArray[np.intp],
    folds: NDArray[np.intp],
    weight: Floats | None = None,
) -> Floats:
    """Return the posteriors of each row from densities that were fitted without its fold.

    Parameters
    ----------
    probabilities : ndarray of shape (n, k)
        Of rows that the classifier did not train on.
    codes : ndarray of shape (n,)
        Their classes, each with rows in at least two folds.
    folds : ndarray of shape (n,)
        Fold of each row.
    weight : ndarray of shape (n,), default=None
        Row weights.

    Returns
    -------
    ndarray of shape (n, k)
    """
    found = np.empty(probabilities.shape)
    for fold in np.unique(folds):
        test, train = folds == fold, folds != fold
        inside = None if weight is None else weight[train]
        found[test] = fit_class_densities(probabilities[train], codes[train], inside)(
            probabilities[test]
        )
    return found
