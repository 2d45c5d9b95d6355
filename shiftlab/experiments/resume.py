"""Run what is not finished yet and keep each result at once; a kill loses no finished cell."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from shiftlab.experiments.grid import Task, run_tasks
from shiftlab.experiments.lock import folder_lock
from shiftlab.store import ResultsStore

__all__ = ["RESULTS", "Watch", "run_unfinished", "versions"]

RESULTS = "results.jsonl"
Watch = Callable[[Iterable[tuple[Task, Any]], Sequence[Task], int], Iterable[Any]]


def run_unfinished(
    folder: Path,
    cells: Iterable[str],
    choose: Callable[[set[str]], Sequence[Task]],
    work: Callable[[Any], dict[str, Any]],
    *,
    jobs: int = 1,
    watch: Watch | None = None,
) -> list[dict[str, Any]]:
    """Run tasks of a study and return the results of its cells.

    Each result is on the disk before the next is awaited, so a run that was stopped in any
    way goes on where it was. A cell whose result is an error is run again.

    Parameters
    ----------
    folder : Path
        Folder of the results; made when missing.
    cells : iterable of str
        Keys of the study's cells; other results in the folder stay apart.
    choose : callable
        Keys of the finished cells to the tasks that are left.
    work : callable
        Payload to result. A result with a ``key`` is stored.
    jobs : int, default=1
        Processes.
    watch : callable, default=None
        Gets the iterator of ``(task, result)``, the tasks that are left and ``jobs``, and
        yields what it got; for a progress bar.

    Returns
    -------
    list of dict
        Results of the cells, finished now or before.

    Raises
    ------
    GridError
        If a task fails or another run is writing to the folder.
    """
    wanted = set(cells)
    folder.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder):
        store = ResultsStore(folder / RESULTS)
        store.repair()
        left = choose({row["key"] for row in store.rows() if "error" not in row})
        steps: Any = run_tasks(left, work, jobs=jobs)
        try:
            for _, result in watch(steps, left, jobs) if watch else steps:
                if "key" in result:
                    store.append(result)
        finally:
            steps.close()
        return [row for row in store.rows() if row["key"] in wanted]


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    found = {"python": platform.python_version()}
    for package in ("shiftlab", "numpy", "scikit-learn", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
