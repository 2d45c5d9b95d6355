"""Tasks run in order of need, in one process or several; errors name the task."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from shiftlab.experiments.grid import GridError, Task, run_tasks, threads_per_job


def test_every_task_runs_once_and_after_what_it_needs():
    tasks = [Task("a", 1), Task("b", 2, ("a",)), Task("c", 3, ("a", "b")), Task("d", 4, ("gone",))]
    results = [(task.name, value) for task, value in run_tasks(tasks, lambda x: x * x)]
    assert results == [("a", 1), ("b", 4), ("c", 9), ("d", 16)]


def test_a_failure_names_the_task_and_its_reason():
    steps = run_tasks([Task("fine", 1), Task("zero", 0)], lambda x: 1 / x)
    assert next(steps)[1] == 1
    with pytest.raises(GridError, match="zero failed: ZeroDivisionError"):
        next(steps)


@pytest.mark.parametrize("jobs", [0, -1, 1.5, True])
def test_jobs_must_be_a_positive_whole_number(jobs):
    with pytest.raises(ValueError, match="jobs"):
        list(run_tasks([Task("a", 1)], float, jobs=jobs))


def test_threads_share_the_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads_per_job(jobs) for jobs in (1, 2, 3, 16)] == [8, 4, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads_per_job(1) == 1


def test_processes_keep_to_the_order_of_need_and_die_with_an_early_exit(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, time
            from shiftlab.experiments.grid import GridError, Task, run_tasks

            def work(payload):
                if payload == "fail":
                    raise OSError("no disk")
                time.sleep(30 if payload == "long" else 0.01)
                return payload, os.getpid()

            if __name__ == "__main__":
                tasks = [Task(i, i, tuple(range(max(0, i - 1), i))) for i in range(5)]
                got = [value for _, value in run_tasks(tasks, work, jobs=2)]
                assert [payload for payload, _ in got] == list(range(5)), got
                assert os.getpid() not in {pid for _, pid in got}
                started = time.perf_counter()
                try:
                    tasks = [Task("long", "long"), Task("fail", "fail")]
                    list(run_tasks(tasks, work, jobs=2))
                except GridError as error:
                    assert "fail failed: OSError: no disk" in str(error)
                else:
                    raise SystemExit("no error")
                print("left after", time.perf_counter() - started)
            """
        )
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=25, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 20
