"""Seconds that the adapters for a changed P(Y|X) take, and what they answer right.

    python benchmarks/conditional/run.py
    python benchmarks/conditional/run.py --table    # only write the README's table anew

Every case runs in a process of its own with one BLAS thread; the median of three runs counts.
Seconds are those of the processor, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402 - after the thread limits

from shiftlab.experiments.readme import replace_block  # noqa: E402

HERE = Path(__file__).parent
SIZES = (5_000, 50_000)
REPEATS = 3
LABELLED = 100
Sample = tuple[np.ndarray, np.ndarray]


def classes(n: int) -> tuple[Sample, Sample]:
    """Three Gaussian classes in 20 columns; every class of the target moves its own way."""
    rng = np.random.default_rng(0)
    centres, moves = rng.normal(size=(3, 20)), 0.6 * rng.normal(size=(3, 20))
    y, z = rng.integers(0, 3, n), rng.integers(0, 3, n)
    return (
        (centres[y] + rng.normal(size=(n, 20)), y),
        ((centres + moves)[z] + rng.normal(size=(n, 20)), z),
    )


def numbers(n: int) -> tuple[Sample, Sample]:
    """Targets linear in 20 columns, with other coefficients on the other side."""
    rng = np.random.default_rng(0)
    slope = rng.normal(size=20)
    other = slope + 0.5 * rng.normal(size=20)
    X, Z = rng.normal(size=(n, 20)), rng.normal(size=(n, 20))
    return (X, X @ slope + rng.normal(size=n)), (Z, Z @ other + rng.normal(size=n))


def make(name: str) -> tuple[Any, Any]:
    """Return the adapter and its estimator alone, the control."""
    from sklearn.linear_model import LogisticRegression, Ridge

    import shiftlab

    estimator = Ridge() if CASES[name][0] is numbers else LogisticRegression()
    adapter = getattr(shiftlab, name.split(",")[0])(estimator)
    if "random_state" in adapter.get_params():
        adapter.set_params(random_state=0)
    return adapter, estimator


# The data, and whether labels of the target are asked for.
CASES: dict[str, tuple[Callable[[int], tuple[Sample, Sample]], bool]] = {
    "JointTransport": (classes, False),
    "JointTransport, regression": (numbers, False),
    "SelfTraining": (classes, False),
    "TrAdaBoost": (classes, True),
    "TrAdaBoostR2": (numbers, True),
    "TwoStageTrAdaBoostR2": (numbers, True),
}


def measure(name: str, n: int, queue: multiprocessing.Queue[tuple[float, float, float]]) -> None:
    from shiftlab import Domain

    warnings.simplefilter("ignore")
    draw, few = CASES[name]
    source, (Z, z) = draw(n)
    target = Domain(Z, z, labelled=np.arange(n) < LABELLED) if few else Domain(Z)
    adapter, control = make(name)
    start = time.process_time()
    adapter.fit(source, target)
    seconds = time.process_time() - start
    rest = slice(LABELLED, None)
    plain = control.fit(*source).score(Z[rest], z[rest])
    queue.put((seconds, float(adapter.score(Z[rest], z[rest])), float(plain)))


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| adapter | rows a side | seconds | score | source alone |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['case']} | {int(row['n']):,} | {float(row['seconds']):.2f} | "
        f"{float(row['score']):.3f} | {float(row['source alone']):.3f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="store_true", help="run nothing")
    path = HERE / "results.csv"
    if not parser.parse_args().table:
        context = multiprocessing.get_context("spawn")
        rows = []
        for name in CASES:
            for n in SIZES:
                runs = []
                for _ in range(REPEATS):
                    queue = context.Queue()
                    process = context.Process(target=measure, args=(name, n, queue))
                    process.start()
                    runs.append(queue.get())
                    process.join()
                seconds = statistics.median(run[0] for run in runs)
                _, score, plain = runs[0]
                rows.append(
                    {
                        "case": name,
                        "n": n,
                        "seconds": round(seconds, 3),
                        "score": round(score, 4),
                        "source alone": round(plain, 4),
                    }
                )
                print(rows[-1], flush=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    with path.open(encoding="utf-8") as file:
        replace_block(HERE / "README.md", table(list(csv.DictReader(file))))


if __name__ == "__main__":
    main()
