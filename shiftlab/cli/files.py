"""Read tables from CSV, Parquet and NPZ files, with errors that name the file."""

from __future__ import annotations

import csv
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.domain import Domain
from shiftlab.experiments.names import did_you_mean

__all__ = ["FORMATS", "read_domain"]

FORMATS = (".csv", ".parquet", ".npz")
INSTALL = "install one with: pip install 'shiftlab[frames]'"


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
    if frame is None:
        columns, cells = _read_cells(path)
    else:
        columns = [str(c) for c in frame.columns]
    if (len(cells) if frame is None else len(frame)) == 0:
        raise ValueError(f"{path}: the table has no rows")
    if label is None and label_required:
        raise ValueError(
            f"{path}: say which column holds the labels with --label; "
            f"the columns are {', '.join(columns)}"
        )
    if label is not None and label not in columns:
        if label_required:
            raise ValueError(f"{path}: no column {label!r}; {did_you_mean(label, columns)}")
        label = None
    if frame is None:
        return _domain_of_cells(path, columns, cells, label)
    return Domain.of(frame, label=label, name=path.stem)


def _read_frame(path: Path, ending: str) -> Any:
    """Read a data frame, or return None for a CSV file where no library for frames is there."""
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
    if ending == ".csv":
        return None
    raise ImportError(f"{path}: {ending[1:]} needs pandas or polars; {INSTALL}")


def _read_cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """Read the header and the rows of a CSV file."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as csv: {error}") from error
    if not lines:
        raise ValueError(f"{path}: cannot be read as csv: the file is empty")
    header, cells = lines[0], lines[1:]
    for number, line in enumerate(cells, start=2):
        if len(line) != len(header):
            raise ValueError(
                f"{path}: line {number} has {len(line)} cells, the header has {len(header)}"
            )
    return header, cells


def _domain_of_cells(
    path: Path, columns: list[str], cells: list[list[str]], label: str | None
) -> Domain:
    """Make a domain of numbers; only the label may be text."""
    known, y = None, None
    if label is not None:
        given = [line[columns.index(label)] for line in cells]
        known = np.array([value != "" for value in given])
        y = _numbers([value or given[int(known.argmax())] for value in given])
    names = [c for c in columns if c != label]
    values = [_numbers([line[columns.index(c)] or "nan" for line in cells]) for c in names]
    text = [c for c, v in zip(names, values, strict=True) if v.dtype.kind not in "if"]
    if text:
        raise ImportError(
            f"{path}: columns of text ({', '.join(text[:5])}) need pandas or polars; {INSTALL}"
        )
    X = np.column_stack(values) if values else np.empty((len(cells), 0))
    if known is not None and not known.any():
        known, y = None, None
    return Domain(X, y, labelled=known, name=path.stem, feature_names=names)


def _numbers(values: list[str]) -> NDArray[Any]:
    """Return integers, floats, or the text as it is, whichever fits first."""
    for kind in (np.int64, np.float64):
        try:
            return np.array(values).astype(kind)
        except (ValueError, OverflowError):
            continue
    return np.array(values)


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
