"""Train the source's head along with the target's, on the source classes that go with a label."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["class_relation", "co_tuning"]


def class_relation(source_proba: Tensor, codes: Tensor, n_classes: int) -> Tensor:
    """Estimate P(source class | target class), the mean prediction over the rows of a class.

    This is the direct one of the two published estimates.

    Parameters
    ----------
    source_proba : Tensor, shape (n, k)
        The source network's probabilities on labelled target rows.
    codes : Tensor of int64, shape (n,)
        Their target classes.
    n_classes : int
        How many target classes there are; one without rows gets the mean over all rows.

    Returns
    -------
    Tensor, shape (n_classes, k)

    Examples
    --------
    >>> p = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    >>> class_relation(p, torch.tensor([0, 0, 1]), 2).tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    """
    one_hot = torch.nn.functional.one_hot(codes, n_classes).to(source_proba)
    counts = one_hot.sum(dim=0)[:, None]
    means = one_hot.T @ source_proba / counts.clamp_min(1.0)
    return torch.where(counts > 0, means, source_proba.mean(dim=0))


def co_tuning(source_scores: Tensor, relation: Tensor, codes: Tensor) -> Tensor:
    r"""Compute ``-1/n sum_i sum_s P(s | y_i) log softmax(source head)_is``.

    Parameters
    ----------
    source_scores : Tensor, shape (n, k)
        Scores of the source's head.
    relation : Tensor, shape (m, k)
        P(source class | target class).
    codes : Tensor of int64, shape (n,)
        Target classes of the rows.

    Returns
    -------
    Tensor, scalar

    References
    ----------
    K. You, Z. Kou, M. Long, J. Wang. Co-Tuning for transfer learning. NeurIPS, 2020.

    Examples
    --------
    >>> round(co_tuning(torch.zeros(1, 2), torch.tensor([[0.3, 0.7]]), torch.tensor([0])).item(), 4)
    0.6931
    """
    return -(relation[codes] * torch.log_softmax(source_scores, dim=1)).sum(dim=1).mean()
