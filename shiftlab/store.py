"""The results store: one JSON line a finished cell, safe against a kill at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["ResultsStore", "StoreError"]


class StoreError(ValueError):
    """A results file holds something that is no result."""


class ResultsStore:
    """An append-only file of results, one JSON object a line.

    A line is written by a single ``write`` on a descriptor opened with ``O_APPEND`` and
    flushed to the disk before :meth:`append` returns, so a finished cell is either wholly
    there or, when the machine stopped in the middle of the write, a torn last line.
    :meth:`repair` drops a torn last line; the cell it belonged to is then not finished and
    is run again.

    Parameters
    ----------
    path : str or path-like
        The file; its folder is made when the first line is written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from shiftlab.store import ResultsStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = ResultsStore(Path(folder) / "results.jsonl")
    ...     store.append({"key": "a", "accuracy": 0.5})
    ...     [row["accuracy"] for row in store.rows()]
    [0.5]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one result; it is on the disk when this returns.

        Parameters
        ----------
        row : mapping
            What JSON can hold, with a ``key`` that names the cell.

        Raises
        ------
        OSError
            If the disk is full; what was written of the line is then a torn last line.
        """
        line = (json.dumps(dict(row), sort_keys=True, allow_nan=False) + "\n").encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            written = os.write(descriptor, line)
            if written != len(line):
                raise OSError(f"{self.path}: only {written} of {len(line)} bytes were written")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def repair(self) -> bool:
        """Drop a torn last line, or end a whole one that lacks only its line break.

        Returns
        -------
        bool
            Whether a torn line was dropped.
        """
        if not self.path.is_file():
            return False
        with self.path.open("r+b") as file:
            content = file.read()
            if not content or content.endswith(b"\n"):
                return False
            start = content.rfind(b"\n") + 1
            whole = _parse(content[start:]) is not None
            if whole:
                file.write(b"\n")
            else:
                file.truncate(start)
            file.flush()
            os.fsync(file.fileno())
        return not whole

    def rows(self) -> list[dict[str, Any]]:
        """Read all finished cells; a torn last line is left out.

        Returns
        -------
        list of dict
            In the order of writing, each key once: its first result, or its last error as
            long as it has no result.

        Raises
        ------
        StoreError
            If a line before the last is no result: something else wrote to the file.
        """
        if not self.path.is_file():
            return []
        found: dict[str, dict[str, Any]] = {}
        lines = self.path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            row = _parse(line)
            if row is not None:
                key = str(row["key"])
                if key not in found or "error" in found[key]:
                    found[key] = row
            elif line.strip() and number < len(lines):
                raise StoreError(
                    f"{self.path}, line {number}: not a result; delete that line or start "
                    "with another folder"
                )
        return list(found.values())


def _parse(line: bytes) -> dict[str, Any] | None:
    # A JSON object that was cut short lacks its closing brace, so it never parses.
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "key" in row else None
