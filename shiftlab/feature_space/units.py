"""Units of measurement: read from column names, or found from two distributions."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BY_DISTRIBUTION",
    "Conversion",
    "choose_conversion",
    "conversion_by_name",
    "conversions_by_distribution",
    "is_discrete",
    "known_factors",
    "ks_distance",
    "shared_values",
    "stem_of",
    "unit_of",
    "words",
    "worsening",
]

Floats = NDArray[np.float64]

# A conversion that only the distributions speak for: they must lie apart before (far apart
# if the factor is so small that it could be a real change) and agree afterwards.
APART, FAR_APART, AGREEING = 0.3, 0.8, 0.2
LARGE_FACTOR = 10.0
# Converted values of which so many are values of the source, up to rounding of floats, tell a unit.
SHARED_VALUES = 0.25
# A conversion is tried if its factor is so near to the ratio of the spreads, at most.
NEAR = 1.5
# How a note about such a conversion begins.
BY_DISTRIBUTION = "unit found by distribution"


class Conversion(NamedTuple):
    """``source value = factor * target value + offset``, and what it is called."""

    factor: float
    offset: float
    name: str


# unit -> (dimension, factor, offset) to the base unit of the dimension
_UNITS: dict[str, tuple[str, float, float]] = {
    "mm": ("length", 1e-3, 0.0),
    "cm": ("length", 1e-2, 0.0),
    "m": ("length", 1.0, 0.0),
    "km": ("length", 1e3, 0.0),
    "in": ("length", 0.0254, 0.0),
    "ft": ("length", 0.3048, 0.0),
    "yd": ("length", 0.9144, 0.0),
    "mi": ("length", 1609.344, 0.0),
    "mg": ("mass", 1e-6, 0.0),
    "g": ("mass", 1e-3, 0.0),
    "kg": ("mass", 1.0, 0.0),
    "oz": ("mass", 0.028349523125, 0.0),
    "lb": ("mass", 0.45359237, 0.0),
    "ms": ("time", 1e-3, 0.0),
    "s": ("time", 1.0, 0.0),
    "min": ("time", 60.0, 0.0),
    "h": ("time", 3600.0, 0.0),
    "d": ("time", 86400.0, 0.0),
    "c": ("temperature", 1.0, 0.0),
    "f": ("temperature", 1 / 1.8, -32 / 1.8),
    "k": ("temperature", 1.0, -273.15),
    "ml": ("volume", 1e-3, 0.0),
    "l": ("volume", 1.0, 0.0),
    "gal": ("volume", 3.785411784, 0.0),
    "pct": ("share", 1e-2, 0.0),
    "frac": ("share", 1.0, 0.0),
}
_SPELLINGS = {
    "millimeter": "mm", "millimetre": "mm", "centimeter": "cm", "centimetre": "cm",
    "meter": "m", "metre": "m", "kilometer": "km", "kilometre": "km",
    "inch": "in", "inche": "in", "foot": "ft", "feet": "ft", "yard": "yd", "mile": "mi",
    "milligram": "mg", "gram": "g", "kilogram": "kg", "kilo": "kg",
    "ounce": "oz", "lbs": "lb", "pound": "lb",
    "msec": "ms", "millisecond": "ms", "sec": "s", "second": "s", "minute": "min", "mins": "min",
    "hr": "h", "hrs": "h", "hour": "h", "day": "d",
    "celsius": "c", "degc": "c", "fahrenheit": "f", "degf": "f", "kelvin": "k",
    "milliliter": "ml", "millilitre": "ml", "liter": "l", "litre": "l", "gallon": "gal",
    "percent": "pct", "percentage": "pct", "fraction": "frac", "share": "frac", "ratio": "frac",
}  # fmt: skip

_USUAL = "in-cm in-mm in-m ft-m ft-cm mi-km oz-g lb-kg s-min min-h s-h h-d gal-l f-c c-k"


def words(name: str) -> list[str]:
    """Split a column name into lower-case words.

    Parameters
    ----------
    name : str
        Such as "sepalLength (cm)" or "sepal_length_cm".

    Returns
    -------
    list of str

    Examples
    --------
    >>> words("sepalLength (cm)"), words("BMI2")
    (['sepal', 'length', 'cm'], ['bmi', '2'])
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])", " ", name)
    spaced = spaced.replace("%", " percent ")
    return [w for w in re.split(r"[\W_]+", spaced.casefold()) if w]


