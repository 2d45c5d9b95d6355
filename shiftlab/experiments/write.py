"""Write a file so that no reader ever sees half of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(path: Path, content: str | bytes) -> Path:
    """Write a file beside its place and move it there.

    Parameters
    ----------
    path : Path
        The file; its folder is made when missing.
    content : str or bytes
        Text is written as UTF-8.

    Returns
    -------
    Path
        The full path.

    Raises
    ------
    OSError
        If the folder cannot be written to; an older file is then as it was.
    """
    path = path.expanduser().resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    # The permissions that an ordinary new file would have.
    mask = os.umask(0)
    os.umask(mask)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
