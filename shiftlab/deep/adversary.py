"""The domain classifier that adversarial adapters train against."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["DomainHead"]


class DomainHead(nn.Module):
    """Two layers from features to one score a row; high means source.

    The score is no probability: its loss is a logistic one, and has a gradient everywhere.

    Parameters
    ----------
    n_features : int
        Width of what it reads.
    n_hidden : int, default=128
        Hidden units.

    Examples
    --------
    >>> import torch
    >>> tuple(DomainHead(4)(torch.zeros(3, 4)).shape)
    (3,)
    """

    def __init__(self, n_features: int, n_hidden: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_features, n_hidden), nn.ReLU(), nn.Linear(n_hidden, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Score features (n, f), shape (n,)."""
        scores: Tensor = self.layers(features)
        return scores.squeeze(1)
