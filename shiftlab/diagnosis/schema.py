"""Feature space: do both domains have the same columns, types and units?"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact, hypergeom, ks_2samp

from shiftlab.diagnosis.columns import Column, Columns, column_names, column_values
from shiftlab.diagnosis.findings import Finding
from shiftlab.diagnosis.same_columns import SameColumn, same_columns
from shiftlab.domain import Domain

__all__ = ["Change", "UnitChange", "compare_schema", "scale_change"]

Floats = NDArray[np.float64]

FAR = 5.0  # a factor that no drift of a population gives, and a change of unit does
FACTORS = {
    2.54: "inch to cm",
    2.20462: "kg to lb",
    1.609344: "mile to km",
    3.28084: "m to ft",
    12.0: "ft to inch",
    28.34952: "ounce to gram",
    60.0: "hours to minutes or minutes to seconds",
    453.59237: "lb to gram",
    3600.0: "hours to seconds",
    86400.0: "days to seconds",
}
AFFINE = {(1.8, 32.0): "Celsius to Fahrenheit", (1.0, 273.15): "Celsius to kelvin"}
# categories seen twice or more, none of them on both sides: less likely than 1 in 1,000 by chance
NONE_SHARED = 10
CHANCE = 0.001  # a category that only one side has counts as a fact below this probability
SHOWN = 20
DISTINCT = 10  # of the 19 quantiles
LARGEST, SMALLEST = 1e100, 1e-100  # squares beyond overflow or vanish
RARELY, MOSTLY = 0.01, 0.5  # shares of missing values that make a column another one


@dataclass(frozen=True)
class Change:
    """One difference of the feature spaces.

    ``breaks`` says whether a model of the source would fail or be misled by it; a new order
    of named columns is reported and does not. A change of unit holds ``factor`` and ``offset``
    (target = factor x source + offset) and whether later questions compare the column
    ``converted`` back.
    """

    kind: Literal[
        "missing",
        "added",
        "renamed",
        "reordered",
        "type",
        "scale",
        "categories",
        "empty",
        "missingness",
        "dimension",
        "image shape",
    ]
    columns: tuple[str, ...]
    text: str
    breaks: bool = True
    factor: float | None = None
    offset: float | None = None
    converted: bool = False


@dataclass(frozen=True)
class UnitChange:
    """An affine map between units: target = ``factor`` x source + ``offset``.

    ``known`` says whether it is a common conversion or a power of ten, exactly; otherwise the
    numbers are estimates.
    """

    factor: float
    offset: float
    known: bool
    text: str

    def undo(self, target: Floats) -> Floats:
        """Return target values in the source's unit."""
        return (target - self.offset) / self.factor


def compare_schema(
    source: Domain, target: Domain, columns: Columns
) -> tuple[Finding, dict[str, str]]:
    """Compare the feature spaces.

    Parameters
    ----------
    source, target : Domain
        The two samples.
    columns : Columns
        What was read from them.

    Returns
    -------
    tuple of (Finding, dict of str to str)
        The finding, and the shared columns that later questions must leave out, with the
        reason: their unit seems to have changed in an unknown way, or one side has no value.
        Where the conversion is a common one, ``columns.shared`` holds the target's values
        converted back from here on, and ``columns.notes`` says so.
    """
    changes: list[Change] = []
    left_out: dict[str, str] = {}
    changes += _shape_changes(source, target)
    changes += _name_changes(columns, source, target)
    for name, (before, after) in columns.retyped.items():
        text = f"column '{name}' is {before} in the source and {after} in the target"
        changes.append(Change("type", (name,), text))
    # columns made from images or by the user's features have no units and no types of their own
    for position, column in enumerate([] if columns.derived else columns.shared):
        gaps = _missing_changes(column)
        changes += gaps
        if any(c.kind == "empty" for c in gaps):
            side = "source" if np.isnan(column.source).all() else "target"
            left_out[column.name] = f"no value in the {side}"
        elif column.kind == "number" and column.family == "number":
            unit = scale_change(column.source, column.target)
            if unit is None:
                continue
            if unit.known:
                columns.shared[position] = replace(column, target=unit.undo(column.target))
                columns.notes.append(
                    f"Column '{column.name}': {unit.text}; it is compared in the source's unit."
                )
            else:
                left_out[column.name] = "its unit seems to have changed"
            text = f"column '{column.name}': {unit.text}"
            changes.append(
                Change(
                    "scale",
                    (column.name,),
                    text,
                    factor=unit.factor,
                    offset=unit.offset,
                    converted=unit.known,
                )
            )
        elif column.family == "text":
            changes += _category_changes(column)
    breaking = [c for c in changes if c.breaks]
    if breaking:
        summary = "The feature spaces differ: " + _joined([c.text for c in breaking], 3) + "."
    elif changes:
        summary = "Same columns, types and units; " + _joined([c.text for c in changes], 3) + "."
    else:
        summary = "Same columns, types and units."
    details = {
        "changes": [dict(vars(c)) for c in changes],
        "n_shared": columns.n_shared,
        "not_compared": dict(columns.unusable),
        "exact": "read off the data, no test",
    }
    status: Literal["differs", "no_evidence"] = "differs" if breaking else "no_evidence"
    return Finding("feature_space", status, summary, details=details), left_out