def unit_of(name: str) -> str | None:
    """Return the unit that a name ends with, or None; one word alone is no unit."""
    parts = words(name)
    if len(parts) < 2:
        return None
    last = parts[-1]
    for spelling in (last, last.removesuffix("s")):
        found = _SPELLINGS.get(spelling, spelling)
        if found in _UNITS:
            return found
    return None


def stem_of(name: str) -> str:
    """Return the words of a name without its unit, joined."""
    return "".join(words(name)[:-1] if unit_of(name) else words(name))


def _between(target_unit: str, source_unit: str) -> Conversion:
    _, a, b = _UNITS[target_unit]
    _, c, d = _UNITS[source_unit]
    return Conversion(a / c, (b - d) / c, f"{target_unit} to {source_unit}")


def conversion_by_name(source_name: str, target_name: str) -> Conversion | None:
    """Return the conversion that two names spell out, or None.

    Parameters
    ----------
    source_name, target_name : str
        Column names.

    Returns
    -------
    Conversion or None
        From the target's unit to the source's, if both name units of one dimension.

    Examples
    --------
    >>> conversion_by_name("height_cm", "height (in)")
    Conversion(factor=2.54, offset=0.0, name='in to cm')
    """
    mine, theirs = unit_of(source_name), unit_of(target_name)
    if mine is None or theirs is None or mine == theirs:
        return None
    if _UNITS[mine][0] != _UNITS[theirs][0]:
        return None
    return _between(theirs, mine)


def _known_conversions() -> list[Conversion]:
    """Return the conversions that are tried without a name: one for each distinct map.

    Only between units that people really change: "yd to km" is 9% from "m to km", and no
    distribution can tell the two apart.
    """
    found: dict[tuple[float, float], Conversion] = {}
    for power in (1, 2, 3, 6):
        for factor in (10.0**power, 10.0**-power):
            found[_key(factor, 0.0)] = Conversion(factor, 0.0, f"times {factor:g}")
    for pair in _USUAL.split():
        a, b = pair.split("-")
        for conversion in (_between(a, b), _between(b, a)):
            found.setdefault(_key(conversion.factor, conversion.offset), conversion)
    return list(found.values())


def _key(factor: float, offset: float) -> tuple[float, float]:
    return float(f"{factor:.6g}"), float(f"{offset:.6g}")


