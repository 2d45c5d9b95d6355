"""Distance of covariances (deep CORAL)."""

from __future__ import annotations

from torch import Tensor

__all__ = ["coral", "unit_spread"]


def unit_spread(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Divide both samples by one number, so that features have variance 1 on average.

    A distance of the results is the same whatever the features' scale, and so is its gradient's
    direction: it is orthogonal to the features about their mean. Were the number left out of the
    gradient, smaller features would seem nearer, and a network would make them small without end.

    Parameters
    ----------
    source : Tensor, shape (n, d)
    target : Tensor, shape (m, d)

    Returns
    -------
    source, target : Tensor

    Examples
    --------
    >>> import torch
    >>> a, b = unit_spread(torch.tensor([[0.0], [4.0]]), torch.tensor([[0.0], [4.0]]))
    >>> a.flatten().tolist()
    [0.0, 2.0]
    """
    variance = 0.5 * (source.var(0, correction=0).mean() + target.var(0, correction=0).mean())
    factor = variance.clamp_min(1e-12).rsqrt()
    return source * factor, target * factor


def coral(source: Tensor, target: Tensor) -> Tensor:
    r"""Compute ``||C_S - C_T||_F^2 / (4 d^2)`` of two samples' covariances.

    Parameters
    ----------
    source : Tensor, shape (n, d)
        At least two rows.
    target : Tensor, shape (m, d)
        At least two rows.

    Returns
    -------
    Tensor, scalar

    References
    ----------
    B. Sun, K. Saenko. Deep CORAL: correlation alignment for deep domain adaptation. ECCV
    Workshops, 2016.

    Examples
    --------
    >>> import torch
    >>> coral(torch.tensor([[-1.0], [1.0]]), torch.tensor([[-2.0], [2.0]])).item()
    9.0
    """
    d = source.shape[1]
    difference = _covariance(source) - _covariance(target)
    return difference.square().sum() / (4 * d * d)


def _covariance(rows: Tensor) -> Tensor:
    centred = rows - rows.mean(dim=0)
    return centred.T @ centred / max(len(rows) - 1, 1)
