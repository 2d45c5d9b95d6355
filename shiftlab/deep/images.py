"""Images as one uint8 tensor on the device, and standardised float batches from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["ImageStore", "as_image_array", "standardise"]

# A data set takes at most this part of a GPU's free memory; the rest of it is
# for weights and activations. Larger sets stay in pinned host memory.
_PART_OF_FREE_MEMORY = 0.5


def as_image_array(
    images: Any, *, name: str = "images", shape: tuple[int, ...] | None = None
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Check images and give them the shape (n, height, width, channels), uncopied.

    Parameters
    ----------
    images : array-like of uint8, shape (n, H, W) or (n, H, W, C)
        Gray images, or images with C channels last.
    name : str, default="images"
        What an error message calls them.
    shape : tuple of int or None, default=None
        The (H, W, C) that they must have.

    Returns
    -------
    ndarray of uint8, shape (n, H, W, C)

    Raises
    ------
    TypeError
        If the values are not uint8.
    ValueError
        If the shape is not that of a set of images, or not `shape`.

    Examples
    --------
    >>> as_image_array(np.zeros((5, 28, 28), dtype=np.uint8)).shape
    (5, 28, 28, 1)
    """
    if isinstance(images, Tensor):
        images = images.detach().cpu().numpy()
    array = np.asarray(images)
    wanted = "images of shape (n, height, width) or (n, height, width, channels) and dtype uint8"
    if array.ndim not in (3, 4):
        raise ValueError(f"{name} must be {wanted}; got an array of shape {array.shape}")
    if array.dtype != np.uint8:
        raise TypeError(f"{name} must be {wanted}; got dtype {array.dtype}")
    if array.ndim == 3:
        array = array[..., None]
    n, height, width, channels = array.shape
    if channels > 4 and (n > 0 and height <= 4):
        raise ValueError(
            f"{name} must have channels last, {wanted}; got shape {array.shape}, "
            "which looks like channels first: use images.transpose(0, 2, 3, 1)"
        )
    if min(height, width, channels) == 0:
        raise ValueError(f"{name} must be {wanted}; got an array of shape {array.shape}")
    if shape is not None and array.shape[1:] != tuple(shape):
        raise ValueError(
            f"{name} must have the shape that the network was trained with, "
            f"(height, width, channels) = {tuple(shape)}; got {array.shape[1:]}"
        )
    return array


def standardise(batch: Tensor) -> Tensor:
    """Give every image mean 0 and standard deviation 1 over its own values.

    ``z = (x - mean(x)) / max(std(x), 1)`` with the mean and the (population)
    standard deviation over channels and pixels, in gray levels of 0 to 255:
    brightness and contrast of an image no longer matter, and an image that is
    flat up to one gray level is not blown up into noise.

    Parameters
    ----------
    batch : Tensor of float, shape (n, C, H, W)
        Gray levels in [0, 255].

    Returns
    -------
    Tensor of float, shape (n, C, H, W)

    Examples
    --------
    >>> z = standardise(torch.tensor([[[[0.0, 255.0]]]]))
    >>> z.flatten().tolist()
    [-1.0, 1.0]
    """
    std, mean = torch.std_mean(batch, dim=(1, 2, 3), keepdim=True, correction=0)
    return (batch - mean) / std.clamp_min(1.0)


class ImageStore:
    """A whole set of images as uint8, on the device when it fits.

    Batches are cut by index, moved (when the set stays on the host, from
    pinned memory without waiting), turned to float and standardised on the
    device; no worker process and no copy of the set in float.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, H, W, C)
        As :func:`as_image_array` gives them.
    device : torch.device
        Where the batches are wanted.

    Attributes
    ----------
    pixels : Tensor of uint8, shape (n, H, W, C)
        The images, on `device` or in host memory.
    """

    def __init__(self, images: np.ndarray[Any, np.dtype[np.uint8]], device: torch.device) -> None:
        contiguous = np.ascontiguousarray(images)
        if not contiguous.flags.writeable:
            # torch warns about read-only memory (a memory map, a frozen array).
            contiguous = contiguous.copy()
        pixels = torch.from_numpy(contiguous)
        self.device = device
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            pixels = pixels.pin_memory()
            if pixels.numel() <= _PART_OF_FREE_MEMORY * free:
                pixels = pixels.to(device, non_blocking=True)
        elif device.type != "cpu":
            pixels = pixels.to(device)
        self.pixels = pixels

    def __len__(self) -> int:
        """Count the images."""
        return int(self.pixels.shape[0])

    def batch(self, index: Tensor) -> Tensor:
        """Cut a standardised float32 batch, shape (len(index), C, H, W), channels last in memory.

        Parameters
        ----------
        index : Tensor of int64, shape (b,)
            Rows, on the device of :attr:`pixels`.
        """
        chosen = self.pixels.index_select(0, index)
        if chosen.device != self.device:
            chosen = chosen.pin_memory().to(self.device, non_blocking=True)
        # The (n, H, W, C) bytes seen as (n, C, H, W) are channels_last already,
        # which is the layout that convolutions are fastest in.
        return standardise(chosen.permute(0, 3, 1, 2).float())
