"""Features and class probabilities in one vector (CDAN)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["RandomMap", "multilinear_map"]


def multilinear_map(features: Tensor, probabilities: Tensor) -> Tensor:
    """Compute the outer product of features and probabilities, flattened.

    Parameters
    ----------
    features : Tensor, shape (n, f)
    probabilities : Tensor, shape (n, k)

    Returns
    -------
    Tensor, shape (n, f * k)
        Entry ``i * k + j`` is ``features[i] * probabilities[j]``.

    References
    ----------
    M. Long, Z. Cao, J. Wang, M. Jordan. Conditional adversarial domain adaptation. NeurIPS, 2018.

    Examples
    --------
    >>> multilinear_map(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.25, 0.75]])).tolist()
    [[0.25, 0.75, 0.5, 1.5]]
    """
    return (features[:, :, None] * probabilities[:, None, :]).flatten(1)


class RandomMap(nn.Module):
    """The multilinear map in fewer dimensions: ``(R_f f) * (R_p p) / sqrt(d)``.

    With entries of variance 1 its inner products are those of the full map on average. The
    matrices are drawn once.

    Parameters
    ----------
    n_features, n_classes : int
        Widths of the two.
    n_dimensions : int
        Width of the result.
    generator : torch.Generator
        Of the CPU.

    Examples
    --------
    >>> map_ = RandomMap(8, 3, 16, torch.Generator().manual_seed(0))
    >>> tuple(map_(torch.ones(2, 8), torch.ones(2, 3) / 3).shape)
    (2, 16)
    """

    of_features: Tensor
    of_classes: Tensor

    def __init__(
        self, n_features: int, n_classes: int, n_dimensions: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.n_dimensions = n_dimensions
        for name, width in (("of_features", n_features), ("of_classes", n_classes)):
            self.register_buffer(name, torch.randn(width, n_dimensions, generator=generator))

    def forward(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """Map features (n, f) and probabilities (n, k) to (n, d)."""
        product = (features @ self.of_features) * (probabilities @ self.of_classes)
        return product / math.sqrt(self.n_dimensions)
