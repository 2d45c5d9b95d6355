"""Larger feature norms (adaptive feature norm)."""

from __future__ import annotations

from torch import Tensor

__all__ = ["norm_growth"]


def norm_growth(features: Tensor, step: float = 1.0) -> Tensor:
    """Compute ``mean (|f| - (|f|_0 + step))^2``, where ``|f|_0`` is the norm now, as a constant.

    The value is ``step ** 2`` always; its gradient makes every norm larger.

    Parameters
    ----------
    features : Tensor, shape (n, d)
    step : float, default=1.0
        By how much the norms shall grow.

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
    growth: Tensor = norms - (norms.detach() + step)
    return growth.square().mean()
