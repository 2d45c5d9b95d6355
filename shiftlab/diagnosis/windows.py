"""Cut one sample into windows of equal counts along an ordered column."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from itertools import pairwise

import narwhals.stable.v1 as nw
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from shiftlab.diagnosis.columns import Family, column_names, column_values
from shiftlab.domain import Domain

__all__ = ["FEWEST_IN_WINDOW", "Window", "cut_windows", "without_column"]

Floats = NDArray[np.float64]

FEWEST_IN_WINDOW = 30
COMFORTABLE = 100  # rows that a window gets at least when its number is not given
USUAL = 10
IN_STEP = 0.99  # rank correlation at which a column says when, and not what


@dataclass(frozen=True)
class Window:
    """Rows next to each other along an ordered column.

    Parameters
    ----------
    name : str
        ``window 1``, ``window 2``, ...
    start, end : float or str
        Smallest and largest value of the column inside; times as ISO 8601 text.
    n_rows : int
        Rows inside.
    """

    name: str
    start: float | str
    end: float | str
    n_rows: int

    @property
    def span(self) -> str:
        """Start and end in words; of times on different days only the days."""
        first, last = (v if isinstance(v, str) else f"{v:.6g}" for v in (self.start, self.end))
        if isinstance(self.start, str) and first[:10] != last[:10]:
            first, last = first[:10], last[:10]
        return first if first == last else f"{first} to {last}"


def cut_windows(
    domain: Domain, by: str, n_windows: int | None
) -> tuple[list[tuple[Window, Domain]], list[str]]:
    """Cut a sample into windows of equal counts, without the column that orders it.

    Rows with equal values stay together: each cut is moved to the nearest place between two
    different values. Where that makes cuts coincide there are fewer windows. O(n log n).

    Parameters
    ----------
    domain : Domain
        The rows.
    by : str
        Column of numbers, dates, times, or text such as ``2024-01-31``.
    n_windows : int or None
        How many; None makes up to 10 of at least 100 rows, and two where there are fewer.

    Returns
    -------
    tuple of (windows, notes)
        Each window with its rows, in order; what was left out or looks odd.

    Raises
    ------
    ValueError
        If there is no such column, it has no order, or a window would have fewer than 30 rows.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import Domain
    >>> day, x = np.repeat([1, 2, 3, 4], 30), np.arange(120)
    >>> sample = Domain(np.column_stack([day, x]), feature_names=["day", "x"])
    >>> [(w.span, w.n_rows, d.feature_names) for w, d in cut_windows(sample, "day", 2)[0]]
    [('1 to 2', 60, ('x',)), ('3 to 4', 60, ('x',))]
    """
    values, family = _ordered(domain, by)
    present = np.flatnonzero(~np.isnan(values))
    order = present[np.argsort(values[present], kind="stable")]
    notes: list[str] = []
    if order.size < domain.n_rows:
        left = domain.n_rows - order.size
        notes.append(f"Left out: {left:,} rows without a value of '{by}'.")
    wanted = n_windows
    if wanted is None:
        wanted = max(2, min(USUAL, order.size // COMFORTABLE))
    if order.size < wanted * FEWEST_IN_WINDOW:
        raise ValueError(
            f"{wanted} windows need at least {wanted * FEWEST_IN_WINDOW} rows with a value of "
            f"'{by}' ({FEWEST_IN_WINDOW} each); there are {order.size}"
        )
    bounds = _bounds(values[order], wanted)
    sizes = np.diff(bounds)
    if sizes.size < 2:
        raise ValueError(f"by='{by}' has the same value in so many rows that it makes one window")
    if sizes.size < wanted:
        notes.append(
            f"{sizes.size} windows instead of {wanted}: rows with the same '{by}' stay together."
        )
    if sizes.min() < FEWEST_IN_WINDOW:
        raise ValueError(
            f"a window of by='{by}' would have {sizes.min()} rows, and needs {FEWEST_IN_WINDOW}; "
            f"ask for fewer than n_windows={wanted}"
        )
    whole_days = bool((values[order] % 86_400 == 0).all())
    rest = without_column(domain, by)
    in_step = _in_step(rest, values)
    if in_step:
        listed = ", ".join(f"'{name}'" for name in in_step)
        notes.append(
            f"Nearly in the order of '{by}', so every window differs there: {listed}. Leave such "
            "columns out if they say when a row was made and not what is in it."
        )
    windows = []
    for i, (start, stop) in enumerate(pairwise(bounds), 1):
        rows = order[start:stop]
        first, last = (_in_words(float(values[row]), family, whole_days) for row in rows[[0, -1]])
        window = Window(f"window {i}", first, last, int(rows.size))
        # the rows keep their own order, in which no test is interested
        windows.append((window, rest.take(np.sort(rows)).with_(name=window.name)))
    return windows, notes


def without_column(domain: Domain, name: str) -> Domain:
    """Return the sample without one column, or as it is where it has no such column.

    Parameters
    ----------
    domain : Domain
        Rows with named columns.
    name : str
        The column.

    Returns
    -------
    Domain

    Raises
    ------
    ValueError
        If no other column is left.
    """
    names = column_names(domain)
    if name not in names:
        return domain
    if len(names) == 1:
        raise ValueError(f"by='{name}' is the only column, so there is nothing to compare")
    keep = [i for i, other in enumerate(names) if other != name]
    if domain.is_frame:
        table = nw.from_native(domain.X, eager_only=True)
        X = nw.to_native(table.select([table.columns[i] for i in keep]))
        return domain.with_(X=X)
    return replace(domain, X=domain.X[:, keep], feature_names=[names[i] for i in keep])


def _ordered(domain: Domain, by: str) -> tuple[Floats, Family]:
    """Read the column as numbers, NaN where missing."""
    if domain.is_image:
        raise ValueError(f"by='{by}' names a column, and the sample holds images")
    names = column_names(domain)
    if by not in names:
        shown = ", ".join(repr(n) for n in names[:10]) + (", ..." if len(names) > 10 else "")
        raise ValueError(f"by={by!r} is not a column; the columns are {shown}")
    values, family = column_values(domain, names.index(by))
    if family == "text":
        values, family = _dates(values, by), "time"
    if family == "nested":
        raise ValueError(f"by='{by}' holds nested values, which have no order")
    return np.where(np.isinf(values), np.nan, values), family


def _dates(texts: list[str | None], by: str) -> Floats:
    seconds = np.full(len(texts), np.nan)
    for i, text in enumerate(texts):
        if text is None:
            continue
        try:
            moment = datetime.datetime.fromisoformat(text.strip())
        except ValueError:
            raise ValueError(
                f"by='{by}' must hold numbers, dates or times; {text!r} is text that is not "
                "written like 2024-01-31 or 2024-01-31 18:30"
            ) from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        seconds[i] = moment.timestamp()
    return seconds


def _bounds(values: Floats, n_windows: int) -> NDArray[np.intp]:
    """Positions of the cuts in sorted values: the nearest to equal counts that split no tie."""
    between = np.flatnonzero(np.diff(values) > 0) + 1
    if between.size == 0:
        return np.array([0, values.size])
    ideal = np.arange(1, n_windows) * values.size / n_windows
    nearest = between[np.abs(between[None, :] - ideal[:, None]).argmin(axis=1)]
    return np.unique(np.concatenate([[0], nearest, [values.size]]))


def _in_words(value: float, family: Family, whole_days: bool) -> float | str:
    if family != "time":
        return value
    moment = datetime.datetime.fromtimestamp(value, datetime.UTC)
    return moment.strftime("%Y-%m-%d" if whole_days else "%Y-%m-%d %H:%M:%S")


def _in_step(domain: Domain, values: Floats) -> list[str]:
    """Name the columns of numbers or times whose order is nearly that of the windows."""
    if domain.is_sparse:
        return []
    found = []
    for i, name in enumerate(column_names(domain)):
        try:
            other, family = column_values(domain, i)
        except (TypeError, ValueError, OverflowError):
            continue  # the diagnosis says what is wrong with it
        if family not in ("number", "time"):
            continue
        both = ~(np.isnan(other) | np.isnan(values))
        if both.sum() < 3 or np.ptp(other[both]) == 0:
            continue
        if abs(spearmanr(other[both], values[both]).statistic) >= IN_STEP:
            found.append(name)
    return found
