"""Columns that the target has under another name and in another unit."""

from __future__ import annotations

import warnings
from typing import NamedTuple

from shiftlab.domain import Domain

__all__ = ["SameColumn", "same_columns"]

MOST_COLUMNS = 200  # above, matching by content takes longer than all other questions


class SameColumn(NamedTuple):
    """A column of both sides: names, probability, and target = factor x source + offset."""

    source: str
    target: str
    probability: float
    factor: float
    offset: float
    unit: str


def same_columns(source: Domain, target: Domain) -> list[SameColumn]:
    """Match columns by what they hold, as `shiftlab.SchemaAlignment` does.

    Parameters
    ----------
    source, target : Domain
        Two frames, or two arrays.

    Returns
    -------
    list of SameColumn
        Pairs that the adapter is sure of by its own measure and whose distributions agree, after
        a known change of unit if need be. Pairs of which the target has copies are left out.
    """
    from shiftlab.feature_space.schema_alignment import SchemaAlignment

    plain = not any(d.is_image or d.is_sparse for d in (source, target))
    if not plain or max(source.n_features, target.n_features) > MOST_COLUMNS:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)
        try:
            report = SchemaAlignment(missing="drop").fit(source, target).report_
        except ValueError:  # nothing is sure
            return []
    copied = {r.how for r in report if r.target is not None and r.how.startswith("copy of")}
    return [
        SameColumn(r.source, r.target, r.score, 1 / r.factor, -r.offset / r.factor, r.unit)
        for r in report
        if r.source is not None
        and r.target is not None
        and not r.note.startswith(("distributions differ", "unit open", "new categories"))
        and not any(how.startswith(f"copy of {r.target!r}") for how in copied)
    ]
