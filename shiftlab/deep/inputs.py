"""What networks are fed with: images as uint8 or rows of numbers, whole sets on the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shiftlab.deep.images import ImageStore, as_image_array

__all__ = ["RowStore", "as_input_array", "as_row_array", "make_store"]

# Beyond, squares are infinite in float32.
_LARGEST = 1e18


def as_row_array(
    rows: Any, *, name: str = "rows", shape: tuple[int, ...] | None = None
) -> NDArray[np.float32]:
    """Read a table as float32.

    Parameters
    ----------
    rows : array-like, shape (n, d)
        Finite numbers.
    name : str, default="rows"
        What an error message calls them.
    shape : (int,) or None, default=None
        The number of columns that they must have.

    Returns
    -------
    ndarray of float32, shape (n, d)

    Raises
    ------
    ValueError
        If it is no table of finite numbers of a size that float32 holds.

    Examples
    --------
    >>> as_row_array([[1, 2]]).dtype
    dtype('float32')
    """
    if isinstance(rows, Tensor):
        rows = rows.detach().cpu().numpy()
    array = np.asarray(rows)
    if array.ndim != 2:
        raise ValueError(f"{name} must have shape (n, columns), got {array.shape}")
    if shape is not None and array.shape[1:] != tuple(shape):
        raise ValueError(
            f"{name} must have {shape[0]} columns, as the network was trained with; "
            f"got {array.shape[1]}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must have no NaN and no infinity")
    if array.size and np.abs(array).max() > _LARGEST:
        raise ValueError(
            f"{name} has values above {_LARGEST:.0e}, too large for float32; rescale the columns"
        )
    return array.astype(np.float32)


def as_input_array(
    X: Any, *, name: str = "images", shape: tuple[int, ...] | None = None
) -> NDArray[Any]:
    """Read images or a table, whichever `shape` or the number of axes says.

    Parameters
    ----------
    X : array-like, shape (n, H, W), (n, H, W, C) or (n, d)
        Images of uint8, or rows.
    name : str, default="images"
        What an error message calls them.
    shape : tuple of int or None, default=None
        The (H, W, C) or (d,) that one of them must have.

    Returns
    -------
    ndarray, uint8 of shape (n, H, W, C) or float32 of shape (n, d)

    Examples
    --------
    >>> as_input_array(np.zeros((2, 3))).shape
    (2, 3)
    """
    if len(shape) == 1 if shape is not None else np.ndim(X) == 2:
        return as_row_array(X, name=name, shape=shape)
    return as_image_array(X, name=name, shape=shape)


class RowStore:
    """A whole table as float32 on the device.

    Parameters
    ----------
    rows : ndarray of float32, shape (n, d)
        As :func:`as_row_array` gives them.
    device : torch.device
        Where the batches are wanted.

    Attributes
    ----------
    pixels : Tensor of float32, shape (n, d)
        The rows, on `device`.
    """

    def __init__(self, rows: NDArray[np.float32], device: torch.device) -> None:
        self.device = device
        self.pixels = torch.tensor(rows, device=device)

    def __len__(self) -> int:
        """Count the rows."""
        return int(self.pixels.shape[0])

    def batch(self, index: Tensor) -> Tensor:
        """Cut a batch, shape (len(index), d).

        Parameters
        ----------
        index : Tensor of int64, shape (b,)
            Rows, on the device.
        """
        return self.pixels.index_select(0, index)


def make_store(array: NDArray[Any], device: torch.device) -> ImageStore | RowStore:
    """Keep a set of images, or a table, where batches can be cut from it.

    Parameters
    ----------
    array : ndarray
        From :func:`as_input_array`.
    device : torch.device
        Where the batches are wanted.

    Returns
    -------
    ImageStore or RowStore

    Examples
    --------
    >>> store = make_store(as_input_array([[1.0, 2.0], [3.0, 4.0]]), torch.device("cpu"))
    >>> store.batch(torch.tensor([1])).tolist()
    [[3.0, 4.0]]
    """
    return RowStore(array, device) if array.ndim == 2 else ImageStore(array, device)
