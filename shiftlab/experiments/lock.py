"""Keep two runs from writing to one folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shiftlab.experiments.grid import GridError

__all__ = ["folder_lock"]


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the folder for one process; the system lets go of it when the process ends.

    Parameters
    ----------
    folder : Path
        An existing folder; a file ``.lock`` is made in it. Where the system has no advisory
        locks (Windows) nothing is held.

    Raises
    ------
    GridError
        If another process holds it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / ".lock").open("a", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise GridError(
                f"another run is writing to {folder}; wait for it or choose another folder"
            ) from error
        yield
