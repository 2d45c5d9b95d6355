"""The class shares of a target that a training predicts, and those that it should come to."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shiftlab.deep.losses.pseudo_labels import align_distribution

__all__ = ["ClassShares", "fill_shares"]

_MEMORY = 0.99  # of the running mean of predicted shares, a step
_LEAST = 1e-4


def fill_shares(prior: Tensor, taken: Tensor) -> Tensor:
    """Find the shares nearest to a prior that are nowhere below what is taken.

    ``min KL(q || prior)`` over ``q >= taken, sum q = 1``, which ``max(taken, t prior)`` solves for
    the t that makes the sum one.

    Parameters
    ----------
    prior : Tensor, shape (k,)
        Positive, of sum 1.
    taken : Tensor, shape (k,)
        Where its sum is above 1 it is divided by it.

    Returns
    -------
    Tensor, shape (k,)

    Examples
    --------
    >>> half = torch.tensor([0.5, 0.25, 0.25])
    >>> [round(q, 2) for q in fill_shares(half, torch.tensor([0.1, 0.4, 0.1])).tolist()]
    [0.4, 0.4, 0.2]
    """
    if taken.sum() >= 1.0:
        return taken / taken.sum()
    fixed = torch.zeros_like(prior, dtype=torch.bool)
    while True:
        # t only falls as classes are fixed at what they have, so that none is freed again.
        level = (1.0 - taken[fixed].sum()) / prior[~fixed].sum()
        above = ~fixed & (taken > level * prior)
        if not above.any():
            return torch.where(fixed, taken, level * prior)
        fixed |= above


class ClassShares(nn.Module):
    """Shares that predictions on a target have, and shares that they are brought to.

    What is wanted starts half way, in logarithms, between the source's shares and equal ones:
    neither is known of the target. It moves half way to where sure rows force it to: what is
    learned of the target is counted, a class has at least the geometric mean of its count and
    its first share, and the rows that are left go to the classes of which more was wanted
    first, see :func:`fill_shares`. Estimates from all rows (expectation maximisation), and
    counts that are believed in full, follow a network that confuses two classes, and the two push
    each other.

    Parameters
    ----------
    prior : Tensor, shape (k,)
        Class shares of the source.
    largest_ratio : float
        By how much a first share may be multiplied or divided, before all are made to add up to
        one; at least 1.

    Examples
    --------
    >>> shares = ClassShares(torch.tensor([0.5, 0.5]), 2.0)
    >>> shares.count(torch.tensor([0] * 8 + [1] * 2), torch.tensor([True] * 8 + [False] * 2))
    >>> shares.follow()
    >>> [round(share, 2) for share in shares.wanted.tolist()]
    [0.63, 0.37]
    """

    prior: Tensor
    wanted: Tensor
    seen: Tensor
    counts: Tensor

    def __init__(self, prior: Tensor, largest_ratio: float) -> None:
        super().__init__()
        prior = prior.clamp_min(_LEAST).sqrt()
        prior = prior / prior.sum()
        for name in ("prior", "wanted", "seen"):
            self.register_buffer(name, prior.clone())
        # Learned rows of each class since the last epoch, and in the end all rows.
        self.register_buffer("counts", torch.zeros(len(prior) + 1, device=prior.device))
        self.largest_ratio = largest_ratio

    @torch.no_grad()
    def align(self, probabilities: Tensor) -> Tensor:
        """Note the shares of a batch and bring its predictions nearer to what is wanted.

        Parameters
        ----------
        probabilities : Tensor, shape (n, k)

        Returns
        -------
        Tensor, shape (n, k)
        """
        self.seen.lerp_(probabilities.mean(dim=0), 1.0 - _MEMORY)
        return align_distribution(probabilities, self.seen, self.wanted)

    def excess(self, scores: Tensor) -> Tensor:
        """Compute a loss whose gradient is that of ``KL(seen || wanted)``, by one batch.

        ``sum_c p_c log(seen_c / wanted_c)`` for the mean prediction p of the batch: a batch is too
        small for its own shares to mean much, so they are weighed by the running ones.

        Parameters
        ----------
        scores : Tensor, shape (n, k)
            Class scores, before the softmax.

        Returns
        -------
        Tensor, scalar
        """
        surplus = (self.seen.clamp_min(_LEAST) / self.wanted).log()
        return (scores.softmax(dim=1).mean(dim=0) * surplus).sum()

    @torch.no_grad()
    def count(self, labels: Tensor, learned: Tensor) -> None:
        """Count the rows of a batch that are known for sure.

        Parameters
        ----------
        labels : Tensor of int64, shape (n,)
        learned : Tensor of bool, shape (n,)
            Which labels count.
        """
        rows = learned.to(self.counts)
        self.counts.index_add_(0, labels, rows)
        self.counts[-1] += len(rows)

    @torch.no_grad()
    def follow(self) -> None:
        """Move what is wanted to where the counts since the last call allow, and count anew."""
        if self.counts[-1] > 0:
            taken = (self.prior * self.counts[:-1] / self.counts[-1]).sqrt()
            bounded = taken.clamp(self.prior / self.largest_ratio, self.prior * self.largest_ratio)
            self.wanted.copy_(fill_shares(self.prior, bounded))
        self.counts.zero_()
