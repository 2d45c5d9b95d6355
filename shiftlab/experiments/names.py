"""Say which names there are when one is misspelt."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the close matches of a name, or all names where none is close.

    Parameters
    ----------
    name : str
        What was asked for.
    known : iterable of str
        What there is.

    Returns
    -------
    str
        The end of an error message.

    Examples
    --------
    >>> from shiftlab.experiments.names import did_you_mean
    >>> did_you_mean("corral", ["coral", "finetune"])
    'did you mean coral?'
    >>> did_you_mean("xyz", ["coral", "finetune"])
    'there are coral, finetune'
    """
    names = list(known)
    by_lower = {n.lower(): n for n in names}
    close = [by_lower[n] for n in difflib.get_close_matches(name.lower(), by_lower, n=3)]
    return f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names)}"
