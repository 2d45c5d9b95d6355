"""Build data frames of the kind that a user gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals.stable.v1 as nw
from numpy.typing import NDArray

__all__ = ["frame_like"]


def frame_like(frame: Any, matrix: NDArray[Any], names: Sequence[str] | None = None) -> Any:
    """Return a matrix as a data frame of the library of another, with its columns or new ones.

    Parameters
    ----------
    frame : data frame
        pandas, polars or another that narwhals knows; only its columns are read.
    matrix : ndarray of shape (n, d)
        One column for each name.
    names : sequence of str, default=None
        Names of the columns; None takes those of ``frame``.

    Returns
    -------
    data frame
        With the dtype of ``matrix``.
    """
    table = nw.from_native(frame, eager_only=True)
    columns = {c: matrix[:, j] for j, c in enumerate(names or table.columns)}
    return nw.to_native(nw.from_dict(columns, backend=table.implementation))
