"""Labelled rows of source and target in one domain, for methods that train on both."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.domain import Domain
from shiftlab.validation import check_values

__all__ = ["balanced_start", "checked_rows", "pool", "row_weights"]


def checked_rows(source: Domain, target: Domain, estimator: Any, who: str) -> Domain:
    """Return the labelled source rows that count, after checks on both sides.

    Parameters
    ----------
    source, target : Domain
        As they came; rows of weight zero and rows without a label are left out.
    estimator : estimator
        What will be trained, for whether NaN is allowed.
    who : str
        The adapter, for messages.

    Returns
    -------
    Domain
        Never empty.

    Raises
    ------
    ValueError
        For NaN, infinity, or labels of two kinds (text on one side, numbers on the other).
    """
    for domain in (source, target):
        check_values(domain, estimator, who)
    if source.y is not None and target.y is not None:
        kinds = [
            "text" if domain.y.dtype.kind in "US" else "numbers" for domain in (source, target)
        ]
        is_object = any(domain.y.dtype == object for domain in (source, target))
        if kinds[0] != kinds[1] and not is_object:
            raise ValueError(
                f"{who}: labels of the source are {kinds[0]} and those of the target {kinds[1]}; "
                "write both in one way, or give a LabelMapping"
            )
    return _counting(source)


def pool(source: Domain, target: Domain, who: str) -> tuple[Domain, NDArray[np.bool_]]:
    """Stack the labelled rows of both sides that have weight.

    Parameters
    ----------
    source : Domain
        From `checked_rows`.
    target : Domain
        With some labels.
    who : str
        The adapter, for the message.

    Returns
    -------
    Domain
        Source rows first.
    bool ndarray of shape (n,)
        Which rows are the target's.

    Raises
    ------
    ValueError
        If no labelled row of the target has weight.
    """
    if target.weight is not None and not target.weight[target.labelled].any():
        raise ValueError(f"{who}: every labelled target row has weight zero")
    known = _counting(target)
    if not known.is_frame:
        known = known.with_(feature_names=source.feature_names)
    both = Domain.concat([source, known])
    return both, np.arange(both.n_rows) >= source.n_rows


def row_weights(domain: Domain) -> NDArray[np.float64]:
    """Return the row weights, ones where there are none."""
    return np.ones(domain.n_rows) if domain.weight is None else domain.weight.copy()


def balanced_start(both: Domain, is_target: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return row weights of mean one of which source and target have half each.

    With equal weights for all rows, few target rows have no say against a large source that
    disagrees.
    """
    weight = row_weights(both)
    for side in (is_target, ~is_target):
        weight[side] *= 0.5 * len(weight) / weight[side].sum()
    return weight


def _counting(domain: Domain) -> Domain:
    rows = domain.labelled_part()
    if rows.weight is None or rows.weight.all():
        return rows
    return rows.take(rows.weight > 0)
