"""Features of images, kept on disk under a hash of all that they depend on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shiftlab.deep.fingerprint import fingerprint
from shiftlab.deep.inputs import as_input_array
from shiftlab.deep.layers import layer_outputs
from shiftlab.deep.nets import TrainedNet
from shiftlab.files import write_atomically

__all__ = ["cached_features"]


def cached_features(
    trained: TrainedNet,
    images: Any,
    layers: Sequence[str] | None,
    *,
    augmentation: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    seed: int = 0,
    folder: Path | None = None,
) -> NDArray[np.float32]:
    """Give the outputs of layers side by side, from the disk where they are known.

    Parameters
    ----------
    trained : TrainedNet
        The network.
    images : array-like of uint8, shape (n, H, W) or (n, H, W, C)
        Of the shape that it takes.
    layers : sequence of str or None
        Names of blocks; None is the features below the head.
    augmentation : callable, default=None
        Changes of a standardised batch; its ``repr`` is a part of the hash.
    seed : int, default=0
        Of the changes.
    folder : Path or None, default=None
        Where features are kept; made when missing. None keeps none.

    Returns
    -------
    ndarray of float32, shape (n, d)
    """
    array = as_input_array(images, shape=trained.image_shape)
    if folder is None:
        return _compute(trained, array, layers, augmentation, seed)
    settings = {
        "layers": None if layers is None else list(layers),
        "blocks": trained.net.block_names,
        "change": None if augmentation is None else (augmentation, seed),
    }
    mark = fingerprint(settings, [array, *trained.net.state_dict().values()])
    path = folder / f"features-{mark}.npy"
    if path.is_file():
        try:
            kept: NDArray[np.float32] = np.load(path, allow_pickle=False)
            if len(kept) == len(array):
                return kept
        except ValueError:
            pass  # a damaged file is written anew
    found = _compute(trained, array, layers, augmentation, seed)
    write_atomically(path, lambda file: np.save(file, found, allow_pickle=False))
    return found


def _compute(
    trained: TrainedNet,
    array: NDArray[Any],
    layers: Sequence[str] | None,
    augmentation: Callable[[Tensor, torch.Generator], Tensor] | None,
    seed: int,
) -> NDArray[np.float32]:
    if augmentation is None:
        change = None
        if layers is None:
            return trained.features(array)
    else:
        generator = torch.Generator(device=trained.device).manual_seed(seed)
        change = partial(_changed, augmentation, generator)
    chosen = [trained.net.block_names[-1]] if layers is None else list(dict.fromkeys(layers))
    found = layer_outputs(trained, array, chosen, change=change, pool=layers is not None)
    return np.concatenate([found[name] for name in chosen], axis=1)


def _changed(
    augmentation: Callable[[Tensor, torch.Generator], Tensor],
    generator: torch.Generator,
    batch: Tensor,
) -> Tensor:
    return augmentation(batch, generator)
