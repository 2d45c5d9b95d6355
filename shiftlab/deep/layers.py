"""Outputs of a network's blocks as rows of features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shiftlab.deep.backbones import BlockNet
from shiftlab.deep.inputs import as_input_array, make_store
from shiftlab.deep.nets import TrainedNet

__all__ = ["block_outputs", "check_layers", "layer_outputs", "pooled"]

_BATCH = 128


def check_layers(net: BlockNet, layers: Sequence[str]) -> None:
    """Refuse names that no block has.

    Parameters
    ----------
    net : BlockNet
        The network.
    layers : sequence of str
        Names of blocks.

    Raises
    ------
    ValueError
        Naming those that are unknown and those that there are.
    """
    unknown = [layer for layer in layers if layer not in net.block_names]
    if unknown or not layers:
        raise ValueError(f"layers must be among the blocks {net.block_names}; got {list(layers)}")


def pooled(output: Tensor) -> Tensor:
    """Average maps (n, c, h, w) over their places; rows stay as they are.

    Parameters
    ----------
    output : Tensor, shape (n, c, h, w) or (n, f)
        What a block returns.

    Returns
    -------
    Tensor, shape (n, c) or (n, f)
    """
    return output.mean(dim=(2, 3)) if output.ndim == 4 else output.flatten(1)


def block_outputs(net: BlockNet, batch: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Run a batch up to the highest of these blocks and keep what they return.

    Parameters
    ----------
    net : BlockNet
        The network.
    batch : Tensor, shape (n, C, H, W) or (n, d)
        Inputs.
    layers : sequence of str
        Names of blocks.

    Returns
    -------
    dict of str to Tensor
        In the order of the network.
    """
    found: dict[str, Tensor] = {}
    for name, block in zip(net.block_names, net.blocks, strict=True):
        batch = block(batch)
        if name in layers:
            found[name] = batch
        if len(found) == len(set(layers)):
            break
    return found


def layer_outputs(
    trained: TrainedNet,
    images: Any,
    layers: Sequence[str],
    *,
    change: Callable[[Tensor], Tensor] | None = None,
    pool: bool = True,
) -> dict[str, NDArray[np.float32]]:
    """Give the outputs of blocks, maps averaged over their places.

    Parameters
    ----------
    trained : TrainedNet
        The network.
    images : array-like of uint8, shape (n, H, W) or (n, H, W, C), or rows of shape (n, d)
        Of the shape that it takes.
    layers : sequence of str
        Names of blocks.
    change : callable, default=None
        What is done to a standardised batch first.
    pool : bool, default=True
        Average maps over their places; False flattens them, as the head sees them.

    Returns
    -------
    dict of str to ndarray of float32, shape (n, c)

    Examples
    --------
    >>> from torch import nn
    >>> net = BlockNet(nn.Sequential(nn.Conv2d(1, 3, 1), nn.Flatten()), nn.Linear(12, 2))
    >>> trained = TrainedNet(net, np.array([0, 1]), (2, 2, 1), device="cpu")
    >>> layer_outputs(trained, np.zeros((5, 2, 2), dtype=np.uint8), ["0"])["0"].shape
    (5, 3)
    """
    check_layers(trained.net, layers)
    array = as_input_array(images, shape=trained.image_shape)
    if len(array) == 0:
        blank = np.zeros((1, *trained.image_shape), dtype=array.dtype)
        return {name: rows[:0] for name, rows in layer_outputs(trained, blank, layers).items()}
    store = make_store(array, trained.device)
    trained.net.eval()
    parts: dict[str, list[Tensor]] = {}
    with torch.inference_mode():
        for index in torch.split(torch.arange(len(array), device=store.pixels.device), _BATCH):
            batch = store.batch(index)
            if change is not None:
                batch = change(batch)
            for name, output in block_outputs(trained.net, batch, layers).items():
                rows = pooled(output) if pool else output.flatten(1)
                parts.setdefault(name, []).append(rows.float().cpu())
    return {name: torch.cat(batches).numpy() for name, batches in parts.items()}
