"""A diagnosis in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from shiftlab.diagnosis.findings import QUESTIONS, FeatureShift, Finding

if TYPE_CHECKING:
    from shiftlab.diagnosis.result import Diagnosis

__all__ = ["render"]

COLOURS = {"differs": "bold red", "no_evidence": "green", "not_testable": "yellow"}
FEATURES = 10


def render(diagnosis: Diagnosis) -> RenderableType:
    """Build what rich prints.

    Parameters
    ----------
    diagnosis : Diagnosis
        What to show.

    Returns
    -------
    RenderableType
    """
    title = (
        f"{escape(diagnosis.source_name)} ({diagnosis.n_source:,} rows) -> "
        f"{escape(diagnosis.target_name)} ({diagnosis.n_target:,} rows)"
    )
    verdict = Panel(Text(diagnosis.verdict, style="bold"), title=title, title_align="left")
    parts: list[RenderableType] = [verdict, _evidence(diagnosis)]
    shown = [f for f in diagnosis.features if f.status == "differs"][:FEATURES]
    if shown:
        parts.append(_features(shown, len(diagnosis.features)))
    parts.append(Text("\nWhat to do", style="bold"))
    for i, r in enumerate(diagnosis.recommend(), 1):
        parts.append(Text.assemble(f"{i}. ", (r.method, "bold"), f": {r.reason}"))
        parts.append(Text(f"   {r.code}", style="dim"))
    if diagnosis.limits or diagnosis.notes:
        parts.append(Text("\nWhat this cannot say, and what was left out", style="bold"))
        parts += [Text(f"- {line}") for line in (*diagnosis.limits, *diagnosis.notes)]
    return Group(*parts)


def _evidence(diagnosis: Diagnosis) -> Table:
    table = Table(title="Evidence", title_justify="left", expand=True)
    table.add_column("question", ratio=3)
    table.add_column("answer", no_wrap=True)
    table.add_column("what was seen", ratio=6)
    for question, finding in diagnosis.findings.items():
        table.add_row(
            QUESTIONS[question],
            Text(finding.answer, style=COLOURS[finding.status]),
            Text(_seen(finding)),
        )
    return table


def _seen(finding: Finding) -> str:
    if finding.interval is None or finding.effect is None:
        return finding.summary
    low, high = finding.interval
    return f"{finding.summary} [{finding.effect:.3g}; 95% interval {low:.3g} to {high:.3g}]"


def _features(shown: list[FeatureShift], n: int) -> Table:
    table = Table(title=f"Columns that differ (of {n})", title_justify="left")
    for heading in ("column", "effect", "p adjusted", "note"):
        table.add_column(
            heading, justify="right" if heading in ("effect", "p adjusted") else "left"
        )
    for record in shown:
        table.add_row(
            Text(record.feature),
            f"{record.effect:.2f}" if record.effect is not None else "",
            f"{record.p_adjusted:.2g}" if record.p_adjusted is not None else "",
            Text(record.note or _moved(record)),
        )
    return table


def _moved(record: FeatureShift) -> str:
    before, after = (record.details.get(f"{s}_median") for s in ("source", "target"))
    if before is not None and after is not None:
        return f"median {before:.3g} -> {after:.3g}"
    shares = record.details.get("shares")
    if shares:
        level, a, b = shares["levels"][0], shares["source"][0], shares["target"][0]
        return f"'{level}' {a:.0%} -> {b:.0%}"
    return ""
