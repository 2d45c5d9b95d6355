"""Rows that occur twice: the tests take rows and samples for independent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable

from scipy.stats import binom

__all__ = ["repeated_rows_notes", "shared_rows_note"]

CHANCE = 0.001
FEWEST_COPIES, COPIES_SHARE = 5, 0.01
VARIED = 0.2  # distinct rows over rows, below which rows repeat by their nature
OFTENER = 10.0


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


def repeated_rows_notes(rows: tuple[Iterable[Hashable], Iterable[Hashable]]) -> list[str]:
    """Say that a side holds copies of its own rows, as after resampling or a bad join.

    Values that repeat by their nature repeat across the sides as well, or leave few distinct
    rows. So copies are named where at least 5 rows and 1% of a side are copies, a fifth of its
    rows or more are distinct, and a pair of rows of that side is equal ten times as often as a
    pair across the sides. A shift so large that values which repeat by nature have nothing in
    common on the two sides may be taken for copies; it is a note and decides nothing. O(n).

    Parameters
    ----------
    rows : tuple of two iterables of hashable
        Rows of source and target.

    Returns
    -------
    list of str
        Notes.

    Examples
    --------
    >>> repeated_rows_notes(([*range(100), *range(40)], range(100, 200)))[0][:44]
    '40 of the 140 source rows are copies of othe'
    >>> repeated_rows_notes(([1, 2, 3] * 50, [1, 2, 3] * 50))
    []
    """
    counts = [Counter(side) for side in rows]
    sizes = [sum(c.values()) for c in counts]
    across = sum(n * counts[1][row] for row, n in counts[0].items())
    rate_across = across / max(1, sizes[0] * sizes[1])
    notes = []
    for role, count, n in zip(("source", "target"), counts, sizes, strict=True):
        copies = n - len(count)
        if copies < max(FEWEST_COPIES, COPIES_SHARE * n) or len(count) < VARIED * n:
            continue
        rate = sum(c * (c - 1) for c in count.values()) / (n * (n - 1))
        if rate > OFTENER * rate_across:
            notes.append(
                f"{copies:,} of the {n:,} {role} rows are copies of others. The tests take rows "
                "for independent: with copies they find too much. Leave them out."
            )
    return notes
