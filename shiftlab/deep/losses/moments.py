"""Distance of moments among several samples (M3SDA)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

__all__ = ["moment_distance"]


def moment_distance(sources: Sequence[Tensor], target: Tensor, order: int = 2) -> Tensor:
    r"""Compute the mean distance of raw moments, of each source to the target and among sources.

    ``sum_{k <= order} (mean_i |E[s_i^k] - E[t^k]| + mean_{i<j} |E[s_i^k] - E[s_j^k]|)`` with the
    root mean square over features for a norm, so that it does not grow with their number.

    Parameters
    ----------
    sources : sequence of Tensor, each of shape (n_i, d)
    target : Tensor, shape (m, d)
    order : int, default=2
        Highest moment.

    Returns
    -------
    Tensor, scalar

    References
    ----------
    X. Peng, Q. Bai, X. Xia, Z. Huang, K. Saenko, B. Wang. Moment matching for multi-source domain
    adaptation. ICCV, 2019.

    Examples
    --------
    >>> x = torch.tensor([[1.0], [3.0]])
    >>> round(moment_distance([x], torch.zeros(2, 1)).item(), 4)
    7.0
    """
    total = target.new_zeros(())
    for k in range(1, order + 1):
        means = [rows.pow(k).mean(dim=0) for rows in sources]
        wanted = target.pow(k).mean(dim=0)
        total = total + torch.stack([_size(mean - wanted) for mean in means]).mean()
        pairs = [_size(a - b) for a, b in combinations(means, 2)]
        if pairs:
            total = total + torch.stack(pairs).mean()
    return total


def _size(difference: Tensor) -> Tensor:
    # Not at zero, where the root has no derivative.
    return (difference.square().mean() + 1e-12).sqrt()
