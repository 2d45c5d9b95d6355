"""A diagnosis in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from shiftlab.diagnosis.explanation import Explanation
from shiftlab.diagnosis.findings import QUESTIONS, FeatureShift, Finding
from shiftlab.diagnosis.report.words import (
    answer,
    judged,
    moved,
    number,
    p_value,
    ratio,
    share,
    shortened,
    span,
    tidy,
)

if TYPE_CHECKING:
    from shiftlab.diagnosis.result import Diagnosis

__all__ = ["render"]

COLOURS = {
    "differs": "bold red",
    "no_evidence": "green",
    "not_testable": "yellow",
    "settled": "dim",
}
FEATURES = 10
REGIONS = 3
LABELS = 8


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
    title = Text(
        f"{shortened(diagnosis.source_name)} ({diagnosis.n_source:,} rows) -> "
        f"{shortened(diagnosis.target_name)} ({diagnosis.n_target:,} rows)"
    )
    verdict = Panel(Text(diagnosis.verdict, style="bold"), title=title, title_align="left")
    parts: list[RenderableType] = [verdict]
    if diagnosis.explanation.performance:
        summary = diagnosis.explanation.performance.summary
        parts += [_heading("What it costs"), Text(tidy(summary))]
    parts += [_heading("Evidence"), _evidence(diagnosis)]
    shown = [f for f in diagnosis.features if f.status == "differs"][:FEATURES]
    if shown:
        parts.append(_heading(f"Columns that differ (of {len(diagnosis.features)})"))
        parts.append(_features(shown))
    parts += _explained(diagnosis.explanation)
    parts.append(_heading("What to do"))
    for i, r in enumerate(diagnosis.recommend(), 1):
        parts.append(Text.assemble(f"{i}. ", (r.method, "bold"), f": {r.reason}"))
        parts.append(Text(f"   {r.code}", style="dim"))
    if diagnosis.limits or diagnosis.notes:
        parts.append(_heading("What this cannot say, and what was left out"))
        lines = (*diagnosis.limits, *diagnosis.notes)
        parts += [Text(f"- {shortened(line, 600)}") for line in lines]
    return Group(*parts)


def _heading(words: str) -> Text:
    return Text(f"\n{words}", style="bold")


def _evidence(diagnosis: Diagnosis) -> Table:
    table = Table(expand=True, show_edge=False, pad_edge=False, padding=(0, 1))
    table.add_column("question", ratio=3)
    table.add_column("answer", min_width=10, max_width=13)
    table.add_column("what was seen", ratio=6)
    for question, finding in diagnosis.findings.items():
        table.add_row(
            Text(QUESTIONS.get(question, question)),
            Text(answer(finding), style=COLOURS[judged(finding)]),
            Text(_seen(finding)),
            end_section=True,
        )
    return table


def _seen(finding: Finding) -> str:
    summary = shortened(finding.summary, 600)
    if finding.interval is None or finding.effect is None:
        return summary
    return f"{summary} [{number(finding.effect)}; 95% interval {span(finding.interval)}]"


def _features(shown: list[FeatureShift]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("column", "distance", "corrected p", "note"):
        right = heading in ("distance", "corrected p")
        table.add_column(heading, justify="right" if right else "left")
    for record in shown:
        table.add_row(
            Text(shortened(record.feature)),
            f"{record.effect:.2f}" if record.effect is not None else "",
            p_value(record.p_adjusted) if record.p_adjusted is not None else "",
            Text(moved(record)),
        )
    return table


def _explained(explanation: Explanation) -> list[RenderableType]:
    """Regions that differ, and which labels would settle what is open."""
    parts: list[RenderableType] = []
    regions = [r for r in explanation.regions if r.status == "differs"][:REGIONS]
    if regions:
        parts.append(_heading("Regions with more or fewer rows of the target"))
    for region in regions:
        shares = f"{share(region.source_share)} -> {share(region.target_share)} of the rows"
        parts.append(Text(f"- {shortened(region.rule, 120)}: {shares} ({ratio(region)})"))
    if explanation.plan:
        parts += [_heading("What labels would settle"), Text(tidy(explanation.plan.summary))]
        rows = explanation.plan.rows[:LABELS]
        if rows:
            more = ", ..." if len(explanation.plan.rows) > len(rows) else ""
            listed = ", ".join(map(str, rows)) + more
            parts.append(Text(f"Label these rows first (counted from 0): {listed}"))
    return parts
