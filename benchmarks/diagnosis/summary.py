"""From single runs to the committed tables: counts with exact intervals, and the README's text."""

from __future__ import annotations

import csv
import io
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cases import is_alarm, is_right, rest_is_right
from scipy.stats import binomtest

from shiftlab.experiments.readme import BEGIN, END
from shiftlab.files import write_atomically

Row = dict[str, Any]

QUESTIONS = {
    "marginal": "X",
    "prior": "Y",
    "class_conditional": "X within classes",
    "conditional": "Y at equal X",
    "label_fit": "label fit",
    "novelty": "new rows",
}
ALPHA = 0.05
LARGEST_LEVEL = 0.07


def share(hits: Iterable[bool]) -> Row:
    """k of n with the 95% Clopper-Pearson interval."""
    hits = list(hits)
    interval = binomtest(sum(hits), len(hits)).proportion_ci(0.95, method="exact")
    return {
        "k": sum(hits),
        "n": len(hits),
        "share": f"{sum(hits) / len(hits):.4f}",
        "low": f"{interval.low:.4f}",
        "high": f"{interval.high:.4f}",
    }


def grouped(rows: list[Row], *names: str) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in names)].append(row)
    return dict(sorted(groups.items(), key=lambda item: [str(part) for part in item[0]]))


def level_table(rows: list[Row]) -> list[Row]:
    table = []
    for (data, n, labels), group in grouped(rows, "data", "n", "labels").items():
        cell = {"data": data, "rows_a_side": n, "target_labels": "yes" if labels else "no"}
        measures = {"verdict": [is_alarm(r) for r in group]}
        measures["columns"] = [r["columns"] > 0 for r in group]
        for question in QUESTIONS:
            p = [r["p"][question] for r in group if question in r["p"]]
            # A p-value that is only reported after another rejection is no test of its own.
            if len(p) == len(group):
                measures[f"p {question}"] = [value <= ALPHA for value in p]
        table += [cell | {"measure": m} | share(hits) for m, hits in measures.items()]
    return _with_code(table, rows)


def power_table(rows: list[Row]) -> list[Row]:
    table = []
    names = ("labels", "severity", "kind", "data")
    for (labels, severity, kind, data), group in grouped(rows, *names).items():
        rest = [r for r in map(rest_is_right, group) if r is not None]
        verdicts = Counter(r["verdict"] for r in group).most_common()
        table.append(
            {
                "target_labels": "yes" if labels else "no",
                "severity": severity,
                "kind": kind,
                "family": data,
            }
            | share(is_right(r) for r in group)
            | {
                "rest_none": f"{sum(rest)}/{len(rest)}" if rest else "",
                "verdicts": " ".join(f"{verdict}:{count}" for verdict, count in verdicts),
                "feature_space_differs": sum(r["feature_space"] for r in group),
                "label_space_differs": sum(r["label_space"] for r in group),
                "seconds": f"{statistics.median(r['seconds'] for r in group):.2f}",
            }
        )
    return _with_code(table, rows)


def peers_table(rows: list[Row]) -> list[Row]:
    table = []
    names = ("family", "kind", "severity", "tool")
    for (family, kind, severity, tool), group in grouped(rows, *names).items():
        cell = {"family": family, "kind": kind, "severity": severity, "tool": tool}
        answered = [r for r in group if "error" not in r]
        errors = {
            "errors": len(group) - len(answered),
            "error": next((r["error"] for r in group if "error" in r), "").splitlines()[:1],
        }
        errors["error"] = "".join(errors["error"])
        seconds = {"seconds": f"{statistics.median(r['seconds'] for r in group):.2f}"}
        if not answered:
            table.append(cell | {"decision": "", "k": "", "n": len(group)} | errors | seconds)
            continue
        decisions: dict[str, Callable[[Row], bool]] = {
            name: (lambda r, name=name: bool(r["alarms"][name])) for name in answered[0]["alarms"]
        }
        if "type" in answered[0]:
            decisions["right type"] = lambda r, kind=kind: r["type"] == kind
        # Where a tool raised an error it gave no answer; its runs count as without alarm.
        for decision, hit in decisions.items():
            hits = ["error" not in r and hit(r) for r in group]
            table.append(cell | {"decision": decision} | share(hits) | errors | seconds)
    return _with_code(table, rows)


def speed_table(rows: list[Row]) -> list[Row]:
    table = []
    for (n, d, labels), group in grouped(rows, "n", "d", "labels").items():
        table.append(
            {
                "rows_a_side": n,
                "columns": d,
                "target_labels": "yes" if labels else "no",
                "runs": len(group),
                "cores": group[0]["cores"],
                "seconds": f"{statistics.median(r['seconds'] for r in group):.2f}",
                "seconds_largest": f"{max(r['seconds'] for r in group):.2f}",
                "peak_MB": max(r["peak_MB"] for r in group),
                "MB_before": max(r["MB_before"] for r in group),
            }
        )
    return _with_code(table, rows)


def _with_code(table: list[Row], rows: list[Row]) -> list[Row]:
    """Say by which state of the code the runs were made."""
    code = " ".join(sorted({str(r["code"]) for r in rows}))
    return [row | {"code": code} for row in table]


TABLES = {
    "level": level_table,
    "power": power_table,
    "peers": peers_table,
    "speed": speed_table,
}


