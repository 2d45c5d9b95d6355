"""Larger feature norms (adaptive feature norm)."""

from __future__ import annotations

import math

from torch import Tensor

__all__ = ["norm_growth"]


def norm_growth(features: Tensor, step: float = 1.0, largest: float = math.inf) -> Tensor:
    """Compute ``mean (|f| - min(|f|_0 + step, largest))^2``.

    The norm now, ``|f|_0``, is a constant: the gradient makes norms larger that are not `largest`
    yet, and longer ones shorter.

    Parameters
    ----------
    features : Tensor, shape (n, d)
    step : float, default=1.0
        By how much the norms shall grow.
    largest : float, default=inf
        The norm at which they stop.

    Returns
    -------
    Tensor, scalar

    References
    ----------
    R. Xu, G. Li, J. Yang, L. Lin. Larger norm more transferable: an adaptive feature norm approach
    for unsupervised domain adaptation. ICCV, 2019.

    Examples
    --------
    >>> import torch
    >>> f = torch.tensor([[3.0, 4.0]], requires_grad=True)
    >>> norm_growth(f).backward()
    >>> [round(v, 3) for v in f.grad[0].tolist()]
    [-1.2, -1.6]
    """
    norms = features.norm(dim=1)
    growth: Tensor = norms - (norms.detach() + step).clamp_max(largest)
    return growth.square().mean()
