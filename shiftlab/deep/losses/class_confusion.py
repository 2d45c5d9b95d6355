"""Minimum class confusion (MCC)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["class_confusion"]


def class_confusion(scores: Tensor, temperature: float = 2.5) -> Tensor:
    r"""Compute how much a classifier confuses the classes of an unlabelled batch.

    With probabilities ``p`` at the temperature and weights ``w`` of the rows, ``1 + exp(-H(p))``
    scaled to mean 1: ``C = p' diag(w) p``, rows divided by their sums; the loss is the mean over
    classes of what lies off the diagonal.

    Parameters
    ----------
    scores : Tensor, shape (n, k)
        Class scores, before the softmax.
    temperature : float, default=2.5
        Scores are divided by it.

    Returns
    -------
    Tensor, scalar
        In [0, 1].

    References
    ----------
    Y. Jin, X. Wang, M. Long, J. Wang. Minimum class confusion for versatile domain adaptation.
    ECCV, 2020.

    Examples
    --------
    >>> round(class_confusion(torch.zeros(4, 2)).item(), 4)
    0.5
    """
    log_p = torch.log_softmax(scores / temperature, dim=1)
    p = log_p.exp()
    weight = 1.0 + torch.exp((p * log_p).sum(dim=1).detach())
    weight = weight / weight.mean()
    confusion = (p * weight[:, None]).T @ p
    confusion = confusion / confusion.sum(dim=1, keepdim=True)
    return 1.0 - confusion.diagonal().mean()
