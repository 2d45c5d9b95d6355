"""Put a study of tables into words and into its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shiftlab.experiments.readme import replace_block
from shiftlab.experiments.tables import markdown_header
from shiftlab.experiments.tabular import cell_ids
from shiftlab.experiments.tabular_settings import CEILING, FLOOR, TabularStudy
from shiftlab.experiments.tabular_tables import (
    Cell,
    accuracies_table,
    cells_of,
    groups,
    pairs_table,
    summarise_pairs,
    to_csv,
)
from shiftlab.files import write_atomically

__all__ = ["tabular_block", "write_tabular"]

_MANY = 5
_WORTH = 0.5  # points; less is not worth a sentence


def write_tabular(
    study: TabularStudy, rows: Sequence[Mapping[str, Any]], folder: Path
) -> list[Path]:
    """Rewrite ``results.csv`` and the tables in ``README.md`` of a study's folder.

    Parameters
    ----------
    study : TabularStudy
        What was run.
    rows : sequence of mapping
        Lines of its results store.
    folder : Path
        With a ``README.md`` that holds the two markers.

    Returns
    -------
    list of Path
        The two files.

    Raises
    ------
    ValueError
        If there are no results, they are on different data, or a marker is missing.
    FileNotFoundError
        If there is no such README.
    """
    cells = cells_of(study, rows)
    wanted = {cell.settings for cell in cells}
    used = next(row for row in rows if row["settings"] in wanted)
    readme = replace_block(folder / "README.md", tabular_block(study, cells, used["data"]))
    return [readme, write_atomically(folder / "results.csv", to_csv(cells, used["data"]))]


def tabular_block(study: TabularStudy, cells: Sequence[Cell], data: str) -> str:
    """Write what a study found, as Markdown.

    Parameters
    ----------
    study : TabularStudy
        What was run.
    cells : sequence of Cell
        What came out.
    data : str
        Signature of the data.

    Returns
    -------
    str
        Sentences and tables.
    """
    by_kind = study.control is None
    lines: list[str] = []
    for (protocol, base), found in groups(cells).items():
        lines += [f"### {protocol}, {base}", ""]
        if by_kind:
            lines += [f"- {sentence}" for sentence in _kinds_in_words(found)]
            lines += ["", accuracies_table(found, gains=True), ""]
        else:
            lines += [*_pairs_in_words(found, study.control), ""]
            lines += [pairs_table(found, study.control), ""]
            lines += ["Accuracy by pair, in percent:", "", accuracies_table(found, gains=False), ""]
    lines += _published(study, cells) + _troubles(cells)
    expected = len(cell_ids(study)) * len(study.pairs) * study.seeds
    done = sum(cell.seeds + cell.errors for cell in cells)
    unfinished = f" {expected - done} of {expected:,} results are not there yet." * (
        done < expected
    )
    seeds = f"{study.seeds} seed" + "s" * (study.seeds > 1)
    lines.append(f"Data: `{data}`; {done:,} results, {seeds}.{unfinished}")
    if study.absent:
        lines += ["", f"Not in this version: {', '.join(study.absent)}."]
    return "\n".join(lines)


def _pairs_in_words(cells: Sequence[Cell], control: str | None) -> list[str]:
    summaries = summarise_pairs(cells, control)
    total = len({cell.pair for cell in cells})
    whole = [s for s in summaries if s.pairs == total]
    marks = [f"{s.method} {s.mean:.3f}" for s in whole if s.method in (FLOOR, control, CEILING)]
    adapters = [s for s in whole if s.method not in (FLOOR, control, CEILING)]
    if not adapters:
        return [f"{'; '.join(marks)}."]
    best = max(adapters, key=lambda s: s.mean)
    text = f"{'; '.join(marks)}. The best adapter is {best.method} with {best.mean:.3f}"
    if best.control is not None:
        text += (
            f": {best.control.points:+.1f} points to {control}, standard deviation "
            f"{best.control.std:.1f}, ahead on {best.wins} of {best.control.n} pairs (the best of "
            f"{len(adapters)}, so its lead is an optimistic one)"
        )
    below = sorted((s.gain, s.method) for s in adapters if round(s.gain, 1) < 0)
    text += f". Below source-only on average: {_list(below) if below else 'none'}."
    return [text]


def _kinds_in_words(cells: Sequence[Cell]) -> list[str]:
    sentences = []
    for kind in dict.fromkeys(cell.target for cell in cells):
        found = [c for c in cells if c.target == kind and c.whole and c.gain is not None]
        floor = next((c.mean for c in found if c.method == FLOOR), None)
        methods = [c for c in found if c.method not in (FLOOR, CEILING)]
        clear = [(c.gain.points, c.method) for c in methods if c.gain is not None and c.gain.clear]
        up = sorted((g for g in clear if g[0] >= _WORTH), reverse=True)
        down = sorted(g for g in clear if g[0] <= -_WORTH)
        start = f"**{kind}** (source-only {floor:.3f})" if floor is not None else f"**{kind}**"
        helps = f"helped by {_list(up)}" if up else "helped by nothing"
        harms = f"harmed by {_list(down)}" if down else "harmed by nothing"
        sentences.append(f"{start}: {helps}; {harms}.")
    return sentences


def _list(found: Sequence[tuple[float, str]]) -> str:
    text = ", ".join(f"{name} {points:+.1f}" for points, name in found[:_MANY])
    return text + (f" and {len(found) - _MANY} more" if len(found) > _MANY else "")


def _published(study: TabularStudy, cells: Sequence[Cell]) -> list[str]:
    """Published averages beside ours; a method that failed on a pair has no average."""
    if not study.published:
        return []
    columns = groups(cells)
    head = [f"{protocol}, {base}" for protocol, base in columns]
    lines = ["### Published averages", "", *markdown_header(["method", "published", "ours", *head])]
    means = []
    for found in columns.values():
        total = len({cell.pair for cell in found})
        summaries = summarise_pairs(found, study.control)
        means.append({s.method: f"{100 * s.mean:.1f}" for s in summaries if s.pairs == total})
    for row in study.published:
        ours = [found.get(row.ours, "") for found in means]
        values = [row.name, f"{row.average:.1f}", row.ours, *ours]
        lines.append("| " + " | ".join(values) + " |")
    return [*lines, ""]


def _troubles(cells: Sequence[Cell]) -> list[str]:
    """What failed and what warned, with the first message of each method."""
    failed = [(c.method, c.errors, c.message) for c in cells if c.errors]
    warned = [(c.method, c.warned, c.warnings[0]) for c in cells if c.warnings]
    lines: list[str] = []
    for title, found in (("Failed", failed), ("Warned", warned)):
        totals: dict[str, int] = {}
        said: dict[str, str] = {}
        for method, count, message in found:
            totals[method] = totals.get(method, 0) + count
            said.setdefault(method, message.replace("|", "\\|"))
        if totals:
            lines += [f"### {title}", "", *markdown_header(["method", "results", "for example"])]
            lines += [f"| {name} | {totals[name]} | {said[name]} |" for name in totals]
            lines.append("")
    return lines
