"""Where: every shared column tested on its own, with an error budget of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.diagnosis.columns import Column
from shiftlab.diagnosis.findings import FeatureShift
from shiftlab.diagnosis.regions import date_text
from shiftlab.stats.multiple import benjamini_hochberg
from shiftlab.stats.univariate import (
    UnivariateResult,
    categorical_test,
    continuous_test,
    missingness_test,
)

__all__ = ["check_features"]

Floats = NDArray[np.float64]

BINS = 24
LEVELS_SHOWN = 12


def check_features(
    columns: list[Column],
    unusable: dict[str, str],
    alpha: float,
    rng: np.random.Generator,
    prepared: Sequence[FeatureShift] = (),
) -> list[FeatureShift]:
    """Test every column; Benjamini-Hochberg over the columns.

    A column with missing values has two tests, of the values and of the missingness, and
    twice the smaller p-value. A column that cannot be tested is listed with the reason and
    takes nothing away from the others.

    Parameters
    ----------
    columns : list of Column
        Columns of both sides.
    unusable : dict of str to str
        Shared columns that cannot be compared, with the reason.
    alpha : float
        False discovery rate; also the probability of any false one if no column moved.
    rng : numpy.random.Generator
        For permutations of rare categories.
    prepared : sequence of FeatureShift, default=()
        Records of more columns, with raw p-values, that are decided together with the rest.

    Returns
    -------
    list of FeatureShift
        Those that differ first, then by effect.
    """
    records = [_check_column(c, rng) for c in columns] + list(prepared)
    records += [FeatureShift(n, "not_testable", reason) for n, reason in unusable.items()]
    adjusted = benjamini_hochberg([np.nan if r.p_value is None else r.p_value for r in records])
    decided = []
    for record, p in zip(records, adjusted, strict=True):
        fields = dict(vars(record))
        if not np.isnan(p):
            fields["p_adjusted"] = float(p)
            fields["status"] = "differs" if p <= alpha else "no_evidence"
        decided.append(FeatureShift(**fields))
    order = {"differs": 0, "no_evidence": 1, "not_testable": 2}
    return sorted(decided, key=lambda r: (order[r.status], -(r.effect or 0.0)))


def _check_column(column: Column, rng: np.random.Generator) -> FeatureShift:
    a, b = column.source, column.target
    missing = np.isnan(a), np.isnan(b)
    if missing[0].all() and missing[1].all():
        return FeatureShift(column.name, "not_testable", "no values on either side")
    if column.family == "text" and len(column.levels) > 0.5 * (a.size + b.size):
        reason = "nearly every value is different (an identifier or free text)"
        return FeatureShift(column.name, "not_testable", reason)
    results: list[UnivariateResult] = []
    note = _peculiarity(column)
    if missing[0].any() or missing[1].any():
        results.append(missingness_test(*missing))
    present = a[~missing[0]], b[~missing[1]]
    details: dict[str, Any] = {"kind": column.kind}
    if present[0].size and present[1].size:
        if column.kind == "number":
            results.append(continuous_test(*present))
            details["histogram"] = _histogram(*present)
        else:
            counts = [np.bincount(v.astype(np.intp), minlength=len(column.levels)) for v in present]
            results.append(categorical_test(*counts, rng=rng))
            details["shares"] = _shares(column, counts)
    for result in results:
        details.update(result.details)
    if column.family == "time":
        # seconds since 1970 say nothing to a reader
        medians = [date_text(float(np.median(v))) for v in present if v.size]
        note = "; ".join([f"median {' to '.join(medians)}", *([note] if note else [])])
        for name in ("histogram", "source_median", "target_median"):
            details.pop(name, None)
    main = min(results, key=lambda r: r.p_value)
    return FeatureShift(
        column.name,
        "no_evidence",
        main.test,
        statistic=main.statistic,
        p_value=min(1.0, len(results) * main.p_value),
        effect=max(r.effect for r in results),
        note=note,
        details=details,
    )


def _peculiarity(column: Column) -> str:
    notes = []
    for side, values in (("source", column.source), ("target", column.target)):
        present = values[~np.isnan(values)]
        if present.size == 0:
            notes.append(f"no value in the {side}")
        elif (present == present[0]).all():
            # also right for infinite values, where a range would be NaN
            notes.append(f"constant in the {side}")
        if np.isinf(present).any():
            notes.append(f"infinite values in the {side}")
    return "; ".join(notes)


def _histogram(a: Floats, b: Floats) -> dict[str, Any]:
    """Shares of both sides in common bins between the pooled 0.5% and 99.5% quantiles."""
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    pooled = np.concatenate([a, b])
    if pooled.size == 0:
        return {}
    low, high = np.quantile(pooled, [0.005, 0.995])
    edges = np.linspace(low, high, BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])
    sides = [
        np.histogram(np.clip(v, edges[0], edges[-1]), edges)[0] / max(1, v.size) for v in (a, b)
    ]
    return {
        "edges": [float(f"{e:.6g}") for e in edges],
        "source": np.round(sides[0], 5),
        "target": np.round(sides[1], 5),
    }


def _shares(column: Column, counts: list[NDArray[Any]]) -> dict[str, Any]:
    """Shares of the categories that moved most."""
    shares = [c / c.sum() for c in counts]
    top = np.argsort(-np.abs(shares[0] - shares[1]), kind="stable")[:LEVELS_SHOWN]
    return {
        "levels": [column.levels[i] for i in top],
        "source": np.round(shares[0][top], 5),
        "target": np.round(shares[1][top], 5),
        "n_levels": len(column.levels),
    }
