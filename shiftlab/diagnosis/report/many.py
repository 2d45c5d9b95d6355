"""Many comparisons in the terminal and as a page: a heat table or a drift curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from shiftlab.diagnosis.marginal import MINIMUM_AUC
from shiftlab.diagnosis.report.html import _environment
from shiftlab.diagnosis.report.plots import SOURCE, TARGET
from shiftlab.diagnosis.report.svg import Plot, Scale
from shiftlab.diagnosis.report.words import p_value, shortened, span

if TYPE_CHECKING:
    from shiftlab.diagnosis.comparison import Comparison, ManyDiagnosis

__all__ = ["drift_curve", "fragment", "heat", "page", "render"]

LINES = 200
WIDTH, HEIGHT, LEFT, BOTTOM = 420, 220, 40, 178
REFERENCE = "#e3e8ec"
INK = "#1c2126"
_PALE, _STRONG = (255, 255, 255), (209, 114, 43)  # white to the target's colour


def heat(effect: float | None) -> str:
    """Colour an AUC: white where the two cannot be told apart, orange where they always can.

    The darkest of the colours is light enough for dark text (a contrast above 4.5 to 1).

    Parameters
    ----------
    effect : float or None
        AUC; None is gray.

    Returns
    -------
    str
        ``#rrggbb``.

    Examples
    --------
    >>> heat(0.5), heat(1.0)
    ('#ffffff', '#d1722b')
    """
    if effect is None:
        return "#eceef0"
    share = min(1.0, max(0.0, 2 * effect - 1))
    mixed = (round(a + share * (b - a)) for a, b in zip(_PALE, _STRONG, strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)


def drift_curve(many: ManyDiagnosis) -> str:
    """Draw the AUC of every window against the reference, with its 95% interval.

    Parameters
    ----------
    many : ManyDiagnosis
        Along a column.

    Returns
    -------
    str
        SVG, empty where no window has an AUC.
    """
    place = {w.name: i for i, w in enumerate(many.windows)}
    sizes = {place[c.target]: c for c in many.comparisons if c.effect is not None and c.interval}
    if not sizes:
        return ""
    ends = [end for c in sizes.values() for end in c.interval or ()]
    plot = Plot(WIDTH, HEIGHT, f"Drift along {many.by}: AUC of each window against the reference")
    x = Scale(-0.5, len(place) - 0.5, LEFT, WIDTH - 6)
    y = Scale(min(0.45, *ends), max(0.65, *ends), BOTTOM, 12)
    if many.reference in place:
        left, right = (x(place[many.reference] + shift) for shift in (-0.4, 0.4))
        plot.bar(left, 12, right - left, BOTTOM - 12, REFERENCE)
    plot.axis(y, LEFT, WIDTH - 6, upright=True, percent=False)
    plot.line(LEFT, y(0.5), WIDTH - 6, y(0.5), "zero")
    for run in _runs(sorted(sizes)):
        upper = [(x(i), y(sizes[i].interval[1])) for i in run]  # type: ignore[index]
        lower = [(x(i), y(sizes[i].interval[0])) for i in run]  # type: ignore[index]
        corners = "L".join(f"{a:.1f} {b:.1f}" for a, b in upper + lower[::-1])
        plot.marks.append(f'<path d="M{corners}Z" fill="{SOURCE}" fill-opacity=".2"/>')
        plot.curve([(x(i), y(sizes[i].effect or 0.0)) for i in run], SOURCE)
    for i, c in sizes.items():
        low, high = c.interval or (0.0, 0.0)
        plot.marks.append(f'<path stroke="{SOURCE}" d="M{x(i):.1f} {y(low):.1f}V{y(high):.1f}"/>')
        at = (x(i), y(c.effect or 0.0))
        plot.points([at], TARGET if c.differs else SOURCE, 10 if c.differs else 6)
        if not c.differs:
            plot.points([at], "#ffffff", 3)
    most = max(1, (len(place) - 1) // 3)
    for i in range(0, len(place), most):
        start = many.windows[i].span.split(" to ")[0]
        # the outer labels keep inside the drawing
        if i == 0:
            plot.name(LEFT, BOTTOM + 15, start, 12, "start", kind="tick")
        elif i == len(place) - 1:
            plot.name(WIDTH - 2, BOTTOM + 15, start, 12, "end", kind="tick")
        else:
            plot.name(x(i), BOTTOM + 15, start, 12, "middle", kind="tick")
    plot.name((LEFT + WIDTH) / 2, BOTTOM + 31, f"start of the window: {many.by}", 50, "middle")
    return str(plot)


def _runs(places: list[int]) -> list[list[int]]:
    """Split at gaps: the reference itself, and windows without an AUC."""
    runs: list[list[int]] = []
    for i in places:
        if runs and runs[-1][-1] == i - 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    return runs


def fragment(many: ManyDiagnosis, level: int = 2) -> str:
    """Render the inner part: styles that reach only into it, and one section.

    Parameters
    ----------
    many : ManyDiagnosis
        What to show.
    level : int, default=2
        Level of the verdict's heading.

    Returns
    -------
    str
    """
    # the curve is made here from numbers and escaped names; all else is escaped by Jinja
    return (
        _environment()
        .get_template("many.html.j2")
        .render(
            m=many,
            rows=_matrix(many) if many.reference is None else [],
            curve=Markup(drift_curve(many)) if many.by else "",
            lines=many.comparisons[:LINES],
            heat=heat,
            ink=INK,
            colours=(SOURCE, TARGET, REFERENCE),
            minimum=MINIMUM_AUC,
            span=span,
            level=level,
        )
    )


def page(many: ManyDiagnosis) -> str:
    """Render the whole page.

    Parameters
    ----------
    many : ManyDiagnosis
        What to show.

    Returns
    -------
    str
    """
    title = (
        shortened(f"Drift along {many.by}", 60)
        if many.by
        else f"{len(many.names)} domains compared"
    )
    template = _environment().get_template("many_page.html.j2")
    return template.render(title=title, inner=Markup(fragment(many, level=1)))


def _matrix(many: ManyDiagnosis) -> list[tuple[str, list[Comparison | None], str]]:
    """One line for each domain: its comparison with every domain, and its nearest."""
    return [
        (
            name,
            [None if other == name else many.between(name, other) for other in many.names],
            _other(many.nearest(name)[0], name),
        )
        for name in many.names
    ]


def _other(comparison: Comparison, name: str) -> str:
    return comparison.source if comparison.target == name else comparison.target


def render(many: ManyDiagnosis) -> RenderableType:
    """Build what rich prints.

    Parameters
    ----------
    many : ManyDiagnosis
        What to show.

    Returns
    -------
    RenderableType
    """
    title = f"drift along {many.by}" if many.by else f"{len(many.names)} domains"
    verdict = Text(many.verdict, style="bold")
    parts: list[RenderableType] = [
        Panel(verdict, title=Text(title), title_align="left"),
        _comparisons(many),
    ]
    if many.reference is None:
        for name in many.names:
            near = many.nearest(name)[0]
            size = "" if near.effect is None else f" (AUC {near.effect:.2f})"
            parts.append(
                Text.assemble("nearest to ", (name, "bold"), f": {_other(near, name)}{size}")
            )
    parts.append(Text("\nWhat was left out, and what this cannot say", style="bold"))
    parts += [Text(f"- {line}") for line in (*many.notes, *many.limits)]
    return Group(*parts)


def _comparisons(many: ManyDiagnosis) -> Table:
    table = Table(title="Comparisons", title_justify="left")
    headings = ("window", "from", "to", "rows") if many.by else ("source", "target")
    for heading in (*headings, "answer", "AUC", "95% interval", "p adjusted", "columns that moved"):
        numeric = heading in ("rows", "AUC", "p adjusted")
        table.add_column(heading, justify="right" if numeric else "left")
    for c in many.comparisons:
        cells: list[Any] = [Text(shortened(c.source)), Text(shortened(c.target))]
        if c.window is not None:
            ends = (v if isinstance(v, str) else f"{v:.6g}" for v in (c.window.start, c.window.end))
            cells = [c.window.name.removeprefix("window "), *ends, f"{c.window.n_rows:,}"]
        cells += [
            Text(c.answer, style="bold red" if c.differs else ""),
            "" if c.effect is None else f"{c.effect:.2f}",
            "" if c.interval is None else span(c.interval, "{:.2f}".format),
            "" if c.p_adjusted is None else p_value(c.p_adjusted),
            Text(c.where),
        ]
        table.add_row(*cells)
    return table
