"""Pseudo-labels of sure predictions, with the class shares brought to a prior."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["align_distribution", "pseudo_label_loss"]


def align_distribution(probabilities: Tensor, mean: Tensor, prior: Tensor) -> Tensor:
    """Reweight predictions so that their mean comes near a prior.

    ``p_c q_c / m_c``, each row divided by its sum, for a mean prediction m and a prior q.

    Parameters
    ----------
    probabilities : Tensor, shape (n, k)
    mean : Tensor, shape (k,)
        Mean prediction, over many batches.
    prior : Tensor, shape (k,)
        Shares that the classes should have.

    Returns
    -------
    Tensor, shape (n, k)

    References
    ----------
    D. Berthelot et al. ReMixMatch: semi-supervised learning with distribution matching and
    augmentation anchoring. ICLR, 2020.

    Examples
    --------
    >>> import torch
    >>> half = torch.tensor([0.5, 0.5])
    >>> align_distribution(half[None], torch.tensor([0.75, 0.25]), half).tolist()
    [[0.25, 0.75]]
    """
    weighted = probabilities * (prior / mean.clamp_min(1e-4))
    return weighted / weighted.sum(dim=1, keepdim=True)


def pseudo_label_loss(
    scores: Tensor, probabilities: Tensor, confidence: float | Tensor, *, soft: bool = False
) -> tuple[Tensor, Tensor]:
    """Compute the cross-entropy to the most probable classes, of rows that are sure.

    A soft loss is the cross-entropy to the probabilities themselves: what is learned keeps the
    doubt that the teacher had, and a class that it leans to is not made certain at once.

    Parameters
    ----------
    scores : Tensor, shape (n, k)
        Class scores that are trained.
    probabilities : Tensor, shape (n, k)
        The teacher's; no gradient.
    confidence : float or Tensor
        The largest probability from which a row counts.
    soft : bool, default=False
        Learn the probabilities of rows that count, not their most probable class.

    Returns
    -------
    loss : Tensor, scalar
        Sum over the rows that count, divided by n: few sure rows weigh little.
    sure : Tensor of bool, shape (n,)
        Which rows count.

    References
    ----------
    K. Sohn et al. FixMatch: simplifying semi-supervised learning with consistency and confidence.
    NeurIPS, 2020.

    Examples
    --------
    >>> import torch
    >>> p = torch.tensor([[0.95, 0.05], [0.6, 0.4]])
    >>> loss, sure = pseudo_label_loss(torch.zeros(2, 2), p, 0.9)
    >>> round(loss.item(), 4), sure.tolist()
    (0.3466, [True, False])
    """
    largest, labels = probabilities.detach().max(dim=1)
    sure = largest >= confidence
    wanted = probabilities.detach() if soft else labels
    losses = F.cross_entropy(scores, wanted, reduction="none")
    return (losses * sure).mean(), sure
