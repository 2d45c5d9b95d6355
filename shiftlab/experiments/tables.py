"""Tables of results: mean and standard deviation over seeds, as rows, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shiftlab.experiments.settings import DIGIT_DOMAINS

__all__ = [
    "Entry",
    "choose_study",
    "group_studies",
    "in_domain",
    "markdown_header",
    "markdown_in_domain",
    "markdown_table",
    "mean_and_std",
    "method_means",
    "read_cells",
    "summarise",
    "to_csv",
    "with_known",
]

_COLUMNS = (
    *("source", "target", "method", "mean", "std", "seeds", "n_test", "stand_in"),
    *("settings", "data"),
)
_CELL = ("source", "target", "method", "seed")
_FIRST, _LAST = "source-only", "target-supervised"


@dataclass(frozen=True)
class Entry:
    """One number of a table.

    Parameters
    ----------
    source, target, method : str
        Which cell.
    mean : float
        Mean accuracy over seeds.
    std : float or None
        Standard deviation over seeds (divisor ``n - 1``); None with a single seed.
    n_seeds : int
        How many seeds.
    stand_in : bool
        Whether images of the source or the target are stand-ins.
    """

    source: str
    target: str
    method: str
    mean: float
    std: float | None
    n_seeds: int
    stand_in: bool

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.std is None else f"{self.mean:.3f} ± {self.std:.3f}"


def group_studies(
    rows: Iterable[Mapping[str, Any]],
) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """Separate results that must not stand in one table.

    Parameters
    ----------
    rows : iterable of mapping
        Lines of a results store.

    Returns
    -------
    dict of (str, str) to list
        By hash of the settings and kinds of data, in the order of first appearance.
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((str(row["settings"]), str(row["data"])), []).append(row)
    return groups


