"""Entropy of predictions, and the information that they carry."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["entropy", "information"]


def entropy(scores: Tensor) -> Tensor:
    """Compute the entropy of each row's class probabilities, in nats.

    Parameters
    ----------
    scores : Tensor, shape (n, k)
        Class scores, before the softmax.

    Returns
    -------
    Tensor, shape (n,)

    Examples
    --------
    >>> round(entropy(torch.zeros(1, 2)).item(), 4)
    0.6931
    """
    log_p = torch.log_softmax(scores, dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


def information(scores: Tensor) -> Tensor:
    """Compute the entropy of the mean prediction less the mean entropy of predictions.

    It is the mutual information of row and predicted class: large where each row is sure and
    all classes occur.

    Parameters
    ----------
    scores : Tensor, shape (n, k)
        Class scores, before the softmax.

    Returns
    -------
    Tensor, scalar
        In [0, log k].

    References
    ----------
    J. Liang, D. Hu, J. Feng. Do we really need to access the source data? Source hypothesis
    transfer for unsupervised domain adaptation. ICML, 2020.

    Examples
    --------
    >>> round(information(torch.tensor([[50.0, 0.0], [0.0, 50.0]])).item(), 4)
    0.6931
    """
    mean = torch.softmax(scores, dim=1).mean(dim=0)
    return -(mean * mean.clamp_min(1e-12).log()).sum() - entropy(scores).mean()
