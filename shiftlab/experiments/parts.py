"""A study in parts that compare like with like: all pairs, pairs of every method, four sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shiftlab.experiments.settings import REST
from shiftlab.experiments.tables import (
    markdown_header,
    mean_and_std,
    methods_of,
    stand_in_domains,
    summarise,
)

__all__ = ["ByMethod", "Part", "by_method", "markdown_by_method", "split_parts"]

_FLOOR = "source-only"


@dataclass(frozen=True)
class Part:
    """Results that one table can hold.

    Parameters
    ----------
    title : str
        What they have in common.
    rows : list of mapping
        The results.
    """

    title: str
    rows: list[Mapping[str, Any]]


def split_parts(rows: Sequence[Mapping[str, Any]]) -> list[Part]:
    """Split a study by what was run on which pairs.

    Parameters
    ----------
    rows : sequence of mapping
        Results of one study, finished or not.

    Returns
    -------
    list of Part
        First the methods that have every pair that source-only has (all methods, where there is
        no source-only). Then, where some have fewer, the pairs that all have in common, with all
        methods. Last the results of four sources at once. A part without results is left out.

    Examples
    --------
    >>> from shiftlab.experiments.parts import split_parts
    >>> runs = [("usps", "source-only"), ("svhn", "source-only"), ("usps", "dann")]
    >>> rows = [{"source": "mnist", "target": t, "method": m} for t, m in runs]
    >>> [(part.title, len(part.rows)) for part in split_parts(rows)]
    [('All pairs', 2), ('Pairs that every method was run on', 2)]
    """
    single = [row for row in rows if row["source"] != REST]
    pairs: dict[str, set[tuple[str, str]]] = {}
    for row in single:
        pairs.setdefault(row["method"], set()).add((row["source"], row["target"]))
    wanted = pairs.get(_FLOOR, set())
    wide = {method for method, found in pairs.items() if found >= wanted}
    parts = [Part("All pairs", [row for row in single if row["method"] in wide])]
    if len(wide) < len(pairs):
        common = set.intersection(*pairs.values())
        shared = [row for row in single if (row["source"], row["target"]) in common]
        parts.append(Part("Pairs that every method was run on", shared))
    parts.append(Part("Four sources at once", [row for row in rows if row["source"] == REST]))
    return [part for part in parts if part.rows]


@dataclass(frozen=True)
class ByMethod:
    """A table with one line a method.

    Parameters
    ----------
    columns : list of str
        A pair each, then "mean".
    lines : list of (str, list of str)
        Method and cells, the best mean first; a dash where nothing was measured.
    """

    columns: list[str]
    lines: list[tuple[str, list[str]]]


def by_method(rows: Sequence[Mapping[str, Any]]) -> ByMethod:
    """Put the pairs side by side, for many methods on few pairs.

    Parameters
    ----------
    rows : sequence of mapping
        Results of a part.

    Returns
    -------
    ByMethod
        The mean over pairs stands where a method has them all. An asterisk marks stand-ins.
    """
    entries = summarise(rows)
    found = {(e.source, e.target, e.method): e for e in entries}
    pairs = list(dict.fromkeys((e.source, e.target) for e in entries))
    stand_ins = stand_in_domains(rows)
    lines = []
    for method in methods_of(entries):
        cells = [found.get((*pair, method)) for pair in pairs]
        means = [cell.mean for cell in cells if cell is not None]
        mean = mean_and_std(means)[0] if len(means) == len(pairs) else -1.0
        texts = [*(str(cell or "-") for cell in cells), f"{mean:.3f}" if mean >= 0 else "-"]
        lines.append((mean, method, texts))
    lines.sort(key=lambda line: -line[0])
    named = [[n + "*" * (n in stand_ins) for n in pair] for pair in pairs]
    return ByMethod(
        [*(f"{source} → {target}" for source, target in named), "mean"],
        [(method, texts) for _, method, texts in lines],
    )


def markdown_by_method(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write `by_method` as a Markdown table."""
    table = by_method(rows)
    lines = markdown_header(["method", *table.columns])
    lines += ["| " + " | ".join([method, *cells]) + " |" for method, cells in table.lines]
    return "\n".join(lines)