def choose_study(rows: Sequence[Mapping[str, Any]], settings: str | None) -> list[dict[str, Any]]:
    """Return the results of one study out of a folder that may hold several.

    Parameters
    ----------
    rows : sequence of mapping
        Lines of a results store.
    settings : str or None
        Hash of the settings that are wanted; None where there is only one.

    Returns
    -------
    list of dict

    Raises
    ------
    ValueError
        If there are no results, none of these settings, or several studies to choose from.
    """
    groups = group_studies(rows)
    if not groups:
        raise ValueError("there are no results yet; run the study first")
    kept = {key: found for key, found in groups.items() if settings in (None, key[0])}
    if len(kept) == 1:
        return [dict(row) for row in next(iter(kept.values()))]
    choices = "; ".join(f"{key[0]} ({len(found)} cells, {key[1]})" for key, found in groups.items())
    if not kept:
        raise ValueError(f"no results of study {settings!r}; there are {choices}")
    raise ValueError(f"results of several studies, which do not go into one table: {choices}")


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """Average over seeds.

    Parameters
    ----------
    rows : sequence of mapping
        Results of one study: the same settings and kinds of data.

    Returns
    -------
    list of Entry
        Sorted by source, target (in the order of Digit-5) and method.

    Raises
    ------
    ValueError
        If the rows are of more than one study.

    Examples
    --------
    >>> from shiftlab.experiments.tables import summarise
    >>> cell = {"source": "mnist", "target": "usps", "method": "coral", "settings": "s",
    ...         "data": "d", "source_stand_in": False, "target_stand_in": False}
    >>> print(summarise([{**cell, "accuracy": 0.8}, {**cell, "accuracy": 0.9}])[0])
    0.850 ± 0.071
    """
    if len(group_studies(rows)) > 1:
        raise ValueError(
            "these results are of different settings or data; give those of one study "
            "(group_studies separates them)"
        )
    cells: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        cells.setdefault((row["source"], row["target"], row["method"]), []).append(row)
    entries = []
    for (source, target, method), found in cells.items():
        mean, std = mean_and_std([float(row["accuracy"]) for row in found])
        stand_in = any(row["source_stand_in"] or row["target_stand_in"] for row in found)
        entries.append(Entry(source, target, method, mean, std, len(found), stand_in))
    return sorted(entries, key=_place)


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Return mean and standard deviation (divisor ``n - 1``); None for a single value."""
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def _domain_place(name: str) -> tuple[int, str]:
    known = DIGIT_DOMAINS.index(name) if name in DIGIT_DOMAINS else len(DIGIT_DOMAINS)
    return known, name


def _method_place(name: str) -> tuple[int, str]:
    return {_FIRST: 0, _LAST: 2}.get(name, 1), name


def _place(entry: Entry) -> tuple[Any, ...]:
    return (
        _domain_place(entry.source),
        _domain_place(entry.target),
        _method_place(entry.method),
    )


def methods_of(entries: Iterable[Entry]) -> list[str]:
    """Return the methods, source-only first and target-supervised last."""
    return sorted({e.method for e in entries}, key=_method_place)


def method_means(
    rows: Sequence[Mapping[str, Any]],
) -> list[tuple[str, float, float | None]]:
    """Average each method over all pairs, and give the spread of that average over seeds.

    Only pairs and seeds that every method has are counted, so that an unfinished grid
    compares like with like. A pair counts once, however many seeds it has.

    Parameters
    ----------
    rows : sequence of mapping
        Results of one study.

    Returns
    -------
    list of (str, float, float or None)
        Method, mean, and standard deviation of the means of the seeds that have all these pairs
        (None where fewer than two have).
    """
    by_method: dict[str, dict[tuple[str, str, int], float]] = {}
    for row in rows:
        cell = (row["source"], row["target"], int(row["seed"]))
        by_method.setdefault(row["method"], {})[cell] = float(row["accuracy"])
    if not by_method:
        return []
    shared = set.intersection(*(set(cells) for cells in by_method.values()))
    pairs = {(source, target) for source, target, _ in shared}
    out = []
    for method in sorted(by_method, key=_method_place) if shared else []:
        by_pair: dict[tuple[str, str], list[float]] = {pair: [] for pair in sorted(pairs)}
        by_seed: dict[int, list[float]] = {}
        for source, target, seed in sorted(shared):
            accuracy = by_method[method][source, target, seed]
            by_pair[source, target].append(accuracy)
            by_seed.setdefault(seed, []).append(accuracy)
        mean, _ = mean_and_std([mean_and_std(values)[0] for values in by_pair.values()])
        whole = [mean_and_std(v)[0] for v in by_seed.values() if len(v) == len(pairs)]
        out.append((method, mean, mean_and_std(whole)[1] if whole else None))
    return out


def in_domain(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[float, float | None, int]]:
    """Read in-domain accuracy off the target-supervised results.

    Parameters
    ----------
    rows : iterable of mapping
        Results of one study. The rows of one target and seed are the same network on the
        same images, whatever the source; they count once.

    Returns
    -------
    dict of str to (mean, standard deviation or None, number of seeds)
        By domain.
    """
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["method"] == _LAST:
            found.setdefault(row["target"], {})[int(row["seed"])] = float(row["accuracy"])
    return {
        name: (*mean_and_std(list(found[name].values())), len(found[name]))
        for name in sorted(found, key=_domain_place)
    }


def _number(mean: float, std: float | None) -> str:
    return f"{mean:.3f}" if std is None else f"{mean:.3f} ± {std:.3f}"


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write one line a pair and one column a method, and the mean over pairs.

    Parameters
    ----------
    rows : sequence of mapping
        Results of one study.

    Returns
    -------
    str
        A Markdown table. An asterisk marks a domain of stand-ins; a dash a missing cell.
    """
    entries = summarise(rows)
    methods = methods_of(entries)
    stand_ins = stand_in_domains(rows)
    found = {(e.source, e.target, e.method): e for e in entries}
    lines = markdown_header(["source", "target", *methods])
    for source, target in dict.fromkeys((e.source, e.target) for e in entries):
        cells = [str(found.get((source, target, m), "-")) for m in methods]
        names = [n + ("*" if n in stand_ins else "") for n in (source, target)]
        lines.append("| " + " | ".join([*names, *cells]) + " |")
    means = {m: _number(mean, std) for m, mean, std in method_means(rows)}
    cells = [f"**{means[m]}**" if m in means else "-" for m in methods]
    lines.append("| " + " | ".join(["**mean**", "", *cells]) + " |")
    return "\n".join(lines)


