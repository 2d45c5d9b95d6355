"""The class shares of a target that a training predicts, and those that it should come to."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shiftlab.deep.losses.pseudo_labels import align_distribution
from shiftlab.stats.priors import em_prior

__all__ = ["ClassShares"]

_MEMORY = 0.99  # of the running mean of predicted shares, a step
_LEAST = 1e-4


class ClassShares(nn.Module):
    """Shares that predictions on a target have, and shares that they are brought to.

    What is wanted starts at the source's shares s and moves towards an estimate e by expectation
    maximisation (Saerens et al., 2002), on a geometric path and within a bounded ratio:
    ``s * clip(e / s, 1 / r, r) ** trust``, divided by its sum. A network that confuses two
    classes fools the estimate as well; unbounded, the two push each other until one class is
    all there is.

    Parameters
    ----------
    prior : Tensor, shape (k,)
        Class shares of the source.
    largest_ratio : float
        The bound r, at least 1.

    Examples
    --------
    >>> shares = ClassShares(torch.tensor([0.5, 0.5]), 2.0)
    >>> shares.follow(torch.tensor([[1.0, 0.0]] * 99 + [[0.0, 1.0]]), trust=1.0)
    >>> [round(share, 2) for share in shares.wanted.tolist()]
    [0.8, 0.2]
    """

    prior: Tensor
    wanted: Tensor
    seen: Tensor

    def __init__(self, prior: Tensor, largest_ratio: float) -> None:
        super().__init__()
        prior = prior.clamp_min(_LEAST)
        prior = prior / prior.sum()
        for name in ("prior", "wanted", "seen"):
            self.register_buffer(name, prior.clone())
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
    def follow(self, probabilities: Tensor, trust: float) -> None:
        """Estimate the shares of the target and move what is wanted towards them.

        Parameters
        ----------
        probabilities : Tensor, shape (n, k)
            Of the whole target, by a network that was trained on the source's shares.
        trust : float
            In [0, 1]; 0 keeps the source's shares.
        """
        rows = probabilities.double().cpu().numpy()
        prior = self.prior.double().cpu().numpy()
        rows = rows / rows.sum(axis=1, keepdims=True)
        found = torch.from_numpy(em_prior(rows, prior / prior.sum()).prior).to(self.prior)
        ratio = (found / self.prior).clamp(1.0 / self.largest_ratio, self.largest_ratio)
        wanted = self.prior * ratio**trust
        self.wanted.copy_(wanted / wanted.sum())
