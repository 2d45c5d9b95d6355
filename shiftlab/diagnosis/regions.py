"""Where in X rows moved to and from, as short rules that were tested on other rows."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact, norm
from sklearn.tree import DecisionTreeClassifier

from shiftlab.diagnosis.columns import Column
from shiftlab.diagnosis.explanation import Interval, Region
from shiftlab.stats.multiple import benjamini_hochberg

__all__ = ["date_text", "find_regions", "level_text"]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

DEPTH = 3
FEWEST_ROWS = 20  # of a side in a half, below which no region is looked for
FEWEST_IN_LEAF = 10
ROUNDED_AWAY = 0.01  # of the rows at a split may change side for a cut with fewer digits
SMALLEST_LEAF = 0.03  # of the rows, both sides counting the same
WORTH_A_SPLIT = 10.0  # chi-square that a split must be worth on the rows it was learnt on
LEVELS = 20
LONGEST_LEVEL = 40
MISSING = -1


def find_regions(
    columns: list[Column],
    learn: tuple[Rows, Rows],
    test: tuple[Rows, Rows],
    alpha: float,
    seed: int,
) -> tuple[Region, ...]:
    r"""Find rules inside which the two domains have different shares of their rows.

    A classification tree of depth 3 (at most 8 leaves, each with 3% of the balanced rows or
    more) learns to tell target from source on the ``learn`` rows, both sides counting the
    same. Branches worth less than a chi-square of 10 per leaf are cut back. The
    leaves are then fixed, and on the ``test`` rows, which shaped nothing, each leaf has

    .. math:: \mathrm{ratio} = \frac{a / n_T}{b / n_S}

    for its :math:`a` target rows and :math:`b` source rows, Fisher's exact two-sided test of
    equal shares, and Benjamini-Hochberg over the leaves. This budget is separate from the
    verdict's. The interval of the ratio is log-normal with half a row added everywhere
    (Walter),

    .. math:: \log\frac{(a + .5)(n_S + .5)}{(b + .5)(n_T + .5)} \pm 1.96\sqrt{
              \frac1{a + .5} - \frac1{n_T + .5} + \frac1{b + .5} - \frac1{n_S + .5}},

    opened to 0 or infinity where a side has no row; it counts one leaf at a time.

    Cuts of numbers have the fewest digits that move at most 1% of the ``learn`` rows at that
    split to the other side; the rounded rule is what is tested. Infinite values count as
    missing. Missing numbers go with the lower side of a cut unless they are split off; a rule
    says so where it holds for them. Texts are compared by the 20 levels that are most frequent
    on average of both sides. O(d n log n).

    Parameters
    ----------
    columns : list of Column
        Columns of both sides.
    learn, test : tuple of (source rows, target rows)
        Positions of the rows; no row may be in both.
    alpha : float
        Level of the false discovery rate.
    seed : int
        Settles ties between equally good splits.

    Returns
    -------
    tuple of Region
        All leaves: those that differ first, in each group by the leaf's part of Jeffreys'
        divergence, ``(target_share - source_share) log(ratio)``, the largest first: it counts
        how many rows moved and by which factor. Empty where the tree found nothing worth a
        split or a half has fewer than 20 rows of a side.

    References
    ----------
    S. Walter, "The distribution of Levin's measure of attributable risk", Biometrika 1975.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.diagnosis.columns import Column
    >>> rng = np.random.default_rng(0)
    >>> age = Column("age", "number", rng.uniform(20, 60, 800), rng.uniform(20, 80, 800))
    >>> halves = np.arange(400), np.arange(400, 800)
    >>> found = find_regions([age], (halves[0],) * 2, (halves[1],) * 2, alpha=0.05, seed=0)
    >>> found[0].rule, found[0].source_share, found[0].status
    ('age > 60', 0.0, 'differs')
    """
    sizes = [rows.size for rows in (*learn, *test)]
    readers = [_reader(column) for column in columns]
    if min(sizes) < FEWEST_ROWS or not readers:
        return ()
    leaves = _grow(readers, learn, seed)
    if len(leaves) < 2:
        return ()
    regions = []
    for conditions in leaves:
        counts = [
            int(np.all([c.holds(side, rows) for c in conditions], axis=0).sum())
            for side, rows in zip((0, 1), test, strict=True)
        ]
        rule = _joined([c.text() for c in conditions])
        regions.append(_compared(rule, counts[0], counts[1], test[0].size, test[1].size))
    adjusted = benjamini_hochberg([region.p_adjusted for region in regions])
    decided = [
        replace(r, p_adjusted=float(p), status="differs" if p <= alpha else "no_evidence")
        for r, p in zip(regions, adjusted, strict=True)
    ]
    return tuple(
        sorted(
            decided,
            key=lambda r: (r.status != "differs", -_moved(r, test[0].size, test[1].size)),
        )
    )


def _moved(region: Region, n_source: int, n_target: int) -> float:
    """Jeffreys' divergence of one leaf, with half a row added to both sides."""
    s, t = region.source_share + 0.5 / n_source, region.target_share + 0.5 / n_target
    return (t - s) * math.log(t / s)


