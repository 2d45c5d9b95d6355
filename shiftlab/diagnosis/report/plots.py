"""Plots of a diagnosis as inline SVG; empty text where there is nothing to draw."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from rich.cells import cell_len

from shiftlab.diagnosis.explanation import DomainMap, LabelPlan, LossDecomposition, Performance
from shiftlab.diagnosis.findings import FeatureShift, Finding
from shiftlab.diagnosis.report.svg import Plot, Scale
from shiftlab.diagnosis.report.words import changed, number, share, shortened, squeezed

__all__ = [
    "MOVED",
    "SOURCE",
    "STEADY",
    "TARGET",
    "cost_bars",
    "domain_map",
    "effect_bars",
    "feature_overlay",
    "importance_scatter",
    "power_curve",
    "prior_bars",
]

SOURCE, TARGET = "#2f6f9f", "#d1722b"
MOVED, STEADY = "#b03030", "#87909a"
WIDTH = 360
NAME = 16  # most characters of the name of a column or class
MOST_BARS = 20
MOST_LEVELS = 5
MOST_NAMED = 6


def cost_bars(performance: Performance) -> str:
    """Draw the change of the loss and its two causes, with intervals.

    Parameters
    ----------
    performance : Performance
        With a decomposition, or nothing is drawn.

    Returns
    -------
    str
    """
    parts = performance.decomposition
    if parts is None:
        return ""
    rows = _causes(performance.metric, parts)
    ends = [0.0, *(end for _, value, interval in rows for end in (value, *interval))]
    low, high = min(ends), max(ends)
    room = 0.04 * (high - low) or 1.0
    plot = Plot(WIDTH, 34 * len(rows) + 8, "Change of the loss, by cause, with 95% intervals")
    scale = Scale(low - room, high + room, 138, WIDTH - 46)
    for i, (label, value, interval) in enumerate(rows):
        y = 6 + 34 * i
        plot.text(0, y + 16, label, kind="" if i else "strong")
        left, right = sorted((scale(0), scale(value)))
        plot.bar(left, y + 3, right - left, 18, MOVED if i == 0 else STEADY)
        plot.whisker(scale(interval[0]), scale(interval[1]), y + 12)
        plot.text(WIDTH, y + 16, changed(performance, value), anchor="end", kind="strong")
    plot.line(scale(0), 2, scale(0), 34 * len(rows) + 4, "zero")
    return str(plot)


def _causes(metric: str, parts: LossDecomposition) -> list[tuple[str, float, tuple[float, float]]]:
    whole = "Accuracy lost" if metric == "accuracy" else "Error added"
    return [
        (whole, parts.total, parts.total_interval),
        ("X moved", parts.x_part, parts.x_interval),
        ("Y moved at equal X", parts.y_given_x_part, parts.y_given_x_interval),
    ]


def prior_bars(finding: Finding) -> str:
    """Draw the class shares of both sides, with 95% intervals.

    Intervals are Wilson's where rows were counted, and normal where the shares were estimated.

    Parameters
    ----------
    finding : Finding
        The answer about Y, with class shares in its details.

    Returns
    -------
    str
    """
    details = finding.details
    if "source_prior" not in details:
        return ""
    sides = [np.asarray(details[f"{s}_prior"], dtype=np.float64) for s in ("source", "target")]
    errors = details.get("target_prior_standard_error")
    intervals = [
        _wilson(sides[0], details["n_source"]),
        _wilson(sides[1], details["n_target"])
        if errors is None
        else (sides[1] - 1.96 * np.asarray(errors), sides[1] + 1.96 * np.asarray(errors)),
    ]
    top = np.sort(np.argsort(-(sides[0] + sides[1]), kind="stable")[:MOST_BARS])
    most = max(max(s[top].max(), i[1][top].max()) for s, i in zip(sides, intervals, strict=True))
    gutter = _gutter([details["classes"][code] for code in top])
    scale = Scale(0, min(1.0, most), gutter, WIDTH - 44)
    plot = Plot(WIDTH, 30 * len(top) + 4, "Class shares of source and target, 95% intervals")
    for i, code in enumerate(top):
        y = 2 + 30 * i
        plot.name(gutter - 8, y + 16, details["classes"][code], NAME)
        both = zip(sides, intervals, (SOURCE, TARGET), strict=True)
        for j, (shares, (low, high), colour) in enumerate(both):
            at = y + 2 + 11 * j
            plot.bar(gutter, at, scale(shares[code]) - gutter, 10, colour)
            plot.whisker(scale(low[code]), scale(high[code]), at + 5)
            plot.text(WIDTH, at + 9, share(shares[code]), anchor="end", kind="tick")
    return str(plot)


def _gutter(names: list[Any]) -> float:
    """Room for the longest of the names as they are drawn."""
    return 14 + 6.9 * max(cell_len(squeezed(name, NAME)) for name in names)


def _wilson(p: Any, n: float) -> tuple[Any, Any]:
    """Wilson's interval of a share, which has a width even where no row was counted."""
    z2 = 1.96**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = 1.96 * np.sqrt(p * (1 - p) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    return centre - half, centre + half


def effect_bars(features: list[FeatureShift]) -> str:
    """Draw how far apart the two distributions of every column are.

    Parameters
    ----------
    features : list of FeatureShift
        Records of the columns; the first 20 that were tested are drawn.

    Returns
    -------
    str
    """
    shown = [(f, f.effect) for f in features if f.effect is not None][:MOST_BARS]
    if not shown:
        return ""
    plot = Plot(WIDTH, 18 * len(shown) + 4, "Distance between source and target in each column")
    gutter = _gutter([record.feature for record, _ in shown])
    scale = Scale(0, 1, gutter, WIDTH - 32)
    for i, (record, effect) in enumerate(shown):
        y = 2 + 18 * i
        plot.name(gutter - 8, y + 12, record.feature, NAME)
        colour = MOVED if record.status == "differs" else STEADY
        plot.bar(gutter, y + 2, scale(effect) - gutter, 12, colour)
        plot.text(max(scale(effect), gutter + 1) + 5, y + 12, f"{effect:.2f}", kind="tick")
    return str(plot)


def importance_scatter(features: list[FeatureShift]) -> str:
    """Draw how far every column moved against how much a model of the source needs it.

    The columns that differ and that the model needs are named: those with the largest
    product of the two, and at least a tenth of the largest importance.

    Parameters
    ----------
    features : list of FeatureShift
        Records; nothing is drawn without importances to the task.

    Returns
    -------
    str
    """
    known = [
        (f, f.effect, f.task_importance)
        for f in features
        if f.effect is not None and f.task_importance is not None
    ]
    if not known:
        return ""
    highest = max(0.0, *(importance for *_, importance in known)) or 1e-9
    lowest = min(0.0, *(importance for *_, importance in known))
    plot = Plot(WIDTH, 292, "Columns by how far they moved and how much a source model needs them")
    across = Scale(0, min(1.0, 1.15 * max(x for _, x, _ in known)) or 1.0, 44, WIDTH - 8)
    up = Scale(lowest, 1.08 * highest, 244, 22)
    plot.axis(across, 244, 22, upright=False, percent=False)
    plot.axis(up, 44, WIDTH - 8, upright=True, percent=False)
    plot.text(0, 11, "importance to a model of the source", kind="tick")
    plot.text(WIDTH - 8, 282, "distance between the distributions →", anchor="end", kind="tick")
    places = {id(f): (across(x), up(y)) for f, x, y in known}
    for status, colour in (("no_evidence", STEADY), ("differs", MOVED)):
        plot.points([places[id(f)] for f, *_ in known if f.status == status], colour, 8)
    matters = [k for k in known if k[0].status == "differs" and k[2] > 0.1 * highest]
    matters.sort(key=lambda k: -k[1] * k[2])
    taken: list[float] = []
    for record, *_ in matters[:MOST_NAMED]:
        x, y = places[id(record)]
        if any(abs(y - other) < 12 for other in taken):
            continue
        taken.append(y)
        to_the_left = x > WIDTH / 2
        side = "end" if to_the_left else "start"
        plot.name(x - 8 if to_the_left else x + 8, y + 4, record.feature, 20, side)
    return str(plot)


def feature_overlay(record: FeatureShift) -> str:
    """Draw both distributions of one column over each other.

    Parameters
    ----------
    record : FeatureShift
        Record with a histogram or shares in its details.

    Returns
    -------
    str
    """
    histogram: dict[str, Any] = record.details.get("histogram") or {}
    shares: dict[str, Any] = record.details.get("shares") or {}
    if not histogram and not shares:
        return ""
    description = f"Distribution of {shortened(record.feature, 60)} in source and target"
    plot = Plot(190, 128, description)
    plot.name(0, 11, record.feature, 26, "start", kind="strong")
    if histogram:
        edges = histogram["edges"]
        across = Scale(edges[0], edges[-1], 2, 188)
        up = Scale(0, float(max(np.max(histogram["source"]), np.max(histogram["target"]))), 108, 20)
        for side, colour in (("source", SOURCE), ("target", TARGET)):
            corners = [
                (across(edge), up(height))
                for i, height in enumerate(histogram[side])
                for edge in (edges[i], edges[i + 1])
            ]
            plot.steps(corners, 108, colour)
        plot.line(2, 108, 188, 108, "zero")
        for value, anchor in ((edges[0], "start"), (edges[-1], "end")):
            plot.text(across(value), 122, number(value), anchor=anchor, kind="tick")
        return str(plot)
    levels = shares["levels"][:MOST_LEVELS]
    scale = Scale(0, float(max(*shares["source"], *shares["target"])) or 1.0, 76, 154)
    for i, level in enumerate(levels):
        y = 20 + 21 * i
        plot.name(70, y + 12, level, 11)
        for j, (side, colour) in enumerate((("source", SOURCE), ("target", TARGET))):
            plot.bar(76, y + 1 + 8 * j, scale(shares[side][i]) - 76, 7, colour)
        plot.text(190, y + 12, share(shares["target"][i]), anchor="end", kind="tick")
    return str(plot)


def domain_map(drawn: DomainMap | None) -> str:
    """Draw the rows of both domains in two dimensions.

    The frame holds the middle 99% of either axis; rows beyond are drawn at its edge.

    Parameters
    ----------
    drawn : DomainMap or None
        Points.

    Returns
    -------
    str
    """
    if drawn is None:
        return ""
    source, target = (_finite(points) for points in (drawn.source, drawn.target))
    both = np.vstack([source, target])
    if not both.size:
        return ""
    low, high = np.quantile(both, [0.005, 0.995], axis=0)
    margin = 0.06 * (high - low)
    low, high = low - margin, high + margin
    across, up = Scale(low[0], high[0], 6, WIDTH - 6), Scale(low[1], high[1], 270, 22)
    plot = Plot(WIDTH, 290, "Rows of source and target in two dimensions")
    for y in (22, 270):
        plot.line(6, y, WIDTH - 6, y)
    for x in (6, WIDTH - 6):
        plot.line(x, 22, x, 270)
    places = [[(across(x), up(y)) for x, y in side] for side in (source, target)]
    plot.points(places[0], SOURCE, 4, faint=True)
    plot.crosses(places[1], TARGET, 3.6)
    plot.text(6, 14, f"↑ {drawn.axes[1]}", kind="tick")
    plot.text(WIDTH - 6, 285, f"{drawn.axes[0]} →", anchor="end", kind="tick")
    return str(plot)


def _finite(points: Any) -> Any:
    values = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    return values[np.isfinite(values).all(axis=1)]


def power_curve(plan: LabelPlan | None) -> str:
    """Draw how probably a number of labels would show a change of Y at equal X.

    Parameters
    ----------
    plan : LabelPlan or None
        With a curve of at least two numbers of labels, or nothing is drawn.

    Returns
    -------
    str
    """
    if plan is None or len(plan.curve) < 2:
        return ""
    curve = sorted(plan.curve)
    plot = Plot(WIDTH, 210, "Probability of finding the change, by the number of labels")
    # doubling the labels is one step
    across = Scale(math.log2(curve[0][0]), math.log2(curve[-1][0]), 44, WIDTH - 12)
    up = Scale(0, 1, 168, 20)
    plot.axis(up, 44, WIDTH - 12, upright=True, percent=True)
    plot.text(0, 10, "probability of finding it", kind="tick")
    plot.text(WIDTH - 12, 206, "labelled rows of the target →", anchor="end", kind="tick")
    last = -math.inf
    for n, _ in curve:
        x = across(math.log2(n))
        if x - last >= 34:
            plot.text(x, 184, number(n), anchor="middle", kind="tick")
            last = x
    if plan.n_labels is not None:
        x = across(math.log2(max(1, plan.n_labels)))
        plot.line(x, 168, x, up(plan.power), "zero")
        left = x > WIDTH / 2
        words = f"{plan.n_labels:,} labels"
        beside = x - 5 if left else x + 5
        plot.text(beside, 162, words, anchor="end" if left else "start", kind="strong")
    places = [(across(math.log2(n)), up(power)) for n, power in curve]
    plot.curve(places, TARGET)
    plot.points(places, TARGET, 6)
    return str(plot)
