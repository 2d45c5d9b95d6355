"""Time and memory of the adapters between spaces, and of schema alignment.

Each fit is a process of its own with one BLAS thread. ``results.csv`` and the table of the README
are written anew.

    python benchmarks/feature_space/run.py
"""

from __future__ import annotations

import csv
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
SIZES = (1_000, 10_000, 100_000)
CASES = (
    "CorrelationMap",
    "CorrelationMap (kernel)",
    "HeterogeneousAugmentation",
    "SharedEmbedding",
    "GromovWasserstein",
    "GromovWasserstein (entropic)",
    "CoOptimalTransport",
    "CoOptimalTransport (entropic)",
    "LinearGaussianMap",
    "SchemaAlignment",
)


def two_spaces(n: int) -> tuple[Any, ...]:
    """Ten classes in 20 latent dimensions, seen in 200 and in 500 columns; some pairs."""
    rng = np.random.default_rng(0)
    means, W, V = (rng.normal(size=shape) for shape in ((10, 20), (20, 200), (20, 500)))

    def draw(m: int) -> tuple[Any, Any, Any]:
        y = rng.integers(0, 10, m)
        z = means[y] + 0.5 * rng.normal(size=(m, 20))
        return (
            z @ W + rng.normal(size=(m, 200)),
            z @ V + rng.normal(size=(m, 500)),
            y,
        )

    X, _, y = draw(n)
    _, Z, w = draw(n)
    A, B, _ = draw(2_000)
    known = np.zeros(n, dtype=bool)
    known[np.concatenate([np.flatnonzero(w == k)[:3] for k in range(10)])] = True
    return X, y, Z, w, known, (A, B)


def one_table(n: int) -> tuple[Any, Any]:
    """200 columns of which each depends on others, and the same without names, reordered."""
    import pandas as pd

    rng = np.random.default_rng(0)
    mix = rng.normal(size=(20, 200)) * (rng.random((20, 200)) < 0.2)
    tables = []
    for _ in range(2):
        T = rng.gamma(2, size=(n, 20)) @ mix + rng.gamma(np.linspace(0.5, 9, 200), size=(n, 200))
        tables.append(pd.DataFrame(T, columns=[f"c{j}" for j in range(200)]))
    order = rng.permutation(200)
    target = tables[1].iloc[:, order].set_axis([f"v{j}" for j in range(200)], axis=1)
    return tables[0], target


def fit(case: str, n: int) -> dict[str, Any]:
    """Fit once, after a small fit that is not counted."""
    import shiftlab
    from shiftlab import Domain, SchemaAlignment

    name, _, setting = case.partition(" ")
    given: dict[str, Any] = {}
    if setting == "(kernel)":
        given["kernel"] = "rbf"
    if setting == "(entropic)":
        given["regularization"] = 0.05
    warnings.simplefilter("ignore")

    def once(m: int) -> float:
        if name == "SchemaAlignment":
            source, target = one_table(m)
            adapter: Any = SchemaAlignment(missing="drop")
        else:
            X, y, Z, w, known, paired = two_spaces(m)
            source, target = Domain(X, y), Domain(Z, w, labelled=known)
            if name == "CorrelationMap":
                given["paired"] = paired
            adapter = getattr(shiftlab, name)(**given)
        start = time.process_time()
        adapter.fit(source, target)
        return time.process_time() - start

    once(300)
    seconds = once(n)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"case": case, "n": n, "seconds": round(seconds, 2), "MB": round(peak)}


def main() -> None:
    from shiftlab.experiments.readme import replace_block

    environment = dict(os.environ)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[variable] = "1"
    rows = []
    for case in CASES:
        for n in SIZES:
            command = [sys.executable, __file__, case, str(n)]
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                raise RuntimeError(done.stderr)
            rows.append(json.loads(done.stdout))
            print(rows[-1], flush=True)
    with (HERE / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    lines = ["| adapter | " + " | ".join(f"{n:,}" for n in SIZES) + " |", "|---|---|---|---|"]
    for case in CASES:
        cells = [f"{r['seconds']:.1f} / {r['MB']}" for r in rows if r["case"] == case]
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    replace_block(HERE / "README.md", "\n".join(lines))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(fit(sys.argv[1], int(sys.argv[2]))))
    else:
        main()
