"""What two transport plans between spaces share: classes as a cost, and a map for all rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV

from shiftlab.feature_space.two_spaces import Sample

__all__ = ["PlanMap", "centred_and_scaled", "class_cost"]

Floats = NDArray[np.float64]

RIDGES = tuple(10.0 ** np.arange(-3, 4))


def class_cost(source: NDArray[np.intp], target: NDArray[np.intp]) -> Floats | None:
    """Return 1 for pairs whose known classes differ, 0 for others; None where none is known.

    Parameters
    ----------
    source, target : int ndarray of shape (n,) and (m,)
        Classes, -1 where not known.

    Returns
    -------
    ndarray of shape (n, m) or None

    Examples
    --------
    >>> import numpy as np
    >>> class_cost(np.array([0, 1]), np.array([1, -1])).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    differ = (source[:, None] != target) & (source[:, None] >= 0) & (target >= 0)
    both = bool((source >= 0).any() and (target >= 0).any())
    return differ.astype(np.float64) if both else None


def centred_and_scaled(sample: Sample) -> Floats:
    """Return the rows with column means zero and a mean square of one over all entries.

    Parameters
    ----------
    sample : Sample
        One side.

    Returns
    -------
    ndarray of shape (n, d)
    """
    X = sample.X - sample.weight @ sample.X
    size = float(np.sqrt(sample.weight @ (X**2).mean(axis=1)))
    return X / size if size > 0 else X


class PlanMap:
    r"""The linear map that comes nearest to what a plan does with the source's rows.

    .. math:: \min_{G, g} \sum_i a_i \Big\lVert x_i G + g
              - \frac{1}{a_i} \sum_j P_{ij} z_j \Big\rVert^2 + \lambda \lVert G \rVert^2

    with :math:`\lambda` by leave-one-out. So rows that were not in the plan are mapped as those
    that were.

    Parameters
    ----------
    source, target : ndarray of shape (n, d) and (m, e)
        Rows x and z.
    plan : ndarray of shape (n, m)
        P, with the row sums a.
    """

    def __init__(self, source: Floats, target: Floats, plan: Floats) -> None:
        mass = plan.sum(axis=1)
        images = (plan @ target) / mass[:, None]
        self.mean = mass @ source / mass.sum()
        spread = np.sqrt(mass @ (source - self.mean) ** 2 / mass.sum())
        self.scale = float(np.sqrt(np.mean(spread**2))) or 1.0
        self.ridge = RidgeCV(RIDGES).fit(
            (source - self.mean) / self.scale, images, sample_weight=mass * len(mass)
        )

    def __call__(self, X: Floats) -> Floats:
        """Map rows of the source.

        Parameters
        ----------
        X : ndarray of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n, e)
        """
        moved = self.ridge.predict((X - self.mean) / self.scale)
        return np.asarray(moved).reshape(len(X), -1)