def _joined(texts: list[str], most: int) -> str:
    more = len(texts) - most
    return "; ".join(texts[:most]) + (f"; and {more} more" if more > 0 else "")


def _listed(names: list[str], most: int = 5) -> str:
    shown = ", ".join(f"'{n}'" for n in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _shape_changes(source: Domain, target: Domain) -> list[Change]:
    if source.is_image and target.is_image:
        a, b = source.shape[1:], target.shape[1:]
        if a != b:
            text = f"images are {_size(a)} in the source and {_size(b)} in the target"
            return [Change("image shape", (), text)]
        return []
    if source.is_image != target.is_image:
        kinds = ["images" if d.is_image else "columns" for d in (source, target)]
        return [Change("type", (), f"source holds {kinds[0]} and target {kinds[1]}")]
    unnamed = source.feature_names is None or target.feature_names is None
    if unnamed and source.n_features != target.n_features:
        text = f"source has {source.n_features} columns and target {target.n_features}"
        pairs = [_same(p, f"x{p.source}", f"x{p.target}") for p in _by_position(source, target)]
        return [Change("dimension", (), text), *pairs]
    return []


def _by_position(source: Domain, target: Domain) -> list[SameColumn]:
    bare = [d.with_(feature_names=None) if not d.is_frame else d for d in (source, target)]
    return same_columns(*bare)


def _same(pair: SameColumn, ours: str, theirs: str) -> Change:
    unit = f" in another unit ({pair.unit})" if pair.unit else ""
    text = (
        f"column '{ours}' of the source and '{theirs}' of the target seem to be the same{unit}, by "
        f"distribution and dependence (probability {pair.probability:.2f})"
    )
    return Change("renamed", (ours, theirs), text, factor=pair.factor, offset=pair.offset)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(s) for s in shape)


def _name_changes(columns: Columns, source: Domain, target: Domain) -> list[Change]:
    if source.is_image or target.is_image:
        return []
    changes = [
        Change("renamed", (a, b), f"column '{a}' seems to be called '{b}' in the target ({why})")
        for a, b, why in _renamed(columns, source, target)
    ]
    done = {name for change in changes for name in change.columns}
    missing, added = ([n for n in v if n not in done] for v in (columns.missing, columns.added))
    if missing and added:
        found = [
            p for p in same_columns(source, target) if p.source in missing and p.target in added
        ]
        changes += [_same(p, p.source, p.target) for p in found]
        done = {name for change in changes for name in change.columns}
        missing, added = ([n for n in v if n not in done] for v in (missing, added))
    if missing:
        text = f"the target lacks {_listed(missing)}"
        changes.append(Change("missing", tuple(missing), text))
    if added:
        text = f"the target adds {_listed(added)}"
        changes.append(Change("added", tuple(added), text))
    if columns.reordered:
        text = "the columns come in another order (harmless while they are matched by name)"
        changes.append(Change("reordered", (), text, breaks=False))
    return changes


def _normal(name: str) -> str:
    return re.sub(r"[^0-9a-z]+", "", name.lower())


def _renamed(columns: Columns, source: Domain, target: Domain) -> list[tuple[str, str, str]]:
    """Pairs of a missing and an added column that look like one; ambiguous ones are left."""
    pairs: list[tuple[str, str, str]] = []
    missing, added = list(columns.missing), list(columns.added)
    for a in list(missing):
        alike = [b for b in added if _normal(a) and _normal(a) == _normal(b)]
        if len(alike) == 1:
            pairs.append((a, alike[0], "same name but for case and punctuation"))
            missing.remove(a)
            added.remove(alike[0])
    near = {
        a: [b for b in added if difflib.SequenceMatcher(None, _normal(a), _normal(b)).ratio() > 0.7]
        for a in missing
    }
    close = {a: [b for b in added if _same_values(source, a, target, b)] for a in missing[:SHOWN]}
    for a in missing[:SHOWN]:
        both = [b for b in near[a] if b in close[a]]
        candidates, why = (both, "similar name and values") if both else (close[a], "same values")
        if len(candidates) != 1:
            continue
        b = candidates[0]
        rivals = [m for m in close if m != a and b in close[m]]
        if not rivals or (both and not any(b in near[m] for m in rivals)):
            pairs.append((a, b, why))
    return pairs