def _compared(rule: str, b: int, a: int, n_source: int, n_target: int) -> Region:
    """Shares, ratio, interval and raw p-value of one leaf."""
    table = [[a, n_target - a], [b, n_source - b]]
    source_share, target_share = b / n_source, a / n_target
    if a == b == 0:
        ratio = 1.0
    else:
        ratio = math.inf if b == 0 else target_share / source_share
    return Region(
        rule=rule,
        source_share=source_share,
        target_share=target_share,
        ratio=ratio,
        interval=_ratio_interval(a, b, n_source, n_target),
        p_adjusted=float(fisher_exact(table).pvalue),
        status="no_evidence",
    )


def _ratio_interval(a: int, b: int, n_source: int, n_target: int) -> Interval:
    """Walter's log-normal interval of ``(a / n_target) / (b / n_source)``."""
    centre = math.log((a + 0.5) * (n_source + 0.5) / ((b + 0.5) * (n_target + 0.5)))
    variance = 1 / (a + 0.5) - 1 / (n_target + 0.5) + 1 / (b + 0.5) - 1 / (n_source + 0.5)
    half_width = float(norm.ppf(0.975)) * math.sqrt(max(0.0, variance))
    low = 0.0 if a == 0 else math.exp(centre - half_width)
    high = math.inf if b == 0 else math.exp(centre + half_width)
    return low, high


@dataclass(frozen=True)
class _Numbers:
    """The numbers of a column between two cuts, with or without the missing ones.

    Numbers are above ``low`` and up to ``high``; times are from ``low`` on and before
    ``high``, as one says it. ``high`` of minus infinity leaves the missing values only.
    """

    name: str
    values: tuple[Floats, Floats]
    is_time: bool
    has_missing: bool
    low: float = -math.inf
    high: float = math.inf
    missing: bool = True

    def holds(self, side: int, rows: Rows) -> NDArray[np.bool_]:
        values = self.values[side][rows]
        if self.is_time:
            inside = (values >= self.low) & (values < self.high)
        else:
            inside = (values > self.low) & (values <= self.high)
        return np.where(np.isnan(values), self.missing, inside)

    def features(self, rows: tuple[Rows, Rows]) -> list[tuple[int, Floats]]:
        """Ranks, so that a tree in single precision tells all values apart."""
        values = _both(self.values, rows)
        distinct = np.unique(values[~np.isnan(values)])
        return [(0, np.where(np.isnan(values), -1.0, np.searchsorted(distinct, values)))]

    def split(
        self, level: int, learn: tuple[Rows, Rows], left: NDArray[np.bool_], at: Rows
    ) -> tuple[_Numbers, _Numbers]:
        """Cut between two groups of the rows ``at``; missing values are in the lower one."""
        values = _both(self.values, learn)[at]
        below, above = np.sort(values[left & ~np.isnan(values)]), np.sort(values[~left])
        if below.size == 0:
            return replace(self, high=-math.inf), replace(self, missing=False)
        slack = int(ROUNDED_AWAY * at.size)
        reach = below[max(0, below.size - 1 - slack)], above[min(slack, above.size - 1)]
        middle = below[-1] + (above[0] - below[-1]) / 2
        between = _time_between if self.is_time else _number_between
        cut = between(float(reach[0]), float(reach[1]), float(middle))
        return replace(self, high=cut), replace(self, low=cut, missing=False)

    def text(self) -> str:
        written = date_text if self.is_time else _number_text
        low, high = (written(cut) if math.isfinite(cut) else "" for cut in (self.low, self.high))
        under, over = ("<", ">=") if self.is_time else ("<=", ">")
        if self.high == -math.inf:
            return f"{self.name} is missing"
        if self.low == -math.inf and self.high == math.inf:
            return f"{self.name} is not missing"
        if self.high == math.inf:
            return f"{self.name} {over} {low}"
        if self.low > -math.inf:
            return f"{low} {'<=' if self.is_time else '<'} {self.name} {under} {high}"
        or_missing = " or missing" if self.missing and self.has_missing else ""
        return f"{self.name} {under} {high}{or_missing}"


