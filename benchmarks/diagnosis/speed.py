"""Seconds and peak memory of a whole diagnosis in a fresh process."""

from __future__ import annotations

import multiprocessing
import os
import time
from typing import Any

SIZES = ((2_000, 10), (100_000, 50))  # rows a side, columns
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def speed_cases(repeats: int) -> list[dict[str, Any]]:
    return [
        {"key": f"speed|{n}|{d}|{labels}|{index}", "n": n, "d": d, "labels": labels}
        for index in range(repeats)
        for n, d in SIZES
        for labels in (True, False)
    ]


def run_speed(case: dict[str, Any], cores: int) -> dict[str, Any]:
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(cores)))  # read when the child imports NumPy
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(case, send))
    try:
        process.start()
        send.close()
        measured = receive.recv()
    except EOFError:
        raise RuntimeError(f"the process of {case['key']} died") from None
    finally:
        process.join()
        os.environ.update({name: value for name, value in before.items() if value is not None})
    return case | measured | {"cores": cores}


def _measure(case: dict[str, Any], send: Any) -> None:
    from shiftlab import diagnose
    from shiftlab.data.shifts import make_shift

    n, d = case["n"], case["d"]
    source, target = make_shift(
        "covariate", n_source=n, n_target=n, n_features=d, severity=0.4, random_state=0
    )
    given = target if case["labels"] else target.unlabelled()
    held = peak_megabytes()
    start = time.perf_counter()
    diagnose(source, given, random_state=0)  # with its imports, as in a script of one's own
    seconds = time.perf_counter() - start
    send.send({"seconds": round(seconds, 2), "peak_MB": peak_megabytes(), "MB_before": held})
    send.close()


def peak_megabytes() -> int:
    """Largest resident memory of this process so far, data and imports included."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            peak = next(line for line in file if line.startswith("VmHWM:"))
        return round(int(peak.split()[1]) / 1024)
    except (OSError, StopIteration):
        import resource

        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