def _same_values(source: Domain, a: str, target: Domain, b: str) -> bool:
    """Whether two numeric columns have nearly the same quantiles, relative to their spread."""
    try:
        x, family_x = column_values(source, column_names(source).index(a))
        y, family_y = column_values(target, column_names(target).index(b))
    except (TypeError, ValueError, OverflowError):
        return False  # a column that cannot be read has no values to compare
    if family_x != family_y:
        return False
    if family_x == "text":
        x_levels, y_levels = ({v for v in values if v is not None} for values in (x, y))
        both = len(x_levels & y_levels)
        return both > 1 and both >= 0.8 * len(x_levels | y_levels)
    if family_x == "nested":
        return False
    quantiles = _quantiles(x), _quantiles(y)
    if quantiles[0] is None or quantiles[1] is None:
        return False
    spread = float(quantiles[0][-1] - quantiles[0][0])
    gap = float(np.abs(quantiles[0] - quantiles[1]).max())
    return spread > 0 and gap <= 0.15 * spread


def _quantiles(values: Floats) -> Floats | None:
    finite = values[np.isfinite(values)]
    if finite.size < 20:
        return None
    return np.quantile(finite, np.linspace(0.05, 0.95, 19))


def _missing_changes(column: Column) -> list[Change]:
    """A column without any value on one side, or hardly ever missing here and mostly there.

    Smaller differences are for the test of the column.
    """
    gone = np.isnan(column.source), np.isnan(column.target)
    shares = [float(g.mean()) for g in gone]
    side = "source" if shares[0] > shares[1] else "target"
    empty = max(shares) == 1.0
    if min(shares) == 1.0 or not (empty or (min(shares) <= RARELY and max(shares) > MOSTLY)):
        return []
    table = [[int(g.sum()), int((~g).sum())] for g in gone]
    # the values of one side are missing: how likely if the gaps were dealt at random?
    certain = bool(fisher_exact(table).pvalue < CHANCE)
    tail = "" if certain else ", with so few rows that it can be chance"
    if empty:
        text = f"column '{column.name}' has no value at all in the {side}{tail}"
        return [Change("empty", (column.name,), text, breaks=certain)]
    text = (
        f"column '{column.name}' is missing in {shares[0]:.0%} of the source's rows and "
        f"{shares[1]:.0%} of the target's{tail}"
    )
    return [Change("missingness", (column.name,), text, breaks=certain)]


def scale_change(source: Floats, target: Floats) -> UnitChange | None:
    r"""Tell whether a column's unit seems to have changed, and how to undo it.

    The target's quantiles :math:`b_i` are regressed on the source's :math:`a_i`. A near-perfect
    straight line :math:`b = f a + o` is taken for a change of unit if :math:`f` is beyond a
    factor of 5, or if :math:`f` and :math:`o` are those of a common conversion (for a pure
    factor, only where location and spread changed by the same factor, which a drift has no
    reason to do). O(n log n).

    Parameters
    ----------
    source, target : ndarray of shape (n,)
        Values, NaN where missing.

    Returns
    -------
    UnitChange or None
        None when nothing points to a change of unit.

    Examples
    --------
    >>> import numpy as np
    >>> metres = np.random.default_rng(0).normal(1.7, 0.1, 500)
    >>> change = scale_change(metres, metres[::-1] * 1000)
    >>> change.text, change.factor, change.known
    ('the target looks like the source times 1000', 1000.0, True)
    >>> scale_change(metres, metres + 0.05) is None
    True
    """
    found = _affine_map(source, target)
    if found is None:
        return None
    finite = source[np.isfinite(source)], target[np.isfinite(target)]
    # in few rows of a heavy-tailed column even this can be chance
    return found if ks_2samp(*finite, method="asymp").pvalue < CHANCE else None