def markdown_in_domain(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the in-domain accuracies as a Markdown table."""
    stand_ins = stand_in_domains(rows)
    found = in_domain(rows)
    lines = markdown_header([name + ("*" if name in stand_ins else "") for name in found])
    lines.append("| " + " | ".join(_number(mean, std) for mean, std, _ in found.values()) + " |")
    return "\n".join(lines)


def markdown_header(names: Sequence[str]) -> list[str]:
    """Return the first two lines of a Markdown table."""
    return ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]


def stand_in_domains(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the domains whose images are stand-ins."""
    found = set()
    for row in rows:
        found |= {row[side] for side in ("source", "target") if row[f"{side}_stand_in"]}
    return found


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the summary as CSV, one line a pair and method.

    Parameters
    ----------
    rows : sequence of mapping
        Results of one study.

    Returns
    -------
    str
        Columns source, target, method, mean, std (empty with one seed), seeds, n_test, stand_in
        (domains of the pair that are), settings, data; then one column a seed with its accuracy.
    """
    seeds = sorted({int(row["seed"]) for row in rows})
    single = {
        (row["source"], row["target"], row["method"], int(row["seed"])): float(row["accuracy"])
        for row in rows
    }
    n_test = {(row["source"], row["target"]): int(row["n_test"]) for row in rows}
    stand_ins = stand_in_domains(rows)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_COLUMNS, *(f"seed{seed}" for seed in seeds)])
    for e in summarise(rows):
        accuracies = [single.get((e.source, e.target, e.method, seed)) for seed in seeds]
        sides = [side for side in (e.source, e.target) if side in stand_ins]
        writer.writerow(
            [
                *(e.source, e.target, e.method, f"{e.mean:.6f}"),
                *("" if e.std is None else f"{e.std:.6f}", e.n_seeds),
                *(n_test[e.source, e.target], "+".join(sides)),
                *(rows[0]["settings"], rows[0]["data"]),
                *("" if a is None else f"{a:.6f}" for a in accuracies),
            ]
        )
    return out.getvalue()


def with_known(rows: Sequence[Mapping[str, Any]], text: str) -> list[dict[str, Any]]:
    """Add the results of a CSV of the same study that are not among these.

    Parameters
    ----------
    rows : sequence of mapping
        Results of one study, at least one.
    text : str
        What `to_csv` wrote. Lines of other settings or kinds of data are left out.

    Returns
    -------
    list of dict
        The rows, then those of the CSV: all that the tables need, without predictions and times.
    """
    of_study = {name: rows[0][name] for name in ("settings", "data", "protocol")}
    measured = {tuple(row[name] for name in _CELL) for row in rows}
    found = [dict(row) for row in rows]
    for cell, line in read_cells(text).items():
        if cell not in measured and all(line[n] == of_study[n] for n in ("settings", "data")):
            stand_ins = line["stand_in"].split("+")
            sides = {f"{s}_stand_in": line[s] in stand_ins for s in ("source", "target")}
            found.append({**dict(zip(_CELL, cell, strict=True)), **sides, **of_study})
            found[-1] |= {"n_test": int(line["n_test"]), "accuracy": float(line[f"seed{cell[3]}"])}
    return found


def read_cells(text: str) -> dict[tuple[str, str, str, int], dict[str, str]]:
    """Read which cells a CSV has.

    Parameters
    ----------
    text : str
        What `to_csv` wrote.

    Returns
    -------
    dict of (source, target, method, seed) to dict
        The line that a cell stands in.
    """
    lines = csv.DictReader(io.StringIO(text))
    seeds = [int(name[4:]) for name in lines.fieldnames or () if name[4:].isdigit()]
    return {
        (line["source"], line["target"], line["method"], seed): line
        for line in lines
        for seed in seeds
        if line[f"seed{seed}"]
    }
