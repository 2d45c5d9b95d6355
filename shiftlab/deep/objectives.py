"""What a fine-tuning minimises: cross-entropy, and a regulariser that remembers the source."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shiftlab.deep.backbones import BlockNet
from shiftlab.deep.layers import block_outputs
from shiftlab.deep.losses.co_tuning import co_tuning
from shiftlab.deep.losses.singular_values import smallest_singular_values
from shiftlab.deep.losses.starting_point import feature_map_distance, starting_point

__all__ = [
    "PENALTIES",
    "Objective",
    "channel_attention",
    "co_tuning_objective",
    "delta_objective",
    "l2_sp_objective",
    "spectral_objective",
]

Objective = Callable[[Tensor, Tensor], Tensor]

PENALTIES = {"l2_sp": 0.01, "delta": 0.01, "bss": 0.001, "co_tuning": 1.0}
"""Regularisers by name, with the strength that is used where none is given."""

# Strength of what pulls a new head towards zero, in L2-SP and DELTA (both papers).
_HEAD_DECAY = 0.01


def l2_sp_objective(net: BlockNet, strength: float) -> Objective:
    """Return cross-entropy and the distance of the weights to where they are now.

    Parameters
    ----------
    net : BlockNet
        Before the fine-tuning, with its new head; frozen blocks do not move and do not count.
    strength : float
        Of the distance.

    Returns
    -------
    callable
        Batch and codes to a scalar.
    """
    weights = [p for p in net.features.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in weights]
    fresh = list(net.head.parameters())

    def objective(batch: Tensor, codes: Tensor) -> Tensor:
        distance = starting_point(weights, start, fresh, alpha=strength, beta=_HEAD_DECAY)
        return F.cross_entropy(net(batch).float(), codes) + distance

    return objective


def delta_objective(
    net: BlockNet, attention: dict[str, Tensor], strength: float, start: BlockNet
) -> Objective:
    """Return cross-entropy and the distance of feature maps to the source network's.

    Parameters
    ----------
    net : BlockNet
        The network.
    attention : dict of str to Tensor
        Weights of the channels of the layers that count, from :func:`channel_attention`.
    strength : float
        Of the distance.
    start : BlockNet
        The network before the fine-tuning.

    Returns
    -------
    callable
        Batch and codes to a scalar.
    """
    layers = list(attention)
    teacher = copy.deepcopy(start).requires_grad_(False).eval()

    def objective(batch: Tensor, codes: Tensor) -> Tensor:
        outputs = block_outputs(net, batch, net.block_names)
        scores = net.head(outputs[net.block_names[-1]].flatten(1)).float()
        with torch.no_grad():
            before = block_outputs(teacher, batch, layers)
        maps = {layer: outputs[layer] for layer in layers}
        size = sum(
            (p.square().sum() for p in net.head.parameters()), torch.zeros_like(scores[0, 0])
        )
        distance = feature_map_distance(maps, before, attention)
        return F.cross_entropy(scores, codes) + strength * distance + 0.5 * _HEAD_DECAY * size

    return objective


@torch.no_grad()
def channel_attention(
    net: BlockNet, batch: Tensor, codes: Tensor, layers: Sequence[str]
) -> dict[str, Tensor]:
    """Weigh channels by how much the loss grows where one is taken out, by a softmax.

    Parameters
    ----------
    net : BlockNet
        With a head that was fitted to the target on the source's features.
    batch : Tensor, shape (n, C, H, W)
        Labelled target rows.
    codes : Tensor of int64, shape (n,)
        Their classes.
    layers : sequence of str
        Blocks; one forward pass of what is above a block for each of its channels.

    Returns
    -------
    dict of str to Tensor, shape (c,)
        Each sums to one.
    """
    net.eval()
    found = {}
    outputs = block_outputs(net, batch, layers)
    for layer, output in outputs.items():
        above = net.blocks[net.block_names.index(layer) + 1 :]

        def loss(x: Tensor, above: list[nn.Module] = above) -> Tensor:
            for block in above:
                x = block(x)
            return F.cross_entropy(net.head(x.flatten(1)).float(), codes)

        whole = loss(output)
        without = []
        for channel in range(output.shape[1]):
            cut = output.clone()
            cut[:, channel] = 0.0
            without.append(loss(cut) - whole)
        found[layer] = torch.softmax(torch.stack(without), dim=0)
    return found


def spectral_objective(net: BlockNet, strength: float) -> Objective:
    """Return cross-entropy and the smallest squared singular value of a batch's features.

    Parameters
    ----------
    net : BlockNet
        The network.
    strength : float
        Of the singular value.

    Returns
    -------
    callable
        Batch and codes to a scalar.
    """

    def objective(batch: Tensor, codes: Tensor) -> Tensor:
        features = net.embed(batch)
        loss = F.cross_entropy(net.head(features).float(), codes)
        return loss + strength * smallest_singular_values(features.float())

    return objective


def co_tuning_objective(
    net: BlockNet, source_head: nn.Module, relation: Tensor, strength: float
) -> Objective:
    """Return cross-entropy of both heads, the source's on the classes that go with a label.

    Parameters
    ----------
    net : BlockNet
        The network with its new head.
    source_head : torch.nn.Module
        The old head, trained along.
    relation : Tensor, shape (m, k)
        P(source class | target class).
    strength : float
        Of the source head's part.

    Returns
    -------
    callable
        Batch and codes to a scalar.
    """

    def objective(batch: Tensor, codes: Tensor) -> Tensor:
        features = net.embed(batch)
        loss = F.cross_entropy(net.head(features).float(), codes)
        return loss + strength * co_tuning(source_head(features).float(), relation, codes)

    return objective
