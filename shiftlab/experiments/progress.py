"""Show how far a grid is, and how long it will take by the times measured so far."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from shiftlab.experiments.grid import Task

__all__ = ["TimeLeft", "watch_progress"]


class TimeLeft:
    """Estimate the rest of a grid whose tasks differ much in length.

    The estimate is ``sum over kinds of (tasks left * mean seconds of the kind) / jobs``.
    Kinds of which none has finished yet are left out, so it is a lower bound until then.

    Parameters
    ----------
    kinds : iterable of str
        Kind of each task.
    jobs : int
        Tasks at the same time.

    Examples
    --------
    >>> from shiftlab.experiments.progress import TimeLeft
    >>> left = TimeLeft(["net", "net", "cell", "cell", "cell"], jobs=1)
    >>> left.done("net", 10.0)
    >>> str(left)
    'at least 0:10 left'
    >>> left.done("cell", 2.0)
    >>> str(left)
    '0:14 left'
    """

    def __init__(self, kinds: Iterable[str], jobs: int) -> None:
        self._left: dict[str, int] = defaultdict(int)
        for kind in kinds:
            self._left[kind] += 1
        self._times: dict[str, list[float]] = defaultdict(list)
        self._jobs = jobs

    def done(self, kind: str, seconds: float) -> None:
        """Take note of a finished task."""
        self._left[kind] -= 1
        self._times[kind].append(seconds)

    def seconds(self) -> tuple[float, bool]:
        """Return the estimate, and whether it counts all kinds of tasks that are left."""
        total, complete = 0.0, True
        for kind, count in self._left.items():
            times = self._times.get(kind)
            if times:
                total += count * sum(times) / len(times)
            elif count:
                complete = False
        return total / self._jobs, complete

    def __str__(self) -> str:
        seconds, complete = self.seconds()
        return f"{'' if complete else 'at least '}{_clock(seconds)} left"


def watch_progress(
    steps: Iterable[tuple[Task, Any]], tasks: Sequence[Task], jobs: int
) -> Iterator[tuple[Task, Any]]:
    """Pass a grid's results on and show progress on standard error.

    On a terminal a bar is drawn; elsewhere (a log file) each finished task is a line.

    Parameters
    ----------
    steps : iterable of (Task, dict)
        What :func:`shiftlab.experiments.grid.run_tasks` yields.
    tasks : sequence of Task
        All tasks of the run.
    jobs : int
        Tasks at the same time.

    Yields
    ------
    (Task, dict)
        What came in.
    """
    console = Console(file=sys.stderr)
    left = TimeLeft([_kind(task) for task in tasks], jobs)
    started = time.perf_counter()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        shown = bar.add_task("starting", total=len(tasks), left="")
        for number, (task, result) in enumerate(steps, 1):
            # Handed on first: a result is stored before anything is said about it.
            yield task, result
            left.done(_kind(task), float(result["seconds"]))
            note = f"{task.payload}"
            if "accuracy" in result:
                note += f": {result['accuracy']:.3f}"
            elif "error" in result:
                note += f": {result['error']}"
            remaining = str(left)
            bar.update(shown, advance=1, description=note, left=remaining)
            if not console.is_terminal:
                elapsed = _clock(time.perf_counter() - started)
                print(
                    f"[{number}/{len(tasks)}] {note} ({elapsed} since start, {remaining})",
                    file=sys.stderr,
                    flush=True,
                )


def _kind(task: Task) -> str:
    return str(getattr(task.payload, "method", "network"))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
