"""Plots of a diagnosis as inline SVG."""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from shiftlab.diagnosis.findings import FeatureShift, Finding

__all__ = ["SOURCE", "TARGET", "effect_bars", "feature_overlay", "prior_bars", "shortened"]

SOURCE, TARGET = "#2f6f9f", "#d1722b"
# text stays text: it scales, prints sharp, is searched and keeps the page small
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "shiftlab",
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.usetex": False,
}
MOST_BARS = 20


def shortened(text: str, most: int = 28) -> str:
    """Cut a long name.

    Parameters
    ----------
    text : str
        The name.
    most : int, default=28
        Characters to keep.

    Returns
    -------
    str

    Examples
    --------
    >>> shortened("a" * 40, 10)
    'aaaaaaaaa…'
    """
    text = " ".join(text.split()) or "(blank)"
    return text if len(text) <= most else text[: most - 1] + "…"


def _svg(figure: Figure, description: str) -> str:
    from markupsafe import escape

    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches="tight")
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # ids must be unique in a page of many plots, and the size must follow the screen
    mark = re.sub(r"\W", "", description.title())[:24] + str(abs(hash_of(text)) % 10**8)
    text = re.sub(r'id="', f'id="{mark}-', text)
    text = re.sub(r"url\(#", f"url(#{mark}-", text)
    text = re.sub(r'href="#', f'href="#{mark}-', text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    head = f'<svg role="img" aria-label="{escape(description)}" class="plot"'
    return re.sub(r'^<svg([^>]*?) width="[^"]*"', head + r"\1", _without_height(text), count=1)


def _without_height(text: str) -> str:
    return re.sub(r'^(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)


def hash_of(text: str) -> int:
    """Give a number that depends on the text alone (``hash`` changes with every process)."""
    import zlib

    return zlib.crc32(text.encode())


def _axes(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def _labels(axis: Any, positions: Any, names: list[str], which: str) -> None:
    setter = axis.set_yticks if which == "y" else axis.set_xticks
    # a dollar sign in a name must not start a formula
    setter(positions, [shortened(n) for n in names], parse_math=False)


def prior_bars(finding: Finding, names: tuple[str, str]) -> str:
    """Class shares of both sides side by side.

    Parameters
    ----------
    finding : Finding
        The answer about Y, with class shares in its details.
    names : tuple of str
        Names of source and target.

    Returns
    -------
    str
        SVG, empty when there are no shares.
    """
    details = finding.details
    if "source_prior" not in details:
        return ""
    a, b = np.asarray(details["source_prior"]), np.asarray(details["target_prior"])
    top = np.sort(np.argsort(-(a + b), kind="stable")[:MOST_BARS])
    with matplotlib.rc_context(STYLE):
        figure, axis = _axes(4.8, 2.4)
        x = np.arange(top.size)
        axis.bar(x - 0.2, a[top], 0.4, color=SOURCE, label=shortened(names[0]))
        errors = details.get("target_prior_standard_error")
        n = details.get("n_target", 0)
        spread = (
            np.asarray(errors)[top] if errors is not None else np.sqrt(b[top] * (1 - b[top]) / n)
        )
        low = np.minimum(1.96 * spread, b[top])
        axis.bar(
            x + 0.2,
            b[top],
            0.4,
            color=TARGET,
            label=shortened(names[1]),
            yerr=[low, 1.96 * spread],
            error_kw={"lw": 1},
        )
        _labels(axis, x, [str(details["classes"][i]) for i in top], "x")
        if max(len(str(details["classes"][i])) for i in top) > 6:
            axis.tick_params(axis="x", rotation=30)
        axis.set_ylabel("share of rows")
        legend = axis.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
        for text in legend.get_texts():
            text.set_parse_math(False)
        return _svg(figure, "Class shares of source and target with 95% intervals")


def effect_bars(features: list[FeatureShift]) -> str:
    """Size of the difference of every column, largest first.

    Parameters
    ----------
    features : list of FeatureShift
        Records of the columns; at most 20 are drawn.

    Returns
    -------
    str
        SVG, empty when no column was tested.
    """
    shown = [f for f in features if f.effect is not None][:MOST_BARS][::-1]
    if not shown:
        return ""
    with matplotlib.rc_context(STYLE):
        figure, axis = _axes(4.8, 0.9 + 0.24 * len(shown))
        y = np.arange(len(shown))
        colours = ["#b03030" if f.status == "differs" else "#b9bdc1" for f in shown]
        axis.barh(y, [f.effect for f in shown], color=colours)
        _labels(axis, y, [f.feature for f in shown], "y")
        axis.set_xlim(0, 1)
        axis.set_xlabel("distance between the distributions (red: differs)")
        return _svg(figure, "Distance between source and target in each column")


def feature_overlay(record: FeatureShift) -> str:
    """Draw both distributions of one column over each other.

    Parameters
    ----------
    record : FeatureShift
        Record with a histogram or shares in its details.

    Returns
    -------
    str
        SVG, empty when there is nothing to draw.
    """
    histogram, shares = record.details.get("histogram"), record.details.get("shares")
    if not histogram and not shares:
        return ""
    with matplotlib.rc_context(STYLE):
        figure, axis = _axes(3.4, 2.1)
        if histogram:
            for side, colour in (("source", SOURCE), ("target", TARGET)):
                axis.stairs(
                    np.asarray(histogram[side]),
                    histogram["edges"],
                    fill=True,
                    alpha=0.45,
                    color=colour,
                )
        elif shares:
            x = np.arange(len(shares["levels"][:6]))
            axis.bar(x - 0.2, shares["source"][:6], 0.4, color=SOURCE)
            axis.bar(x + 0.2, shares["target"][:6], 0.4, color=TARGET)
            _labels(axis, x, [shortened(str(v), 12) for v in shares["levels"][:6]], "x")
            axis.tick_params(axis="x", rotation=30)
        axis.set_title(shortened(record.feature, 32), fontsize=10, loc="left", parse_math=False)
        axis.set_yticks([])
        return _svg(figure, f"Distribution of {record.feature} in source and target")
