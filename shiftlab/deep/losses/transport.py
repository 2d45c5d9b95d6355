"""Optimal transport between two batches (DeepJDOT); the plan is POT's."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["joint_cost", "transport_cost"]


def joint_cost(
    source: Tensor,
    target: Tensor,
    labels: Tensor,
    target_scores: Tensor,
    *,
    of_features: float = 1.0,
    of_labels: float = 1.0,
) -> Tensor:
    """Compute the cost of taking each target row for each source row, with its label.

    ``a |s_i - t_j|^2 / d - b log p_j(y_i)``: features far apart, and a label that the target's
    prediction does not bear out, both cost.

    Parameters
    ----------
    source : Tensor, shape (n, d)
        Features.
    target : Tensor, shape (m, d)
    labels : Tensor of int64, shape (n,)
        Classes of the source rows.
    target_scores : Tensor, shape (m, k)
        Class scores of the target rows.
    of_features, of_labels : float, default=1.0
        The factors a and b.

    Returns
    -------
    Tensor, shape (n, m)

    Examples
    --------
    >>> cost = joint_cost(torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([0]), torch.zeros(1, 2))
    >>> round(cost.item(), 4)
    1.6931
    """
    squares = source.square().sum(1)[:, None] + target.square().sum(1)[None, :]
    distance = (squares - 2 * source @ target.T).clamp_min(0.0) / source.shape[1]
    wrong = -F.log_softmax(target_scores, dim=1)[:, labels].T
    return of_features * distance + of_labels * wrong


def transport_cost(cost: Tensor) -> Tensor:
    """Compute the least total cost of moving one batch onto the other, rows counting the same.

    The exact plan is found by POT's network simplex on the CPU and is a constant for the
    gradient (the envelope theorem: the derivative of the minimum is that of the cost).

    Parameters
    ----------
    cost : Tensor, shape (n, m)
        Finite.

    Returns
    -------
    Tensor, scalar

    References
    ----------
    B. Damodaran, B. Kellenberger, R. Flamary, D. Tuia, N. Courty. DeepJDOT: deep joint distribution
    optimal transport for unsupervised domain adaptation. ECCV, 2018.

    Examples
    --------
    >>> transport_cost(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).item()
    0.0
    """
    import numpy as np
    import ot  # type: ignore[import-untyped]

    matrix = cost.detach().double().cpu().numpy()
    if not np.isfinite(matrix).all():
        return cost.sum() * float("nan")  # the loop stops at a loss that is no number
    n, m = matrix.shape
    plan = ot.emd(np.full(n, 1 / n), np.full(m, 1 / m), matrix)
    return (torch.from_numpy(plan).to(cost) * cost).sum()
