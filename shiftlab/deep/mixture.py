"""One head a source on the features of one network, and their average."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

__all__ = ["MixtureHead", "single_head"]


class MixtureHead(nn.Module):
    r"""Answer by the average of several heads: ``log mean_j p_j(y | f)``.

    A class counts over the heads that know it; one that none knows, over all. A softmax of the
    scores gives the averaged probabilities, brought to sum one.

    Parameters
    ----------
    head : torch.nn.Module
        Features to one score a class; each head starts as a copy of it.
    known : Tensor of bool, shape (N, k)
        The classes of which each of the N heads is taught rows.

    Attributes
    ----------
    heads : torch.nn.ModuleList
        The N heads.
    weights : Tensor of float32, shape (N, k)
        Share of each head in the score of each class; columns sum to 1.

    Examples
    --------
    >>> mixture = MixtureHead(nn.Linear(1, 2), torch.ones(2, 2))
    >>> for head, sign in zip(mixture.heads, (1.0, -1.0)):
    ...     head.load_state_dict({"weight": torch.tensor([[0.0], [sign]]), "bias": torch.zeros(2)})
    <All keys matched successfully>
    <All keys matched successfully>
    >>> [round(p, 4) for p in mixture(torch.ones(1, 1)).exp()[0].tolist()]
    [0.5, 0.5]
    """

    weights: Tensor

    def __init__(self, head: nn.Module, known: Tensor) -> None:
        super().__init__()
        self.heads = nn.ModuleList(copy.deepcopy(head) for _ in range(len(known)))
        counted = (known.bool() | ~known.bool().any(dim=0)).float()
        self.register_buffer("weights", counted / counted.sum(dim=0))

    def scores_of(self, features: Tensor, origin: Tensor) -> Tensor:
        """Give each row the class scores of its own head.

        Parameters
        ----------
        features : Tensor, shape (n, f)
            Rows.
        origin : Tensor of int64, shape (n,)
            Number of the head of each.

        Returns
        -------
        Tensor, shape (n, k)
        """
        scores = torch.stack([head(features) for head in self.heads])
        return scores[origin, torch.arange(len(features), device=features.device)]

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, f) to class scores (n, k)."""
        logs = torch.stack([head(features).float().log_softmax(dim=1) for head in self.heads])
        return torch.logsumexp(logs + self.weights.log()[:, None], dim=0)


def single_head(head: nn.Module) -> nn.Module:
    """Give the mean of a mixture's heads, weight by weight, and any other head as it is.

    Parameters
    ----------
    head : torch.nn.Module
        Of a network.

    Returns
    -------
    torch.nn.Module
        What can be replaced row by row, or trained for one domain.
    """
    if not isinstance(head, MixtureHead):
        return head
    mean = copy.deepcopy(head.heads[0])
    with torch.no_grad():
        for out, *parts in zip(
            mean.parameters(), *(one.parameters() for one in head.heads), strict=True
        ):
            out.copy_(torch.stack(parts).mean(dim=0))
    return mean
