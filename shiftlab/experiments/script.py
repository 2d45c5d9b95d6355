"""What the studies that run as scripts share: options, settings, cells, and the folder they fill.

Such a study has a folder with ``config.toml`` and a ``README.md`` with markers. It yields rows, or
measures cells that a later run goes on from, and writes ``results.csv`` and the tables.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import time
import tomllib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shiftlab.experiments.grid import Task
from shiftlab.experiments.readme import replace_block
from shiftlab.experiments.resume import RESULTS, run_unfinished
from shiftlab.files import write_atomically

__all__ = ["collect_rows", "csv_text", "read_settings", "run_cells", "study_parser", "write_study"]


def study_parser(name: str, *, data: str = "", cells: bool = False) -> argparse.ArgumentParser:
    """Make the parser of a study's options.

    Parameters
    ----------
    name : str
        Of its folder below ``experiments``, and of the one below ``runs``.
    data : str, default=""
        What ``--root`` is the folder of; a study without local data has no such option.
    cells : bool, default=False
        Whether it can be stopped and resumed: ``--out``, ``--jobs``, ``--seconds``, ``--report``.

    Returns
    -------
    argparse.ArgumentParser
        A study adds what it alone has.
    """
    parser = argparse.ArgumentParser(description=f"The study of experiments/{name}.")
    parser.add_argument("--folder", type=Path, default=Path("experiments", name))
    if data:
        parser.add_argument("--root", help=f"folder of {data}; else what SHIFTLAB_DATA names")
    if cells:
        parser.add_argument("--out", type=Path, default=Path("runs", name))
        parser.add_argument("--jobs", type=int, default=1)
        parser.add_argument("--seconds", type=float, help="stop after the cell that ends later")
        parser.add_argument("--report", action="store_true", help="run nothing, write the tables")
    return parser


def read_settings(folder: Path) -> dict[str, Any]:
    """Read ``config.toml`` of a study's folder."""
    return tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))


def collect_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print each row as it comes; what the methods warn of is left out.

    Parameters
    ----------
    rows : iterable of dict
        What a study yields.

    Returns
    -------
    list of dict
    """
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)
        for row in rows:
            found.append(row)
            print(*row.values(), flush=True)
    return found


def run_cells(
    given: argparse.Namespace,
    cells: Mapping[str, Any],
    measure: Callable[[Any], dict[str, Any]],
    *,
    key: Sequence[str],
    plan: Callable[[list[str]], Sequence[Task]] | None = None,
) -> list[dict[str, Any]]:
    """Measure the cells that are not finished yet, and return all that are.

    Finished is what is in the folder of the run or in the study's ``results.csv``, so that a
    study of many hours can be gone on with in a new clone. To measure all again, with other
    settings for example, remove both.

    Parameters
    ----------
    given : argparse.Namespace
        Options, from `study_parser` with ``cells=True``.
    cells : mapping of str to object
        Each cell's key and what `measure` gets, in the order of the table.
    measure : callable
        Returns a line of the results, with ``key`` and ``accuracy``; or an empty dict for a task
        that is no cell.
    key : sequence of str
        Columns of ``results.csv`` that a cell's key is made of, joined by "|".
    plan : callable, default=None
        Keys that are left to tasks, where there is more to do than a task a cell.

    Returns
    -------
    list of dict
        In the order of `cells`. Accuracy has four digits as in ``results.csv``, so that tables
        from these rows are those of the file.
    """
    started = time.monotonic()
    kept = _read_csv(given.folder / "results.csv", key)

    def choose(done: set[str]) -> Sequence[Task]:
        left = [] if given.report else [k for k in cells if k not in done and k not in kept]
        return plan(left) if plan else [Task(key, cells[key]) for key in left]

    def watch(steps: Any, left: Any, jobs: int) -> Any:
        for task, result in steps:
            if result:
                print(task.name, f"{result['accuracy']:.3f}", flush=True)
            yield task, result
            late = given.seconds is not None and time.monotonic() - started > given.seconds
            if result and late:
                return

    rows = run_unfinished(given.out, cells, choose, measure, jobs=given.jobs, watch=watch)
    kept |= {row["key"]: {**row, "accuracy": round(row["accuracy"], 4)} for row in rows}
    found = [kept[name] for name in cells if name in kept]
    print(f"{len(found)} of {len(cells)} cells; {given.out / RESULTS}")
    return found


def _read_csv(path: Path, key: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read what `csv_text` wrote, by key; nothing where there is no file."""

    def read(text: str) -> Any:
        try:
            return json.loads(text or "{}")
        except ValueError:
            return text

    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        lines = [
            {field: read(text) for field, text in line.items()} for line in csv.DictReader(file)
        ]
    names = ("|".join(str(line[field]) for field in key) for line in lines)
    return {name: {"key": name, **line} for name, line in zip(names, lines, strict=True)}


def csv_text(fields: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    r"""Write rows as CSV: accuracy with four digits, scores as JSON or nothing.

    Parameters
    ----------
    fields : sequence of str
        Columns; what else a row has is left out.
    rows : iterable of mapping
        Results.

    Returns
    -------
    str

    Examples
    --------
    >>> csv_text(["way", "accuracy"], [{"way": "random", "accuracy": 0.5, "key": "random|0"}])
    'way,accuracy\nrandom,0.5000\n'
    """

    def written(field: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return json.dumps(value) if value else ""
        return f"{value:.4f}" if field == "accuracy" and isinstance(value, float) else value

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fields)
    writer.writerows([written(field, row[field]) for field in fields] for row in rows)
    return text.getvalue()


def write_study(
    folder: Path, fields: Sequence[str], rows: Sequence[Mapping[str, Any]], block: str
) -> None:
    """Rewrite ``results.csv`` and what stands between the markers of ``README.md``.

    Parameters
    ----------
    folder : Path
        Of the study.
    fields : sequence of str
        Columns.
    rows : sequence of mapping
        Results.
    block : str
        The tables, as Markdown.
    """
    write_atomically(folder / "results.csv", csv_text(fields, rows))
    replace_block(folder / "README.md", block)