def write_table(path: Path, table: list[Row]) -> None:
    names = list(dict.fromkeys(name for row in table for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_atomically(path, text.getvalue())


# -- the README -------------------------------------------------------------------------------


def update_readme(folder: Path) -> None:
    """Put what the committed CSV files say between the markers of the README."""
    tables = {}
    for part in (*TABLES, "real"):
        path = folder / f"{part}.csv"
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                tables[part] = list(csv.DictReader(file))
    writers = {
        "level": _level_text,
        "power": _power_text,
        "peers": _peers_text,
        "speed": _speed_text,
        "real": _real_text,
    }
    parts = [writers[part](table) for part, table in tables.items()]
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{readme} needs the lines {BEGIN} and {END}, in that order")
    write_atomically(readme, f"{before}{BEGIN}\n" + "\n\n".join(parts) + f"\n{END}{after}")


def markdown(header: list[str], lines: list[list[str]]) -> str:
    bar = ["---"] * len(header)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, bar, *lines])


def _percent(row: Row) -> str:
    return f"{100 * float(row['share']):.1f}%"


def _level_text(table: list[Row]) -> str:
    measures = ["verdict", "columns", *(f"p {q}" for q in QUESTIONS)]
    used = [m for m in measures if any(r["measure"] == m for r in table)]
    names = {"verdict": "verdict", "columns": "any column"} | {
        f"p {q}": words for q, words in QUESTIONS.items()
    }
    lines = []
    for (data, n, labels), group in grouped(table, "data", "rows_a_side", "target_labels").items():
        found = {r["measure"]: _percent(r) for r in group}
        lines.append([data, n, labels, *(found.get(m, "") for m in used)])
    over = [r for r in table if float(r["share"]) > LARGEST_LEVEL]
    counts = sorted({int(r["n"]) for r in table})
    worst = max(table, key=lambda r: float(r["share"]))
    ending = (
        f"{len(over)} of the {len(table)} shares lie above 7%"
        if over
        else f"None of the {len(table)} shares lies above 7%"
    )
    return (
        "### Level: false alarms on pairs that do not differ\n\n"
        f"{'-'.join(map(str, counts))} pairs a cell, nominal level 5%. {ending}; the largest is "
        f"{_percent(worst)} ({names[worst['measure']]}, {worst['data']}, n = "
        f"{worst['rows_a_side']}, target labels: {worst['target_labels']}; 95% interval "
        f"{100 * float(worst['low']):.1f}% to {100 * float(worst['high']):.1f}%).\n\n"
        + markdown(["data", "n", "target labels", *(names[m] for m in used)], lines)
    )


def _power_text(table: list[Row]) -> str:
    families = list(dict.fromkeys(r["family"] for r in table))
    lines = []
    groups = grouped(table, "target_labels", "severity", "kind")
    order = sorted(groups, key=lambda key: (key[0] == "no", -float(key[1])))
    for key in order:
        group = groups[key]
        k, n = (sum(int(r[name]) for r in group) for name in ("k", "n"))
        rest = [r["rest_none"].split("/") for r in group if r["rest_none"]]
        counted = f"{sum(int(a) for a, _ in rest)}/{sum(int(b) for _, b in rest)}" if rest else ""
        cells = {r["family"]: f"{r['k']}/{r['n']}" for r in group}
        each = [cells.get(f, "") for f in families]
        lines.append([*key, *each, f"**{100 * k / n:.0f}%** ({k}/{n})", counted])
    header = ["target labels", "severity", "kind", *families, "all", "rest `none`"]
    return "### Power: how often the verdict is right\n\n" + markdown(header, lines)


def _peers_text(table: list[Row]) -> str:
    texts = ["### Other tools on the same pairs: share of alarms at their own default decision"]
    for (family,), part in grouped(table, "family").items():
        by_size = grouped(part, "kind", "severity")
        columns = sorted(by_size, key=lambda key: (-float(key[1]), key[0] != "none"))
        decisions: dict[tuple[str, str], None] = {}
        for row in part:
            if row["decision"]:
                decisions[row["tool"], row["decision"]] = None
        lines = []
        for tool, decision in decisions:
            cells = []
            for key in columns:
                rows = [r for r in by_size[key] if r["tool"] == tool]
                row = next((r for r in rows if r["decision"] == decision), None)
                if row is None or row["errors"] == row["n"]:
                    cells.append("error" if rows else "")
                else:
                    failed = f", {row['errors']} errors" if row["errors"] != "0" else ""
                    cells.append(f"{row['k']}/{row['n']}{failed}")
            seconds = [float(r["seconds"]) for r in part if r["tool"] == tool]
            lines.append([tool, decision, *cells, f"{statistics.median(seconds):.1f}"])
        heads = [kind if size == "1.0" else f"{kind} {size}" for kind, size in columns]
        texts.append(f"Family {family}:")
        texts.append(markdown(["tool", "decision", *heads, "seconds"], sorted(lines)))
    return "\n\n".join(texts)


def _real_text(table: list[Row]) -> str:
    lines = []
    for (case,), group in grouped(table, "case").items():
        seen = ", ".join(f"{k} x {v}" for v, k in Counter(r["seen"] for r in group).items())
        right = sum(r["right"] == "True" for r in group)
        lines.append([case, group[0]["expected"], seen, f"{right}/{len(group)}"])
    head = ["case", "expected", "seen", "right"]
    return "### Real data\n\n" + markdown(head, lines)


def _speed_text(table: list[Row]) -> str:
    lines = [
        [
            f"{int(r['rows_a_side']):,}",
            *(r[c] for c in ("columns", "target_labels", "runs", "seconds", "seconds_largest")),
            f"{int(r['peak_MB']):,}",
        ]
        for r in sorted(table, key=lambda r: int(r["rows_a_side"]))
    ]
    head = ["rows a side", "columns", "target labels", "runs", "seconds", "largest", "peak MB"]
    return "### Speed and memory: everything on\n\n" + markdown(head, lines)
