"""What commands write: files beside, JSON on standard output, notes on standard error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from shiftlab.files import write_atomically

__all__ = ["STDOUT", "check_outputs", "write_json", "wrote"]

STDOUT = Path("-")


def check_outputs(outputs: tuple[Path | None, ...], inputs: tuple[Path, ...]) -> None:
    """Refuse, before any work, to write over an input or into a folder's place.

    Parameters
    ----------
    outputs : tuple of Path or None
        Files to write; None and ``-`` (standard output) are fine.
    inputs : tuple of Path
        Files that are read.

    Raises
    ------
    ValueError
        Naming the file.
    """
    for path in outputs:
        if path is None or path == STDOUT:
            continue
        if path.is_dir():
            raise ValueError(f"{path} is a folder; name a file to write")
        if path.resolve() in {p.resolve() for p in inputs}:
            raise ValueError(f"{path} is an input; writing there would overwrite it")


def write_json(value: Any, path: Path) -> None:
    """Write a value as JSON to a file, or to standard output where the path is ``-``.

    Parameters
    ----------
    value : object
        Plain values without NaN.
    path : Path
        File, or ``-``.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    if path == STDOUT:
        typer.echo(text)
    else:
        wrote(write_atomically(path, text + "\n"))


def wrote(path: Path) -> None:
    """Say on standard error which file was written."""
    typer.echo(f"wrote {path}", err=True)
