"""Run tasks that depend on each other, in this process or in several."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["GridError", "Task", "run_tasks", "threads_per_job"]


class GridError(RuntimeError):
    """A grid cannot go on: a task failed, or another run holds its folder."""


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Parameters
    ----------
    name : hashable
        Distinct among the tasks of a run.
    payload : object
        What the work function gets; picklable.
    needs : tuple of hashable, default=()
        Names of tasks that must be done first. A name that no task has is taken as done.
    """

    name: Hashable
    payload: Any
    needs: tuple[Hashable, ...] = ()


def threads_per_job(jobs: int) -> int:
    """Share the cores: how many threads each of ``jobs`` processes should use.

    ``OMP_NUM_THREADS``, where set, is an upper bound.

    Parameters
    ----------
    jobs : int
        Processes that run at the same time.

    Returns
    -------
    int
        At least 1.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    share = max(1, (cores or 1) // jobs)
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(limit)) if limit.isdigit() and int(limit) else share


def run_tasks(
    tasks: Sequence[Task], work: Callable[[Any], Any], *, jobs: int = 1
) -> Iterator[tuple[Task, Any]]:
    """Run tasks and yield each with its result as soon as it is done.

    A task starts when all that it needs is done; among those ready, in the given order.
    Leaving the iteration early (an interrupt, an error of the caller's) stops the worker
    processes at once. When this process is killed the workers notice and stop, too.

    Parameters
    ----------
    tasks : sequence of Task
        Sorted so that each stands behind what it needs.
    work : callable
        Payload to result; a module-level function when ``jobs > 1``.
    jobs : int, default=1
        Worker processes; 1 runs everything in this process.

    Yields
    ------
    (Task, object)

    Raises
    ------
    GridError
        If a task fails, with its name, or a worker process dies.

    Examples
    --------
    >>> from shiftlab.experiments.grid import Task, run_tasks
    >>> tasks = [Task("a", 2), Task("b", 3, needs=("a",))]
    >>> [(task.name, result) for task, result in run_tasks(tasks, float)]
    [('a', 2.0), ('b', 3.0)]
    """
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise ValueError(f"jobs must be a whole number of at least 1, got {jobs!r}")
    if jobs == 1:
        for task in tasks:
            yield task, _guarded(task, partial(work, task.payload))
        return
    yield from _run_in_processes(tasks, work, jobs)


def _guarded(task: Task, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except BrokenProcessPool as error:
        raise GridError(
            f"a worker process died during {task.name} (out of memory?); finished cells are "
            "kept, run again to go on, with fewer jobs if memory was short"
        ) from error
    except Exception as error:
        raise GridError(f"{task.name} failed: {type(error).__name__}: {error}") from error


def _run_in_processes(
    tasks: Sequence[Task], work: Callable[[Any], Any], jobs: int
) -> Iterator[tuple[Task, Any]]:
    # Spawned, not forked: a fork of a process that has used torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    # Nobody writes to this pipe. Its closing, by us or by our death, ends the workers.
    leash, handle = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_start_worker, initargs=(leash, threads_per_job(jobs))
    )
    pending = {task.name for task in tasks}
    waiting = list(tasks)
    running: dict[Future[Any], Task] = {}
    finished = False
    try:
        while waiting or running:
            ready = [t for t in waiting if not pending.intersection(t.needs)]
            if not ready and not running:
                raise ValueError(f"tasks need each other in a circle: {[t.name for t in waiting]}")
            waiting = [t for t in waiting if pending.intersection(t.needs)]
            running.update({executor.submit(work, t.payload): t for t in ready})
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            # In the order of submission, so that a run reads the same way twice.
            for future in [f for f in running if f in done]:
                task = running.pop(future)
                result = _guarded(task, future.result)
                pending.discard(task.name)
                yield task, result
        finished = True
    finally:
        if not finished:
            handle.close()
        executor.shutdown(wait=finished, cancel_futures=True)
        handle.close()
        leash.close()


def _start_worker(leash: Connection, threads: int) -> None:
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    # What the data say of themselves is told once, by the parent.
    logging.getLogger("shiftlab").setLevel(logging.ERROR)

    def watch() -> None:
        try:
            leash.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
