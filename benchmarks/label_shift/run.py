"""Measure the estimators of a target prior: errors beside QuaPy's, gains on MNIST, and time.

    python benchmarks/label_shift/run.py --peer-python /path/to/a/python/with/quapy
    python benchmarks/label_shift/run.py --only digits
    python benchmarks/label_shift/run.py --table

Rows of a part are written to ``results.csv`` once the part is finished, in the place of those that
were there; the tables of the README are written anew from all of them.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from shiftlab.experiments.readme import replace_block

HERE = Path(__file__).parent
FIELDS = ["part", "alpha", "seed", "method", "error", "gain", "base", "refused", "seconds"]
REPEATS = {"digits": 20, "mnist": 10, "speed": 2}


def measure(python: str, library: str, part: str, repeats: int) -> list[dict[str, Any]]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, "worker.py", library, part, str(repeats)],
        cwd=HERE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def read() -> list[dict[str, Any]]:
    path = HERE / "results.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def mean(rows: list[dict[str, Any]], field: str) -> tuple[float, float]:
    values = np.array([float(row[field]) for row in rows])
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def tables(rows: list[dict[str, Any]]) -> str:
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["part"], row["method"], str(row["alpha"] or "")].append(row)
    lines: list[str] = []
    alphas = ("0.1", "1.0", "10.0")
    for part, title in (
        ("digits noise 0", "Digits, clean: L1 error of the prior"),
        ("digits noise 0.35", "Digits, pixel noise .35: L1 error of the prior"),
    ):
        names = list(dict.fromkeys(m for p, m, _ in groups if p == part))
        lines += [f"### {title}", "", "| method | alpha .1 | 1 | 10 | refused |", "|---" * 5 + "|"]
        for name in names:
            cells = [
                "{:.4f} ± {:.4f}".format(*mean(groups[part, name, a], "error")) for a in alphas
            ]
            found = [row for a in alphas for row in groups[part, name, a]]
            refused = sum(str(row["refused"]) == "True" for row in found)
            lines.append(f"| {name} | " + " | ".join(cells) + f" | {refused} of {len(found)} |")
        lines.append("")
    names = list(dict.fromkeys(m for p, m, _ in groups if p == "mnist"))
    if names:
        lines += [
            "### MNIST: mean squared error of the class weights / points of accuracy gained",
            "",
            "| method | alpha .1 | 1 | 10 | refused |",
            "|---" * 5 + "|",
        ]
        for name in names:
            cells = []
            for a in alphas:
                error, gain = (mean(groups["mnist", name, a], f)[0] for f in ("error", "gain"))
                cells.append(f"{error:.5f} / {gain:+.2f}")
            found = [row for a in alphas for row in groups["mnist", name, a]]
            refused = sum(str(row["refused"]) == "True" for row in found)
            lines.append(f"| {name} | " + " | ".join(cells) + f" | {refused} of {len(found)} |")
        bases = [f"{mean(groups['mnist', names[0], a], 'base')[0]:.1f}" for a in alphas]
        lines += [f"| accuracy before, percent | {' | '.join(bases)} | |", ""]
    timed = [(m, group) for (p, m, _), group in groups.items() if p == "million rows"]
    if timed:
        lines += ["### A million target rows, 10 columns, 10 classes", "", "| step | seconds |"]
        lines.append("|---|---|")
        lines += [f"| {name} | {mean(group, 'seconds')[0]:.1f} |" for name, group in timed]
    return "\n".join(lines).rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(REPEATS), default=list(REPEATS))
    parser.add_argument("--peer-python", help="a Python that has quapy and abstention")
    parser.add_argument("--table", action="store_true", help="run nothing")
    given = parser.parse_args()
    for part in () if given.table else given.only:
        pythons = {"shiftlab": sys.executable}
        if given.peer_python and part == "digits":
            pythons["quapy"] = given.peer_python
        for library, python in pythons.items():
            found = measure(python, library, part, REPEATS[part])
            methods = {row["method"] for row in found}
            parts = {row["part"] for row in found}
            kept = [r for r in read() if r["part"] not in parts or r["method"] not in methods]
            with (HERE / "results.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
                writer.writeheader()
                for row in [*kept, *found]:
                    writer.writerow(
                        {k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}
                    )
    replace_block(HERE / "README.md", tables(read()))


if __name__ == "__main__":
    main()
