"""How far two classifiers disagree (maximum classifier discrepancy)."""

from __future__ import annotations

from torch import Tensor

__all__ = ["discrepancy"]


def discrepancy(first: Tensor, second: Tensor) -> Tensor:
    """Compute the mean absolute difference of two classifiers' probabilities.

    Parameters
    ----------
    first, second : Tensor, shape (n, k)
        Class scores, before the softmax.

    Returns
    -------
    Tensor, scalar
        In [0, 2 / k].

    References
    ----------
    K. Saito, K. Watanabe, Y. Ushiku, T. Harada. Maximum classifier discrepancy for unsupervised
    domain adaptation. CVPR, 2018.

    Examples
    --------
    >>> import torch
    >>> discrepancy(torch.tensor([[99.0, 0.0]]), torch.tensor([[0.0, 99.0]])).item()
    1.0
    """
    return (first.softmax(dim=1) - second.softmax(dim=1)).abs().mean()