def is_discrete(values: Floats) -> bool:
    """Tell whether there are too few distinct numbers for a unit to show."""
    return len(np.unique(values[:: max(1, len(values) // 1000)])) < 10


def ks_distance(a: Floats, b: Floats) -> float:
    """Return the Kolmogorov-Smirnov distance of two sorted samples; O(n log n)."""
    grid = np.concatenate([a, b])
    first = np.searchsorted(a, grid, side="right") / len(a)
    second = np.searchsorted(b, grid, side="right") / len(b)
    return float(np.abs(first - second).max())


def conversions_by_distribution(source: Floats, target: Floats) -> list[tuple[float, Conversion]]:
    """Return known conversions, with the distance they leave, the best first.

    Only those whose factor is within a half of the ratio of the two spreads are tried.

    Parameters
    ----------
    source, target : ndarray
        Sorted values.

    Returns
    -------
    list of (float, Conversion)
        Kolmogorov-Smirnov distance after the conversion.
    """
    levels = [0.05, 0.95]
    spread_s = float(np.diff(np.quantile(source, levels))[0])
    spread_t = float(np.diff(np.quantile(target, levels))[0])
    if spread_s <= 0 or spread_t <= 0:
        return []
    ratio = spread_s / spread_t
    near = [c for c in _KNOWN if abs(np.log(c.factor / ratio)) < np.log(NEAR)]
    scored = [(ks_distance(source, c.factor * target + c.offset), c) for c in near]
    return sorted(scored, key=lambda pair: pair[0])


def shared_values(source: Floats, converted: Floats) -> float:
    """Return the share of the converted values that are values of the source, too.

    Measurements are rounded, so that two samples in one unit share values; after a wrong
    conversion hardly any value falls on the grid of the source.

    Parameters
    ----------
    source, converted : ndarray
        Sorted values.

    Returns
    -------
    float
        Of the distinct converted values other than zero, up to a relative 1e-6.
    """
    grid, values = np.unique(source), np.unique(converted[converted != 0])
    if not len(values):
        return 0.0
    at = np.searchsorted(grid, values)
    left, right = grid[np.maximum(at - 1, 0)], grid[np.minimum(at, len(grid) - 1)]
    gap = np.minimum(np.abs(values - left), np.abs(values - right))
    return float(np.mean(gap <= 1e-6 * np.abs(values)))


def worsening(conversion: Conversion, source: Floats, target: Floats) -> float:
    """Return by how much a conversion drives two samples apart, beyond sampling noise.

    Parameters
    ----------
    conversion : Conversion
        From the target's unit to the source's.
    source, target : ndarray
        Sorted values.

    Returns
    -------
    float
        Kolmogorov-Smirnov distance after minus before, minus its 95% noise.
    """
    after = ks_distance(source, conversion.factor * target + conversion.offset)
    return after - ks_distance(source, target) - _noise(source, target)


def _noise(source: Floats, target: Floats) -> float:
    return float(1.36 * np.sqrt(1 / len(source) + 1 / len(target)))


def _beside_zeros(source: Floats, target: Floats) -> str:
    """Say where a unit could have changed behind many zeros, which hide it."""
    ours, theirs = source[source != 0], target[target != 0]
    rare = min(len(ours) / len(source), len(theirs) / len(target)) < 1 - APART / 2
    if not rare or not len(ours) or not len(theirs) or np.isin(theirs, ours).all():
        return ""
    distance = ks_distance(ours, theirs)
    if distance < APART:
        return ""
    rows = f"of {len(ours)} and {len(theirs)}"
    return f"values other than zero differ (distance {distance:.2f} {rows}); left as they are"


def choose_conversion(
    source_name: str, target_name: str, source: Floats, target: Floats
) -> tuple[Conversion | None, str]:
    """Decide whether, and how, a column has to be converted.

    Parameters
    ----------
    source_name, target_name : str
        Column names.
    source, target : ndarray
        Sorted values.

    Returns
    -------
    tuple of (conversion or None, note)
        The note says what the distributions decided or left open.

    Raises
    ------
    ValueError
        If two known conversions cannot be told apart, or the names contradict the values.
    """
    named = conversion_by_name(source_name, target_name)
    if named is not None:
        if len(source) and len(target) and worsening(named, source, target) > 0:
            raise ValueError(
                f"the names {source_name!r} and {target_name!r} ask for {named.name}, but the "
                "values agree better without"
            )
        return named, ""
    if not len(source) or not len(target):
        return None, ""
    before = ks_distance(source, target)
    if before < APART:
        return None, _beside_zeros(source, target)
    as_it_is = f"distributions differ (distance {before:.2f}); left as it is"
    if is_discrete(source) or is_discrete(target):
        return None, as_it_is
    fits = [
        (distance, c)
        for distance, c in conversions_by_distribution(source, target)
        if distance <= min(AGREEING + _noise(source, target), before / 2)
        and (before >= FAR_APART or abs(np.log(c.factor)) > 0.99 * np.log(LARGE_FACTOR))
    ]
    if not fits:
        return None, as_it_is
    shared = [shared_values(source, c.factor * target + c.offset) for _, c in fits]
    best = int(np.argmax(shared))
    if shared[best] >= SHARED_VALUES and sorted([0.0, *shared])[-2] <= shared[best] / 2:
        fits = [fits[best]]
    close = [c.name for distance, c in fits if distance - fits[0][0] < _noise(source, target)]
    if len(close) > 1:
        raise ValueError(
            f"the unit of the target's column {target_name!r} is ambiguous: "
            f"{' and '.join(close)} fit equally well"
        )
    after, conversion = fits[0]
    return conversion, f"{BY_DISTRIBUTION} (distance {before:.2f} before, {after:.2f} after)"


_KNOWN = _known_conversions()


def known_factors() -> Floats:
    """Return the factors of the known conversions that have no offset."""
    return np.array([c.factor for c in _KNOWN if c.offset == 0])
