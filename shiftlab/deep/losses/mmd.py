"""Kernel distances of samples: MMD (DAN) and its joint form (JAN)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["joint_mmd", "mmd"]

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


def _kernel(rows: Tensor, scales: Sequence[float]) -> Tensor:
    """Mean of Gaussian kernels; widths are multiples of the mean squared distance."""
    squares = rows.square().sum(dim=1)
    distance = (squares[:, None] + squares[None, :] - 2 * rows @ rows.T).clamp_min(0.0)
    n = len(rows)
    with torch.no_grad():
        width = (distance.sum() / max(n * n - n, 1)).clamp_min(1e-12)
    return torch.stack([torch.exp(-distance / (s * width)) for s in scales]).mean(dim=0)


def _contrast(kernel: Tensor, n: int) -> Tensor:
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


def mmd(source: Tensor, target: Tensor, scales: Sequence[float] = SCALES) -> Tensor:
    r"""Compute the squared maximum mean discrepancy with a mean of Gaussian kernels.

    ``mean k(s, s') + mean k(t, t') - 2 mean k(s, t)`` with ``k(x, y) = mean_j exp(-|x - y|^2 /
    (c_j w))``, where w is the mean squared distance in the pooled batch, without a gradient:
    the loss is in [0, 2], whatever the scale of the features.

    Parameters
    ----------
    source : Tensor, shape (n, d)
    target : Tensor, shape (m, d)
    scales : sequence of float, default=(0.25, 0.5, 1, 2, 4)
        The c_j.

    Returns
    -------
    Tensor, scalar

    References
    ----------
    M. Long, Y. Cao, J. Wang, M. Jordan. Learning transferable features with deep adaptation
    networks. ICML, 2015.

    Examples
    --------
    >>> x = torch.tensor([[0.0], [1.0]])
    >>> mmd(x, x).item()
    0.0
    """
    return _contrast(_kernel(torch.cat([source, target]), scales), len(source))


def joint_mmd(
    source: Sequence[Tensor], target: Sequence[Tensor], scales: Sequence[float] = SCALES
) -> Tensor:
    r"""Compute the squared MMD of several layers together, with the product of their kernels.

    Parameters
    ----------
    source : sequence of Tensor, each of shape (n, d_l)
        The layers' outputs for the source.
    target : sequence of Tensor, each of shape (m, d_l)
        And for the target.
    scales : sequence of float, default=(0.25, 0.5, 1, 2, 4)
        As in :func:`mmd`, for each layer.

    Returns
    -------
    Tensor, scalar

    References
    ----------
    M. Long, H. Zhu, J. Wang, M. Jordan. Deep transfer learning with joint adaptation networks.
    ICML, 2017.

    Examples
    --------
    >>> x = torch.tensor([[0.0], [1.0]])
    >>> joint_mmd([x, x], [x, x]).item()
    0.0
    """
    product = torch.ones((), device=source[0].device)
    for s, t in zip(source, target, strict=True):
        product = product * _kernel(torch.cat([s, t]), scales)
    return _contrast(product, len(source[0]))
