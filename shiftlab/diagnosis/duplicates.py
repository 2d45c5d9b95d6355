"""Rows that both samples hold: the tests take the samples for independent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable

from scipy.stats import binom

__all__ = ["shared_rows_note"]

CHANCE = 0.001


def shared_rows_note(rows: tuple[Iterable[Hashable], Iterable[Hashable]]) -> str:
    r"""Say that the two samples share rows, if more are equal than chance explains.

    Only rows that occur exactly twice in the two samples together are looked at. If the samples
    are independent, such a pair has one row on each side with probability
    :math:`2ab/(a+b)^2 \le 1/2`, whatever the two distributions are (:math:`a`, :math:`b` are the
    expected numbers of that row in source and target). So the number of pairs across the sides
    is compared with a fair coin: values that repeat by their nature, such as few categories,
    raise no alarm at any shift. O(n).

    Parameters
    ----------
    rows : tuple of two iterables of hashable
        Rows of source and target.

    Returns
    -------
    str
        A note, empty if there is nothing to say.

    Examples
    --------
    >>> shared_rows_note((range(100), range(80, 180)))[:52]
    'About 20 rows are in the source as well as in the ta'
    >>> shared_rows_note((range(100), range(100, 200)))
    ''
    """
    source, target = (Counter(side) for side in rows)
    across = sum(1 for row, n in source.items() if n == 1 and target[row] == 1)
    within = sum(1 for row, n in source.items() if n == 2 and row not in target)
    within += sum(1 for row, n in target.items() if n == 2 and row not in source)
    if binom.sf(across - 1, across + within, 0.5) >= CHANCE:
        return ""
    return (
        f"About {across - within:,} rows are in the source as well as in the target. The tests "
        "take the two samples for independent: with shared rows they find too little. Leave the "
        "copies out of one side."
    )
