"""Measure weights and alignment beside the peers: time, memory, and nearness to the truth.

Each fit is a process of its own with one BLAS thread (`worker.py`). Finished cases are kept in
``--runs`` and skipped the next time; ``results.csv`` and the tables of the README are written
anew from all of them.

    python benchmarks/marginal/run.py
    python benchmarks/marginal/run.py --peer-python skada=/path/to/python
    python benchmarks/marginal/run.py --table
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

from worker import CASES

from shiftlab.experiments.readme import replace_block
from shiftlab.store import ResultsStore

HERE = Path(__file__).parent
SIZES = (500, 2_000, 5_000, 10_000, 100_000)
MILLION = ("CORAL", "LinearTransport", "ClassifierWeighting", "ULSIF")
FIELDS = [
    "case",
    "n",
    "seconds",
    "MB",
    "slope",
    "correlation",
    "log_correlation",
    "effective",
    "zeros",
    "objective",
    "error",
]
# Peers that grow with the square of n are not asked for sizes that would take minutes.
TOO_SLOW = 30.0


def sizes_of(case: str, sizes: list[int]) -> list[int]:
    return sizes + ([1_000_000] if case in {f"shiftlab {name}" for name in MILLION} else [])


def run_case(python: str, case: str, n: int, limit: float) -> dict[str, Any]:
    command = [python, str(HERE / "worker.py"), case, str(n)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"more than {limit:.0f} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines()
        return {"error": (said[-1] if said else f"exit {done.returncode}")[:120]}
    found: dict[str, Any] = json.loads(lines[-1])
    if "not_finite" in found:
        found["error"] = f"{found.pop('not_finite'):.0%} of the weights are not finite"
    return found


def with_slopes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the slope of log seconds over log n between a size and the one before."""
    order = list(CASES)
    rows = sorted(rows, key=lambda row: (order.index(row["case"]), row["n"]))
    for before, row in zip([None, *rows], rows, strict=False):
        if before and before["case"] == row["case"] and "seconds" in before and "seconds" in row:
            ratio = math.log(row["seconds"] / before["seconds"])
            row["slope"] = ratio / math.log(row["n"] / before["n"])
    return rows


def shown(row: dict[str, Any], field: str) -> str:
    value = row.get(field)
    if value is None:
        return ""
    if isinstance(value, float):
        digits = {"seconds": 2, "MB": 0, "slope": 2, "objective": 5}.get(field, 3)
        return f"{value:.{digits}f}"
    return str(value)


def tables(rows: list[dict[str, Any]]) -> str:
    by = {(row["case"], row["n"]): row for row in rows}
    sizes = sorted({row["n"] for row in rows})
    head = ["method", *(f"{n:,}" for n in sizes), "slope"]
    lines = ["### Seconds / growth of memory in MB", "", _line(head), _line(["---"] * len(head))]
    names = [case for case in CASES if any((case, n) in by for n in sizes)]
    for case in names:
        cells, slope = [], ""
        for n in sizes:
            row = by.get((case, n), {})
            slope = shown(row, "slope") or slope
            time = f"{shown(row, 'seconds')} / {shown(row, 'MB')}" if "seconds" in row else ""
            cells.append(time or str(row.get("error", "")))
        lines.append(_line([case, *cells, slope]))
    lines += ["", "### Weights at n = 5,000", ""]
    fields = ["correlation", "log_correlation", "effective", "zeros", "objective"]
    heads = ["correlation", "of logs", "effective share", "zeros", "objective"]
    lines += [_line(["method", *heads]), _line(["---"] * 6)]
    for case in names:
        row = by.get((case, 5000), {})
        if "correlation" in row:
            lines.append(_line([case, *(shown(row, field) for field in fields)]))
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", help="methods whose name contains one of these")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for a peer's fit")
    parser.add_argument("--peer-python", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--runs", type=Path, default=HERE.parents[1] / "runs" / "marginal")
    parser.add_argument("--table", action="store_true", help="run nothing")
    given = parser.parse_args()
    pythons = {"shiftlab": sys.executable}
    pythons.update(text.split("=", 1) for text in given.peer_python)
    store = ResultsStore(given.runs / "results.jsonl")
    done = {row["key"]: row for row in store.rows()}
    for case in () if given.table else CASES:
        library = case.split()[0]
        if library not in pythons or (given.only and not any(w in case for w in given.only)):
            continue
        last = 0.0
        for n in sizes_of(case, given.sizes):
            key = f"{case}, n={n}"
            if key not in done:
                if library != "shiftlab" and last > TOO_SLOW:
                    continue
                limit = given.limit if library != "shiftlab" else 600.0
                done[key] = {"key": key, "case": case, "n": n}
                done[key] |= run_case(pythons[library], case, n, limit)
                store.append(done[key])
                print(key, {k: v for k, v in done[key].items() if k not in ("key", "case", "n")})
            last = done[key].get("seconds", math.inf)
    rows = with_slopes(list(done.values()))
    with (HERE / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=FIELDS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({f: shown(row, f) for f in FIELDS} for row in rows)
    replace_block(HERE / "README.md", tables(rows))


if __name__ == "__main__":
    main()
