"""Adversarial losses: the reversed gradient, its ramp, and the domain classifier's loss."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["domain_loss", "ramp", "reverse_gradient"]


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return -ctx.weight * gradients[0], None


def reverse_gradient(features: Tensor, weight: float = 1.0) -> Tensor:
    """Return the features unchanged, with a gradient that is turned round and weighted.

    What follows is trained to lower a loss, what lies before to raise it.

    Parameters
    ----------
    features : Tensor
    weight : float, default=1.0
        Factor of the reversed gradient, at least 0.

    Returns
    -------
    Tensor

    References
    ----------
    Y. Ganin et al. Domain-adversarial training of neural networks. JMLR, 2016.

    Examples
    --------
    >>> x = torch.ones(1, requires_grad=True)
    >>> (3 * reverse_gradient(x, 0.5)).sum().backward()
    >>> x.grad.item()
    -1.5
    """
    reversed_: Tensor = _Reverse.apply(features, weight)
    return reversed_


def ramp(progress: float, steepness: float = 10.0) -> float:
    """Compute the adversarial weight ``2 / (1 + exp(-steepness * progress)) - 1``.

    Parameters
    ----------
    progress : float
        Part of the training that is done.
    steepness : float, default=10.0
        How fast it comes near 1.

    Returns
    -------
    float

    Examples
    --------
    >>> [round(ramp(p), 3) for p in (0.0, 0.1, 1.0)]
    [0.0, 0.462, 1.0]
    """
    return 2.0 / (1.0 + math.exp(-steepness * progress)) - 1.0


def domain_loss(
    source: Tensor,
    target: Tensor,
    source_weight: Tensor | None = None,
    target_weight: Tensor | None = None,
) -> Tensor:
    r"""Compute the cross-entropy of a domain classifier, both domains counting the same.

    ``-1/2 E_S[v log s(z)] - 1/2 E_T[v log(1 - s(z))]`` with the logistic function s; weights
    are scaled to mean 1 within each domain.

    Parameters
    ----------
    source : Tensor, shape (n,)
        Scores, before the logistic function; high means source.
    target : Tensor, shape (m,)
    source_weight : Tensor, shape (n,), default=None
        Weights of the rows.
    target_weight : Tensor, shape (m,), default=None

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> round(domain_loss(torch.zeros(2), torch.zeros(3)).item(), 4)
    0.6931
    """

    def mean(values: Tensor, weight: Tensor | None) -> Tensor:
        return values.mean() if weight is None else (values * weight).sum() / weight.sum()

    losses = mean(F.softplus(-source), source_weight) + mean(F.softplus(target), target_weight)
    return 0.5 * losses
