"""Write a file so that no reader ever sees half of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

__all__ = ["write_atomically"]


def write_atomically(
    path: str | os.PathLike[str], content: str | bytes | Callable[[IO[bytes]], object]
) -> Path:
    """Write a file beside its place and move it there.

    Parameters
    ----------
    path : path
        The file; its folder is made when missing.
    content : str, bytes or callable
        Text is written as UTF-8; a callable gets the open binary file and writes to it.

    Returns
    -------
    Path
        The full path.

    Raises
    ------
    OSError
        If the folder cannot be written to; an older file is then as it was.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder) / "new" / "a", "whole").read_text()
    'whole'
    """
    path = Path(path).expanduser().resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    # The permissions that an ordinary new file would have.
    mask = os.umask(0)
    os.umask(mask)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