@dataclass(frozen=True)
class _Levels:
    """Some levels of a column; missing counts as a level."""

    name: str
    values: tuple[Floats, Floats]
    labels: dict[int, str]
    allowed: frozenset[int]

    def holds(self, side: int, rows: Rows) -> NDArray[np.bool_]:
        return np.isin(self.values[side][rows], list(self.allowed))

    def features(self, rows: tuple[Rows, Rows]) -> list[tuple[int, Floats]]:
        sides = [v[r].astype(np.intp) + 1 for v, r in zip(self.values, rows, strict=True)]
        shares = [np.bincount(s, minlength=max(self.labels) + 2) / s.size for s in sides]
        frequency = shares[0] + shares[1]  # both sides count the same
        top = np.argsort(-frequency, kind="stable")[:LEVELS]
        codes = np.concatenate(sides)
        return [(int(c) - 1, (codes == c).astype(np.float64)) for c in top if frequency[c] > 0]

    def split(
        self, level: int, learn: tuple[Rows, Rows], left: NDArray[np.bool_], at: Rows
    ) -> tuple[_Levels, _Levels]:
        """All others, and this level alone."""
        one = frozenset({level})
        return replace(self, allowed=self.allowed - one), replace(self, allowed=one)

    def text(self) -> str:
        if len(self.allowed) == 1:
            return f"{self.name} is {self.labels[next(iter(self.allowed))]}"
        others = [text for code, text in self.labels.items() if code not in self.allowed]
        if len(others) == 1:
            return f"{self.name} is not {others[0]}"
        return f"{self.name} is neither {' nor '.join(others)}"


_Condition = _Numbers | _Levels


def _both(values: tuple[Floats, Floats], rows: tuple[Rows, Rows]) -> Floats:
    return np.concatenate([v[r] for v, r in zip(values, rows, strict=True)])


def _reader(column: Column) -> _Condition:
    """Return the condition that every row meets, from which a rule is narrowed down."""
    sides = tuple(np.where(np.isfinite(v), v, np.nan) for v in (column.source, column.target))
    has_missing = any(bool(np.isnan(v).any()) for v in sides)
    if column.kind == "category" and column.family in ("number", "time"):
        # few numbers are compared as levels elsewhere; a rule reads better as a range
        numbers = np.array([*(float(level) for level in column.levels), np.nan])
        sides = tuple(numbers[np.nan_to_num(v, nan=-1.0).astype(np.intp)] for v in sides)
    elif column.kind == "category":
        labels = {i: level_text(column, i) for i in range(len(column.levels))}
        if has_missing or not labels:
            labels[MISSING] = "missing"
        codes = tuple(np.nan_to_num(v, nan=float(MISSING)) for v in sides)
        return _Levels(column.name, (codes[0], codes[1]), labels, frozenset(labels))
    return _Numbers(column.name, (sides[0], sides[1]), column.family == "time", has_missing)


