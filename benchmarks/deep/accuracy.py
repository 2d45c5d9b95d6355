"""Put the accuracy of skada's deep methods beside ours, on the images of a Digit-5 study.

    python benchmarks/deep/accuracy.py --peer-python skada/bin/python

Ours are the lines of ``experiments/digit5_lenet/results.csv``; skada trains the same network for
as long on the same draws. It goes on where it was stopped, and writes ``accuracy.csv``
and the table of ``ACCURACY.md``.
"""

from __future__ import annotations

import argparse
import csv
import math
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from shiftlab.experiments.digit5 import Study, draw_digits
from shiftlab.experiments.readme import replace_block
from shiftlab.experiments.settings import Digit5Settings
from shiftlab.experiments.tables import read_cells

HERE = Path(__file__).parent
STUDY = HERE.parents[1] / "experiments" / "digit5_lenet"
METHODS = ["mcc", "deep-coral", "deep-jdot", "mdd", "dan", "source-only", "dann", "cdan"]
FIELDS = ("source", "target", "method", "seed", "skada")
Cell = tuple[str, str, str, int]


def measure(cell: Cell, settings: Digit5Settings, peer_python: str) -> float:
    """Train skada's method on the draw of a cell; its labels of test images stay here."""
    source, target, method, seed = cell
    study = Study()
    known = draw_digits(study, settings, None, source, "train", seed)
    images = draw_digits(study, settings, None, target, "train", seed)
    test = draw_digits(study, settings, None, target, "test", seed)
    with tempfile.TemporaryDirectory() as folder:
        drawn, predicted = Path(folder, "images.npz"), Path(folder, "predicted.npy")
        np.savez(drawn, source=known.X, labels=known.y, target=images.X, test=test.X)
        command = [peer_python, str(HERE / "accuracy_peer.py"), str(drawn), method]
        command += [str(settings.epochs), str(seed), str(predicted)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        return float(np.mean(np.load(predicted) == test.y))


def compare(found: dict[Cell, float], settings: Digit5Settings) -> str:
    """Write both accuracies of each method and pair as a table, and where ours is lower."""
    lines = read_cells((STUDY / "results.csv").read_text(encoding="utf-8"))
    grouped: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for cell, theirs in found.items():
        if cell in lines:
            both = (theirs, float(lines[cell][f"seed{cell[3]}"]))
            grouped.setdefault(cell[:3], []).append(both)
    pairs = list(dict.fromkeys(key[:2] for key in grouped))
    table = ["| method | " + " | ".join(f"{s} → {t}" for s, t in pairs) + " | mean |"]
    table.append("|---" * (len(pairs) + 2) + "|")
    lower = []
    for method in METHODS:
        means = {p: np.mean(grouped[*p, method], axis=0) for p in pairs if (*p, method) in grouped}
        if not means:
            continue
        for pair, (theirs, ours) in means.items():
            n = settings.n_test * len(grouped[*pair, method])
            if ours < theirs - math.sqrt(theirs * (1 - theirs) / n):
                lower.append(f"{method}, {' → '.join(pair)} ({100 * (ours - theirs):+.1f})")
        whole = [np.mean(list(means.values()), axis=0) if len(means) == len(pairs) else None]
        shown = [_both(value) for value in [*(means.get(pair) for pair in pairs), *whole]]
        table.append(f"| {method} | " + " | ".join(shown) + " |")
    count = sum(map(len, grouped.values()))
    head = f"Accuracy of skada / of shiftlab on {settings.n_test:,} test images; {count} trainings."
    below = f"Ours is more than a standard error below in {len(lower)} of {len(grouped)} places"
    below += f": {'; '.join(lower)}." if lower else "."
    return "\n".join([head, "", *table, "", below])


def _both(value: Any) -> str:
    return "" if value is None else f"{value[0]:.3f} / {value[1]:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", help="a Python that has skada, skorch and torch")
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    settings = Digit5Settings.from_toml(STUDY / "headline.toml")
    kept = HERE / "accuracy.csv"
    found: dict[Cell, float] = {}
    if kept.is_file():
        with kept.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                cell = (row["source"], row["target"], row["method"], int(row["seed"]))
                found[cell] = float(row["skada"])
    if given.peer_python is not None:
        for seed in range(given.seeds):
            for method in given.methods:
                for source, target in settings.pairs:
                    cell = (source, target, method, seed)
                    if cell in found:
                        continue
                    found[cell] = measure(cell, settings, given.peer_python)
                    print(*cell, found[cell], flush=True)
                    with kept.open("w", encoding="utf-8", newline="") as file:
                        writer = csv.writer(file, lineterminator="\n")
                        writer.writerow(FIELDS)
                        writer.writerows((*key, f"{found[key]:.4f}") for key in found)
    replace_block(HERE / "ACCURACY.md", compare(found, settings))


if __name__ == "__main__":
    main()
