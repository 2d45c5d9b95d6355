"""Time and memory of the adapters, beside a peer where one is installed.

Every case runs in a process of its own with one BLAS thread; memory is the growth of the
resident set over what the process held after its imports. Run it with ``make bench``; it
rewrites ``benchmarks/results.csv``. ``pip install skada`` adds the peer's rows.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402 - after the thread limits

SIZES = (1_000, 10_000, 100_000)
COLUMNS = 20


def two_gaussians(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source N(0, I) with two classes; target moved by 0.5 in five columns, scale 0.8."""
    rng = np.random.default_rng(0)
    Xs = rng.normal(size=(n, COLUMNS))
    Xt = 0.8 * rng.normal(size=(n, COLUMNS))
    Xt[:, :5] += 0.5
    return Xs, (Xs[:, 0] + rng.normal(size=n) > 0).astype(int), Xt


def ours(name: str) -> Callable[..., object]:
    from sklearn.linear_model import LogisticRegression

    import shiftlab

    kind = getattr(shiftlab, name)
    adapter = kind(LogisticRegression()) if name == "PriorCorrection" else kind()
    return lambda Xs, ys, Xt: adapter.fit((Xs, ys), Xt)


def peers(name: str) -> Callable[..., object]:
    import skada

    adapter = getattr(skada, name)()

    def fit(Xs: np.ndarray, ys: np.ndarray, Xt: np.ndarray) -> object:
        X = np.concatenate([Xs, Xt])
        domain = np.repeat([1, -2], [len(Xs), len(Xt)])
        return adapter.fit(X, np.concatenate([ys, np.full(len(Xt), -1)]), sample_domain=domain)

    return fit


CASES = {
    "shiftlab CORAL": (ours, "CORAL"),
    "shiftlab ClassifierWeighting": (ours, "ClassifierWeighting"),
    "shiftlab PriorCorrection": (ours, "PriorCorrection"),
    "skada CORAL": (peers, "CORALAdapter"),
    "skada DiscriminatorReweight": (peers, "DiscriminatorReweightAdapter"),
}


def measure(case: str, n: int, queue: multiprocessing.Queue[object]) -> None:
    maker, name = CASES[case]
    try:
        fit = maker(name)
        data = two_gaussians(n)
        fit(*(part[:200] for part in data))  # what is imported on first use is not counted
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        fit(*data)
        seconds = time.perf_counter() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        queue.put((seconds, grown))
    except ImportError as error:
        queue.put(error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results.csv")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    rows = []
    for case in CASES:
        for n in arguments.sizes:
            runs = []
            for _ in range(arguments.repeats):
                queue = context.Queue()
                process = context.Process(target=measure, args=(case, n, queue))
                process.start()
                runs.append(queue.get())
                process.join()
            if isinstance(runs[0], ImportError):
                print(f"{case}: left out, {runs[0]}")
                break
            seconds, grown = (statistics.median(values) for values in zip(*runs, strict=True))
            rows.append({"case": case, "n": n, "seconds": f"{seconds:.3f}", "MB": f"{grown:.0f}"})
            print(f"{case:32} n={n:>7}  {seconds:8.3f} s  {grown:6.0f} MB", flush=True)
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=["case", "n", "seconds", "MB"])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
