"""Virtual adversarial training: the same answer for the worst of all small changes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["virtual_adversarial"]


def virtual_adversarial(
    classify: Callable[[Tensor], Tensor],
    batch: Tensor,
    scores: Tensor,
    generator: torch.Generator,
    *,
    radius: float,
    probe: float = 1e-1,
) -> Tensor:
    r"""Compute ``mean KL(p(x) || p(x + r))`` for the r of a given length that does most harm.

    r is found by one power iteration: from a random direction, along the gradient of the
    divergence.

    Parameters
    ----------
    classify : callable
        A batch to class scores (n, k).
    batch : Tensor, shape (n, ...)
    scores : Tensor, shape (n, k)
        Class scores of the batch; no gradient flows into them.
    generator : torch.Generator
        Of the first direction.
    radius : float
        Length of r as a root mean square over a row's entries.
    probe : float, default=0.1
        Length at which the gradient is taken, likewise.

    Returns
    -------
    Tensor, scalar

    References
    ----------
    T. Miyato, S. Maeda, M. Koyama, S. Ishii. Virtual adversarial training. IEEE TPAMI, 2019.

    Examples
    --------
    >>> loss = virtual_adversarial(
    ...     lambda x: torch.zeros(len(x), 2), torch.ones(3, 4), torch.zeros(3, 2),
    ...     torch.Generator().manual_seed(0), radius=0.1)
    >>> loss.item()
    0.0
    """
    wanted = scores.detach().softmax(dim=1)

    def divergence(direction: Tensor) -> Tensor:
        changed = F.log_softmax(classify(batch + direction), dim=1)
        return F.kl_div(changed, wanted, reduction="batchmean")

    def of_length(direction: Tensor, length: float) -> Tensor:
        axes = tuple(range(1, direction.ndim))
        size = direction.square().mean(dim=axes, keepdim=True).sqrt()
        return direction * (length / size.clamp_min(1e-12))

    start = torch.randn(batch.shape, generator=generator, device=batch.device)
    start = of_length(start, probe).requires_grad_(True)
    value = divergence(start)
    if not value.requires_grad:  # the answers do not depend on the input
        return value
    (gradient,) = torch.autograd.grad(value, start)
    return divergence(of_length(gradient, radius).detach())
