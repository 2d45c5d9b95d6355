"""Read tables from CSV, Parquet and NPZ files, with errors that name the file."""

from __future__ import annotations

import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from shiftlab.domain import Domain
from shiftlab.experiments.names import did_you_mean

__all__ = ["FORMATS", "read_domain"]

FORMATS = (".csv", ".parquet", ".npz")


def read_domain(path: Path, label: str | None, *, label_required: bool) -> Domain:
    """Read a domain from a file; the ending of its name says which format it is.

    Parameters
    ----------
    path : Path
        ``.csv``, ``.parquet``, or ``.npz`` with arrays ``X`` and, where known, ``y``.
    label : str or None
        Column of the labels. For NPZ the labels are always ``y``.
    label_required : bool
        Whether a file without labels is an error.

    Returns
    -------
    Domain
        Named for the file.

    Raises
    ------
    ValueError
        If the file is in none of the formats, is damaged, or lacks the labels.
    FileNotFoundError
        If there is no such file.
    """
    if not path.is_file():
        kind = "is a folder, not a file" if path.is_dir() else "there is no such file"
        raise FileNotFoundError(f"{path}: {kind}")
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise ValueError(f"{path}: cannot read {ending or 'this'}; use {', '.join(FORMATS)}")
    if ending == ".npz":
        return _read_npz(path, label, label_required)
    frame = _read_frame(path, ending)
    if len(frame) == 0:
        raise ValueError(f"{path}: the table has no rows")
    columns = [str(c) for c in frame.columns]
    if label is None:
        if label_required:
            raise ValueError(
                f"{path}: say which column holds the labels with --label; "
                f"the columns are {', '.join(columns)}"
            )
        return Domain.of(frame, name=path.stem)
    if label not in columns:
        if label_required:
            raise ValueError(f"{path}: no column {label!r}; {did_you_mean(label, columns)}")
        return Domain.of(frame, name=path.stem)
    return Domain.of(frame, label=label, name=path.stem)


def _read_frame(path: Path, ending: str) -> Any:
    reader = "read_csv" if ending == ".csv" else "read_parquet"
    for library in ("pandas", "polars"):
        try:
            module = import_module(library)
        except ImportError:
            continue
        try:
            return getattr(module, reader)(path)
        except ImportError as error:  # pandas without pyarrow
            raise ImportError(f"{path}: {error}") from error
        except Exception as error:
            # Each library has errors of its own for a file that it cannot make sense of.
            raise ValueError(f"{path}: cannot be read as {ending[1:]}: {error}") from error
    raise ImportError(
        f"{path}: tables need pandas or polars; install them with: pip install 'shiftlab[frames]'"
    )


def _read_npz(path: Path, label: str | None, label_required: bool) -> Domain:
    if label not in (None, "y"):
        raise ValueError(f"{path}: an NPZ file holds its labels as y, not as {label!r}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files if key in ("X", "y")}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: cannot be read as npz: {error}") from error
    if "X" not in arrays:
        raise ValueError(f"{path}: no array X; an NPZ file holds X and, where known, y")
    if "y" not in arrays and label_required:
        raise ValueError(f"{path}: no array y with the labels")
    try:
        return Domain(arrays["X"], arrays.get("y"), name=path.stem)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
