"""Measure the diagnosis on pairs whose truth is known: level, power, peers, speed.

Every finished case is appended at once to ``--runs`` (a folder outside of version control)
and skipped the next time; the tables beside this file are then written anew from all runs.

    python benchmarks/diagnosis/run.py --only level power speed
    python benchmarks/diagnosis/run.py --only peers --peer-python alibi=/path/to/python
    python benchmarks/diagnosis/run.py --table
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # before NumPy; a process a core

from cases import code_version, level_cases, power_cases, run_case  # noqa: E402
from peers import TOOLS, peer_cases, run_peers  # noqa: E402
from speed import run_speed, speed_cases  # noqa: E402
from summary import TABLES, update_readme, write_table  # noqa: E402

from shiftlab.store import ResultsStore  # noqa: E402

HERE = Path(__file__).parent
Row = dict[str, Any]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--pairs", type=int, default=400, help="null pairs a cell")
    parser.add_argument("--seeds", type=int, default=20, help="pairs of each shift")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[300, 2000], help="rows a side for the level"
    )
    parser.add_argument("--size", type=int, default=2000, help="rows a side for power and peers")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each speed case")
    parser.add_argument("--jobs", type=int, default=2, help="processes; also the cores for speed")
    parser.add_argument(
        "--peer-python",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="a Python that has a peer installed; NAME is one of "
        + ", ".join(sorted({python for python, *_ in TOOLS.values()} - {"shiftlab"})),
    )
    parser.add_argument("--runs", type=Path, default=HERE.parents[1] / "runs" / "diagnosis")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the tables")
    parser.add_argument(
        "--table", action="store_true", help="run nothing; write the tables and the README"
    )
    given = parser.parse_args()
    given.pythons = {"shiftlab": sys.executable}
    known = {python for python, *_ in TOOLS.values()}
    for text in given.peer_python:
        name, _, path = text.partition("=")
        if name not in known or not Path(path).is_file():
            parser.error(f"--peer-python {text}: wants NAME=PATH, NAME of {sorted(known)}")
        given.pythons[name] = path
    return given


def work(part: str, done: set[str], given: argparse.Namespace) -> tuple[int, Iterator[Row]]:
    """How many cases are left, and their rows as they are finished."""
    if part == "peers":
        tools = peer_cases(given.pythons, given.pairs, given.seeds, given.size)
        left = {t: [c for c in cases if c["key"] not in done] for t, cases in tools.items()}
        left = {t: cases for t, cases in left.items() if cases}
        return sum(map(len, left.values())), run_peers(left, given.pythons, given.jobs)
    if part == "speed":
        timed = [c for c in speed_cases(given.repeats) if c["key"] not in done]
        return len(timed), (run_speed(case, given.jobs) for case in timed)
    if part == "level":
        cases = level_cases(given.pairs, given.sizes)
    else:
        cases = power_cases(given.seeds, given.size)
    cases = [c for c in cases if c["key"] not in done]
    return len(cases), _in_parallel(run_case, cases, given.jobs)


def _in_parallel(f: Callable[[Row], Row], cases: list[Row], jobs: int) -> Iterator[Row]:
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(f, cases)


def measure(part: str, given: argparse.Namespace) -> None:
    store = ResultsStore(given.runs / f"{part}.jsonl")
    store.repair()
    rows, code = store.rows(), code_version()
    old = sum(row["code"] != code for row in rows)
    if old:
        print(
            f"{part}: {old} of {len(rows)} finished cases were run by other code and are kept; "
            f"delete {store.path} to run them again",
            flush=True,
        )
    total, results = work(part, {row["key"] for row in rows}, given)
    print(f"{part}: {total} cases to run", flush=True)
    start = told = time.monotonic()
    for i, row in enumerate(results, 1):
        store.append(row | {"code": code})
        now = time.monotonic()
        if now - told > 30 or i == total:
            told = now
            left = (now - start) / i * (total - i)
            print(f"{part}: {i} of {total}, about {left / 60:.0f} minutes left", flush=True)


def main() -> None:
    given = arguments()
    for part in given.only:
        if not given.table:
            measure(part, given)
        rows = ResultsStore(given.runs / f"{part}.jsonl").rows()
        if rows:
            write_table(given.out / f"{part}.csv", TABLES[part](rows))
    if given.table:
        update_readme(given.out)


if __name__ == "__main__":
    main()
