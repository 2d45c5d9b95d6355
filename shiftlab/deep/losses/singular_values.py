"""The smallest singular values of a batch of features (batch spectral shrinkage)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["smallest_singular_values"]


def smallest_singular_values(features: Tensor, k: int = 1) -> Tensor:
    """Compute BSS, the sum of the k smallest squared singular values of a batch of features.

    Directions in which features hardly vary carry what does not transfer; they are shrunk.

    Parameters
    ----------
    features : Tensor, shape (n, d)
        It has min(n, d) singular values.
    k : int, default=1
        How many of the smallest.

    Returns
    -------
    Tensor, scalar

    References
    ----------
    X. Chen, S. Wang, B. Fu, M. Long, J. Wang. Catastrophic forgetting meets negative transfer:
    batch spectral shrinkage for safe transfer learning. NeurIPS, 2019.

    Examples
    --------
    >>> smallest_singular_values(torch.diag(torch.tensor([3.0, 2.0, 1.0])), k=2).item()
    5.0
    """
    # Sum of the squares of all less those of the largest would lose digits; the eigenvalues of
    # the smaller Gram matrix are the squares, and their gradient is stable where the vectors
    # of nearly equal ones are not.
    rows = features if len(features) <= features.shape[1] else features.T
    squares: Tensor = torch.linalg.eigvalsh(rows @ rows.T)
    return squares[:k].clamp_min(0.0).sum()
