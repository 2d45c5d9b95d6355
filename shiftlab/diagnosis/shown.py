"""What every result of the diagnosis can do: be printed, be written as JSON and as a page."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Shown"]

PathLike = str | os.PathLike[str]


class Shown:
    """Ways to show a result; a subclass gives ``to_dict``, ``to_html_fragment`` and ``_page``."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        raise NotImplementedError

    def to_html_fragment(self) -> str:
        """Make the inner part of the page."""
        raise NotImplementedError

    def _page(self) -> str:
        raise NotImplementedError

    @overload
    def to_json(self, path: None = None) -> str: ...

    @overload
    def to_json(self, path: PathLike) -> Path: ...

    def to_json(self, path: PathLike | None = None) -> str | Path:
        """Make JSON of everything that ``to_dict()`` holds.

        Parameters
        ----------
        path : str, PathLike or None, default=None
            Where to write it as UTF-8 (all at once or not at all); None returns it.

        Returns
        -------
        str or Path
            The text, or the full path of the file.
        """
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        # half a surrogate pair in a name has no UTF-8; its JSON escape is the same string
        return _written(text.encode("utf-8", "backslashreplace").decode(), path)

    @overload
    def to_html(self, path: None = None) -> str: ...

    @overload
    def to_html(self, path: PathLike) -> Path: ...

    def to_html(self, path: PathLike | None = None) -> str | Path:
        """Make a self-contained page: no scripts, nothing loaded from elsewhere.

        Parameters
        ----------
        path : str, PathLike or None, default=None
            Where to write it (all at once or not at all); None returns it.

        Returns
        -------
        str or Path
            The page, or the full path of the file.
        """
        return _written(self._page(), path)

    def show(self, console: Console | None = None) -> None:
        """Print it in the terminal.

        Parameters
        ----------
        console : rich.console.Console or None, default=None
            Where to print; None is standard output.
        """
        from rich.console import Console as MakeConsole

        (console or MakeConsole()).print(self)

    def _repr_html_(self) -> str:
        return self.to_html_fragment()


def _written(text: str, path: PathLike | None) -> str | Path:
    if path is None:
        return text
    from shiftlab.files import write_atomically

    return write_atomically(path, text)
