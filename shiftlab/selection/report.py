"""The result of `adapt` in the terminal and as one self-contained page."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from shiftlab.selection.result import AdaptationResult, Candidate

__all__ = ["fragment", "page", "render"]

BINS = 5


def fragment(result: AdaptationResult, level: int = 2) -> str:
    """Render the inner part: the decision, what was tried, and the diagnosis.

    Parameters
    ----------
    result : AdaptationResult
        What to show.
    level : int, default=2
        Level of the first heading.

    Returns
    -------
    str
    """
    from shiftlab.diagnosis.report.html import fragment as diagnosis

    css = files("shiftlab.diagnosis.report").joinpath("templates", "diagnosis.css")
    head, rows = predicted(result)
    return (
        _environment()
        .get_template("adaptation.html.j2")
        .render(
            r=result,
            level=level,
            verdict=verdict(result),
            decision=result.sentence(),
            gain=gain,
            head=head,
            rows=rows,
            # both are ours: a style sheet, and a fragment that is escaped already
            css=Markup(css.read_text(encoding="utf-8")),
            diagnosis=Markup(diagnosis(result.diagnosis, level=level + 1)),
        )
    )


def page(result: AdaptationResult) -> str:
    """Render the whole page.

    Parameters
    ----------
    result : AdaptationResult
        What to show.

    Returns
    -------
    str
    """
    template = _environment().get_template("page.html.j2")
    return template.render(r=result, inner=Markup(fragment(result, level=1)))


def render(result: AdaptationResult) -> RenderableType:
    """Build what rich prints.

    Parameters
    ----------
    result : AdaptationResult
        What to show.

    Returns
    -------
    RenderableType
    """
    d = result.diagnosis
    title = Text(f"{d.source_name} ({d.n_source:,} rows) -> {d.target_name} ({d.n_target:,} rows)")
    parts: list[RenderableType] = [
        Panel(Text(verdict(result), style="bold"), title=title, title_align="left"),
        Text(result.sentence()),
        Text(result.expected(), style="bold"),
        *(Text(caution, style="red") for caution in result.cautions),
    ]
    table = Table(box=None, pad_edge=False)
    for name in ("candidate", "status", "gain", "why"):
        table.add_column(name, overflow="fold")
    for c in result.candidates:
        style = "bold" if c.name == result.chosen else ""
        table.add_row(c.name, c.status, gain(c), c.why, style=style)
    return Group(*parts, Text(""), table, Text(""), Text(f"Shift: {d.verdict}"))


def verdict(result: AdaptationResult) -> str:
    """Say in a few words what predicts."""
    return (
        "Keep the source-only model"
        if result.chosen == "source-only"
        else f"Adapt with {result.chosen}"
    )


def gain(candidate: Candidate) -> str:
    """Return a candidate's gain in points, with its interval."""
    if candidate.gain is None:
        return ""
    shown = f"{100 * candidate.gain:+.1f}"
    if candidate.interval is None:
        return shown
    low, high = (100 * v for v in candidate.interval)
    return f"{shown} ({low:+.1f} to {high:+.1f})"


def predicted(result: AdaptationResult) -> tuple[list[str], list[list[str]]]:
    """Sum up the predictions: shares of the classes, or ranges of the numbers."""
    answers = result.predictions
    if result.classes is None:
        counts, edges = np.histogram(answers.astype(np.float64), bins=BINS)
        ranges = zip(edges[:-1], edges[1:], counts, strict=True)
        return ["Predicted", "Rows"], [[f"{a:.4g} to {b:.4g}", f"{n:,}"] for a, b, n in ranges]
    rows = []
    for k, name in enumerate(result.classes):
        mine = answers == name
        sure = (
            f"{result.probabilities[mine, k].mean():.0%}"
            if result.probabilities is not None and mine.any()
            else ""
        )
        rows.append([str(name), f"{mine.sum():,}", f"{mine.mean():.1%}", sure])
    return ["Predicted class", "Rows", "Share", "Mean probability"], rows


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("shiftlab.selection", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
