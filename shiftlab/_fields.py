"""Checks of the fields of a `Domain`, and reading of what they are made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

__all__ = [
    "as_classes",
    "as_column",
    "as_labels",
    "as_mask",
    "as_names",
    "as_rows",
    "as_weight",
    "is_frame",
    "is_torch_dataset",
    "read_torch_dataset",
]


def is_frame(x: Any) -> bool:
    """Tell whether ``x`` is a pandas, polars or other data frame."""
    return nw.dependencies.is_into_dataframe(x)


def is_torch_dataset(x: Any) -> bool:
    """Tell a torch Dataset by where its class comes from, without importing torch."""
    return any(c.__module__.startswith("torch.utils.data") for c in type(x).__mro__)


def as_rows(X: Any) -> tuple[Any, tuple[str, ...] | None]:
    """Return ``X`` as one of the four kinds, with the column names it carries."""
    if X is None:
        raise ValueError("X is None; pass an array, a CSR matrix, a data frame or images")
    if hasattr(X, "unlabelled"):
        raise TypeError("X is already a Domain; use it as it is, or X.with_(...) to change it")
    if is_frame(X):
        # pyarrow calls them column_names; narwhals would refuse repeated names in its own words.
        columns = X.column_names if hasattr(X, "column_names") else X.columns
        names = tuple(str(c) for c in columns)
        repeated = sorted({c for c in names if names.count(c) > 1})
        if repeated:
            raise ValueError(f"X has more than one column named {', '.join(map(repr, repeated))}")
        return X, names
    if sp.issparse(X):
        return (X if X.format == "csr" else X.tocsr()), None
    if hasattr(X, "detach"):  # a torch tensor, told without importing torch
        X = X.detach().cpu().numpy()
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise ValueError(f"X cannot be read as an array: {error}") from error
    if array.dtype == object:
        array = _numbers_from_objects(array)
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"X must hold numbers; got dtype {array.dtype}. Put columns of text into a data frame."
        )
    if array.ndim in (3, 4) and array.dtype != np.uint8:
        raise ValueError(
            f"X of shape {array.shape} looks like images, which must be uint8 in 0..255; got "
            f"dtype {array.dtype}. Convert with (255 * X).round().astype('uint8') if it is in 0..1."
        )
    if array.ndim not in (2, 3, 4):
        raise ValueError(
            f"Expected X of shape (n, d), or images (n, H, W) or (n, H, W, C); got shape "
            f"{array.shape}. Reshape your data with X.reshape(-1, 1) if it has one feature."
        )
    if array.ndim == 4 and array.shape[3] not in (1, 3, 4):
        raise ValueError(
            f"images have their channels last, (n, H, W, C) with C = 1, 3 or 4; got {array.shape}"
        )
    return array, None


def _numbers_from_objects(array: NDArray[Any]) -> NDArray[Any]:
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"X must hold numbers; got objects that are none ({error}). "
            "Put columns of mixed types into a data frame."
        ) from error


def as_names(
    given: Sequence[str] | None, found: tuple[str, ...] | None, X: Any
) -> tuple[str, ...] | None:
    """Return the column names, given or found in a frame."""
    if found is not None:
        return found
    if given is None:
        return None
    names = tuple(str(c) for c in given)
    if len(X.shape) != 2 or len(names) != X.shape[1]:
        raise ValueError(f"feature_names has {len(names)} names for X of shape {tuple(X.shape)}")
    if len(set(names)) != len(names):
        raise ValueError("feature_names has the same name more than once")
    return names


def as_column(column: Any, name: str, n: int) -> NDArray[Any] | None:
    """Return a per-row argument as a vector of length ``n``."""
    if column is None:
        return None
    if hasattr(column, "detach"):
        column = column.detach().cpu().numpy()
    array = np.asarray(column)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name} must have one value a row; got shape {array.shape}")
    if len(array) != n:
        raise ValueError(f"{name} has {len(array)} values for {n} rows of X")
    return array


def as_mask(labelled: Any, has_labels: bool, n: int) -> NDArray[np.bool_]:
    """Return which labels are known, as a bool vector."""
    mask = as_column(labelled, "labelled", n)
    if mask is None:
        return np.full(n, has_labels)
    if mask.dtype != bool:
        raise ValueError(f"labelled must be a bool array; got dtype {mask.dtype}")
    if mask.any() and not has_labels:
        raise ValueError("labelled marks rows as labelled, but y is None")
    return mask


def as_labels(y: Any, labelled: NDArray[np.bool_], n: int) -> NDArray[Any] | None:
    """Return the labels as a vector; raise if a visible one is missing."""
    labels = as_column(y, "y", n)
    if labels is None:
        return None
    visible = labels[labelled]
    if labels.dtype.kind == "f" and not np.isfinite(visible).all():
        raise ValueError(
            f"y has {int((~np.isfinite(visible)).sum())} values that are NaN or infinite; "
            "mark missing labels with labelled=, a bool array"
        )
    if labels.dtype == object:
        missing = [v is None or (isinstance(v, float) and np.isnan(v)) for v in visible]
        if any(missing):
            raise ValueError(
                f"y has {sum(missing)} missing values; mark them with labelled=, a bool array"
            )
        if len(visible) and all(isinstance(v, str) for v in visible):
            # np.unique sorts fixed-width strings far faster than objects, and the filler
            # of hidden rows (None in a frame) must not break sorting.
            filled = labels.copy()
            filled[~labelled] = visible[0]
            return filled.astype(np.str_)
    return labels


def as_weight(weight: Any, n: int) -> NDArray[np.float64] | None:
    """Return the row weights as float64; raise unless they are finite and not negative."""
    column = as_column(weight, "weight", n)
    if column is None:
        return None
    if column.dtype.kind not in "biuf":
        raise ValueError(f"weight must hold numbers; got dtype {column.dtype}")
    values = column.astype(np.float64, copy=False)
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("weight must be finite and not negative")
    if n and values.sum() == 0:
        raise ValueError("weight is zero for every row")
    return values


def as_classes(
    classes: Any, y: NDArray[Any] | None, labelled: NDArray[np.bool_]
) -> NDArray[Any] | None:
    """Return the sorted label space; raise if ``y`` holds a label outside it."""
    if classes is None:
        return None
    known = np.unique(np.asarray(classes))
    if y is not None:
        seen = np.unique(y[labelled])
        extra = [c for c in seen.tolist() if c not in set(known.tolist())]
        if extra:
            raise ValueError(f"y holds labels that classes does not list: {extra[:5]}")
    return known


def read_torch_dataset(dataset: Any) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Read a map-style torch Dataset into arrays, one pass, without importing torch.

    Float image tensors ``(C, H, W)`` in 0..1, which is what torchvision's ``ToTensor``
    gives, become uint8 ``(H, W, C)``.
    """
    if not hasattr(dataset, "__len__"):
        raise TypeError(
            f"{type(dataset).__name__} is an iterable dataset without a length; "
            "pass a map-style Dataset or arrays"
        )
    first = dataset[0]
    paired = isinstance(first, (tuple, list))
    rows: list[NDArray[Any]] = []
    labels: list[Any] = []
    for i in range(len(dataset)):
        item = dataset[i]
        rows.append(_image_from_tensor(item[0] if paired else item))
        if paired and len(item) > 1:
            label = item[1]
            labels.append(label.item() if hasattr(label, "item") else label)
    return np.stack(rows), np.asarray(labels) if labels else None


def _image_from_tensor(value: Any) -> NDArray[Any]:
    if not hasattr(value, "detach"):
        return np.asarray(value)
    array: NDArray[Any] = value.detach().cpu().numpy()
    if array.ndim != 3:
        return array
    if array.dtype.kind == "f":
        if array.min() < 0 or array.max() > 1:
            raise ValueError(
                "the dataset gives normalised float images; leave the normalisation out "
                "(values in 0..1 or uint8), since adapters normalise images themselves"
            )
        array = np.round(255 * array).astype(np.uint8)
    image = np.moveaxis(array, 0, -1)
    return image[..., 0] if image.shape[-1] == 1 else image
