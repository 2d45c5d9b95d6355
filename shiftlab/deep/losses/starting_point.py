"""Distance of weights, or of feature maps, to those that a fine-tuning started from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

__all__ = ["feature_map_distance", "starting_point"]


def starting_point(
    weights: Sequence[Tensor],
    start: Sequence[Tensor],
    fresh: Sequence[Tensor],
    *,
    alpha: float,
    beta: float,
) -> Tensor:
    r"""Compute L2-SP, ``alpha/2 ||w - w_0||^2 + beta/2 ||v||^2``.

    Parameters
    ----------
    weights : sequence of Tensor
        Those that came from the source, w.
    start : sequence of Tensor
        Their values before the fine-tuning, w_0.
    fresh : sequence of Tensor
        Those that are new, v.
    alpha, beta : float
        Strengths.

    Returns
    -------
    Tensor, scalar

    References
    ----------
    X. Li, Y. Grandvalet, F. Davoine. Explicit inductive bias for transfer learning with
    convolutional networks. ICML, 2018.

    Examples
    --------
    >>> w, w_0, v = torch.tensor([3.0]), torch.tensor([1.0]), torch.tensor([2.0])
    >>> starting_point([w], [w_0], [v], alpha=0.5, beta=0.25).item()  # 0.25 * 4 + 0.125 * 4
    1.5
    """
    moved = [(w - s).square().sum() for w, s in zip(weights, start, strict=True)]
    size = [v.square().sum() for v in fresh]
    zero = torch.zeros((), device=(list(weights) + list(fresh))[0].device)
    return 0.5 * (alpha * sum(moved, zero) + beta * sum(size, zero))


def feature_map_distance(
    maps: Mapping[str, Tensor], start: Mapping[str, Tensor], attention: Mapping[str, Tensor]
) -> Tensor:
    r"""Compute DELTA's distance of feature maps, weighted channel by channel.

    .. math:: \frac{1}{2 n} \sum_i \sum_l \sum_j
              \frac{c_l\, a_{lj}}{h_l w_l} \| F_{lj}(x_i) - F^0_{lj}(x_i) \|_F^2

    for the :math:`c_l` channels j of layer l. With the weights :math:`a_l`, which sum to one,
    all equal it is half the sum over layers and channels of the mean squared difference.

    Parameters
    ----------
    maps : mapping of str to Tensor, shape (n, c, h, w) or (n, c)
        Outputs of layers.
    start : mapping of str to Tensor
        Outputs of the same layers before the fine-tuning.
    attention : mapping of str to Tensor, shape (c,)
        Weights of the channels.

    Returns
    -------
    Tensor, scalar

    References
    ----------
    X. Li et al. DELTA: deep learning transfer using feature map with attention for convolutional
    networks. ICLR, 2019.

    Examples
    --------
    >>> now, before = torch.tensor([[1.0, 5.0]]), torch.tensor([[0.0, 3.0]])
    >>> feature_map_distance({"a": now}, {"a": before}, {"a": torch.tensor([0.75, 0.25])}).item()
    1.75
    """
    total = torch.zeros((), device=next(iter(maps.values())).device)
    for layer, now in maps.items():
        weight = attention[layer]
        squares = (now.to(weight) - start[layer].to(weight)).square()
        mean = squares.flatten(2).mean(dim=2) if squares.ndim > 2 else squares
        total = total + len(weight) * (mean @ weight).mean()
    return 0.5 * total