def _grow(readers: list[_Condition], learn: tuple[Rows, Rows], seed: int) -> list[list[_Condition]]:
    """Fit the tree and return the conditions of every leaf."""
    features = [
        (position, level, values)
        for position, reader in enumerate(readers)
        for level, values in reader.features(learn)
    ]
    n_source, n_target = learn[0].size, learn[1].size
    is_target = np.repeat([0, 1], [n_source, n_target])
    weight = np.repeat([0.5 / n_source, 0.5 / n_target], [n_source, n_target])
    # A split of chance lowers the Gini impurity by chi-square times this, over two.
    chance = (1 / n_source + 1 / n_target) / 4
    tree = DecisionTreeClassifier(
        max_depth=DEPTH,
        max_leaf_nodes=2**DEPTH,
        min_samples_leaf=FEWEST_IN_LEAF,
        min_weight_fraction_leaf=SMALLEST_LEAF,
        ccp_alpha=WORTH_A_SPLIT * chance / 2,
        random_state=seed,
    )
    matrix = np.column_stack([values for _, _, values in features])
    nodes = tree.fit(matrix, is_target, sample_weight=weight).tree_
    leaves: list[list[_Condition]] = []

    def walk(node: int, rows: Rows, met: dict[int, _Condition]) -> None:
        if nodes.children_left[node] < 0:
            leaves.append([met[position] for position in sorted(met)])
            return
        position, level, values = features[nodes.feature[node]]
        left = values[rows] <= nodes.threshold[node]
        if left.all() or not left.any():  # possible where a rounded cut took the last rows away
            walk((nodes.children_left if left.all() else nodes.children_right)[node], rows, met)
            return
        condition = met.get(position, readers[position])
        lower, upper = condition.split(level, learn, left, rows)
        below = np.concatenate([lower.holds(side, learn[side]) for side in (0, 1)])[rows]
        walk(nodes.children_left[node], rows[below], met | {position: lower})
        walk(nodes.children_right[node], rows[~below], met | {position: upper})

    walk(0, np.arange(is_target.size), {})
    return leaves


def _joined(texts: list[str]) -> str:
    if len(texts) == 1:
        return texts[0]
    return " and ".join(f"({t})" if " or missing" in t else t for t in texts)


def _number_between(a: float, b: float, middle: float) -> float:
    """Round the middle to the fewest digits that leave it in ``[a, b)``."""
    if a <= 0 < b:
        return 0.0
    for digits in range(1, 18):
        step = 10.0 ** (math.floor(math.log10(abs(middle))) + 1 - digits)
        for near in (middle, middle - step / 2, middle + step / 2):
            cut = float(f"{near:.{digits}g}")
            if a <= cut < b:
                return cut
    return a


def _number_text(value: float) -> str:
    """All digits of a cut, without a trailing ``.0``."""
    return repr(value).removesuffix(".0")


def _time_between(a: float, b: float, middle: float) -> float:
    """Find the coarsest date or time in ``(a, b]``: of a year, a month, a day, an hour ..."""
    try:
        moment = _moment(b)
    except (OverflowError, ValueError):
        return max(middle, float(np.nextafter(a, b)))
    floor: dict[str, Any] = {}
    cuts = []
    for unit, least in (("microsecond", 0), ("second", 0), ("minute", 0), ("hour", 0)):
        floor[unit] = least
        cuts.append(moment.replace(**floor).timestamp())
    for unit in ("day", "month"):
        floor[unit] = 1
        cuts.append(moment.replace(**floor).timestamp())
    return next((cut for cut in reversed(cuts) if cut > a), b)


def _moment(seconds: float) -> datetime.datetime:
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return epoch + datetime.timedelta(seconds=seconds)


def date_text(seconds: float) -> str:
    """Write seconds since 1970 as a date, with the time of day where it is not midnight.

    Parameters
    ----------
    seconds : float
        Since 1970, universal time.

    Returns
    -------
    str

    Examples
    --------
    >>> date_text(0.0), date_text(3600.0), date_text(86400.5)
    ('1970-01-01', '1970-01-01 01:00', '1970-01-02 00:00:00')
    """
    try:
        moment = _moment(seconds)
    except (OverflowError, ValueError):
        return f"{seconds:g}"
    if seconds % 86400 == 0:
        return f"{moment:%Y-%m-%d}"
    return f"{moment:%Y-%m-%d %H:%M}" if seconds % 60 == 0 else f"{moment:%Y-%m-%d %H:%M:%S}"


def level_text(column: Column, code: int) -> str:
    """Write a level of a category as it stands in a rule: texts quoted, dates as dates.

    Parameters
    ----------
    column : Column
        A category.
    code : int
        Position in its levels.

    Returns
    -------
    str

    Examples
    --------
    >>> import numpy as np
    >>> city = Column("city", "category", np.zeros(1), np.ones(1), ("Oslo", "Rome"), "text")
    >>> level_text(city, 1)
    "'Rome'"
    """
    level = column.levels[code]
    if column.family == "time":
        return date_text(float(level))
    if column.family != "text":
        return level
    return f"'{level}'" if len(level) <= LONGEST_LEVEL else f"'{level[: LONGEST_LEVEL - 1]}…'"