def _affine_map(source: Floats, target: Floats) -> UnitChange | None:
    a, b = _quantiles(source), _quantiles(target)
    if a is None or b is None or min(np.ptp(a), np.ptp(b)) < SMALLEST:
        return None
    if max(np.abs(a).max(), np.abs(b).max()) > LARGEST:
        return None
    if min(np.unique(a).size, np.unique(b).size) < DISTINCT:
        return None  # mostly one value, as in sparse data: a line through few points says nothing
    slope, intercept = (float(v) for v in np.polyfit(a, b, 1))
    misfit = float(np.abs(b - (slope * a + intercept)).max()) / float(np.ptp(b))
    if misfit > 0.1 or slope <= 0:
        return None
    middle_a, middle_b = float(a[9]), float(b[9])
    iqr_b = float(b[14] - b[4])
    for (factor, offset), name in AFFINE.items():
        for f, o, words in (
            (factor, offset, name),
            (1 / factor, -offset / factor, _reversed(name)),
        ):
            moved = abs(f * middle_a + o - middle_a) > iqr_b
            if (
                moved
                and abs(slope / f - 1) < 0.1
                and abs(f * middle_a + o - middle_b) < 0.2 * iqr_b
            ):
                text = f"the target looks like the source in another unit ({words})"
                return UnitChange(f, o, True, text)
    far = not 1 / FAR < slope < FAR
    line = f"the target looks like {slope:.3g} times the source, plus {intercept:.3g}"
    affine = UnitChange(slope, intercept, False, line) if far else None
    # far from zero, location and spread both scale with a unit; around zero only spread shows
    centred = abs(middle_a) <= float(a[14] - a[4])
    if not centred and abs((middle_b / middle_a) / slope - 1) > 0.1:
        return affine
    if not far and centred:
        return None
    factor = slope if centred else middle_b / middle_a
    if far and abs(middle_b - factor * middle_a) > iqr_b:
        return affine
    known, words = _known_factor(factor)
    if known is not None:
        text = f"the target looks like the source {_times(known)}{words}"
        return UnitChange(known, 0.0, True, text)
    text = f"the target looks like the source {_times(factor)}"
    return UnitChange(factor, 0.0, False, text) if far else None


def _known_factor(factor: float) -> tuple[float | None, str]:
    """The exact factor of a common conversion near an estimate, and its name."""
    power = 10.0 ** round(float(np.log10(factor)))
    if power != 1.0 and abs(factor / power - 1) < 0.1:
        return power, ""
    for exact, name in FACTORS.items():
        for f, words in ((exact, name), (1 / exact, _reversed(name))):
            if abs(factor / f - 1) < 0.02:
                return f, f" ({words})"
    return None, ""


def _reversed(name: str) -> str:
    return " or ".join(" to ".join(reversed(n.split(" to "))) for n in name.split(" or "))


def _times(factor: float) -> str:
    return f"times {factor:.0f}" if factor >= 100 else f"times {factor:.3g}"


def _category_changes(column: Column) -> list[Change]:
    k = len(column.levels)
    if k == 0:
        return []
    counts = np.stack(
        [
            np.bincount(v[~np.isnan(v)].astype(np.intp), minlength=k)
            for v in (column.source, column.target)
        ]
    )
    n_source, n_target = (int(n) for n in counts.sum(axis=1))
    if n_source == 0 or n_target == 0 or k > 0.5 * (n_source + n_target):
        return []  # an identifier or free text: every value is new, which says nothing
    pooled = counts.sum(axis=0)
    repeated = pooled >= 2
    if repeated.sum() >= NONE_SHARED and not (counts > 0).all(axis=0).any():
        text = f"column '{column.name}': no category occurs on both sides"
        return [Change("categories", (column.name,), text)]
    changes = []
    sides: list[tuple[str, int, NDArray[Any]]] = [
        ("new in the target", n_target, counts[0] == 0),
        ("gone from the target", n_source, counts[1] == 0),
    ]
    for words, n_has, alone in sides:
        alone = alone & (pooled > 0)
        # all rows of a category on one side: how likely if rows were dealt at random?
        chance = k * hypergeom.sf(pooled - 1, n_source + n_target, pooled, n_has)
        for certain in (True, False):
            found = np.flatnonzero(alone & ((chance < CHANCE) == certain))
            if found.size == 0:
                continue
            names = [column.levels[i] for i in found]
            noun = "category" if found.size == 1 else "categories"
            tail = "" if certain else ", so rare that it can be chance"
            text = f"column '{column.name}': {found.size} {noun} {words}{tail}: {_listed(names)}"
            changes.append(Change("categories", (column.name,), text, breaks=certain))
    return changes
