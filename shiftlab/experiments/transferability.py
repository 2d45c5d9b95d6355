"""The study of transferability: the lowest layers of one task's network under fresh ones.

Run ``python -m shiftlab.experiments.transferability`` in a clone; it goes on where it was stopped
and rewrites ``results.csv``, the figure and the tables of ``experiments/transferability``.
"""

from __future__ import annotations

import copy
import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.domain import Domain
from shiftlab.experiments.few_labels_tables import accuracy_cell
from shiftlab.experiments.photos import photo_patches
from shiftlab.experiments.script import read_settings, run_cells, study_parser, write_study
from shiftlab.experiments.seeds import derive_seed
from shiftlab.files import write_atomically

__all__ = [
    "cells_of",
    "main",
    "measure",
    "resampled_tau",
    "score_correlations",
    "transferability_block",
]

N_LAYERS = 5  # of the digit network
FIELDS = ("tasks", "variant", "n", "seed", "accuracy", "scores")
_SIZE = 28


def cells_of(seeds: int) -> list[tuple[str, str, int, int]]:
    """List the cells (tasks, variant, n, seed), seed by seed.

    Parameters
    ----------
    seeds : int
        How many.

    Returns
    -------
    list of tuple

    Examples
    --------
    >>> len(cells_of(1))  # scratch; 5 cuts, frozen and trained on, of three networks
    31
    """
    found: list[tuple[str, str, int, int]] = []
    for seed in range(seeds):
        found.append(("-", "scratch", 0, seed))
        for n in range(1, N_LAYERS + 1):
            for plus in ("", "+"):
                found += [
                    ("similar", f"AnB{plus}", n, seed),
                    ("same", f"BnB{plus}", n, seed),
                    ("dissimilar", f"AnB{plus}", n, seed),
                ]
    return found


def _draw(tasks: str, seed: int, settings: Mapping[str, Any], root: str | None) -> Domain:
    """Draw the training images of a network's task."""
    from shiftlab.data import load_digits5

    n = int(settings["n_train"])
    if tasks == "dissimilar":
        patches = photo_patches("left", n // 16 + 1, size=_SIZE, seed=seed).take(np.arange(n))
        gray = np.round(np.asarray(patches.X) @ [0.299, 0.587, 0.114]).astype(np.uint8)
        return Domain(gray, patches.y, name="photos")
    rows = load_digits5(settings["domain"], "train", size=_SIZE, root=root, source="local")
    part = rows.take(np.flatnonzero(rows.y < 5 if tasks == "similar" else rows.y >= 5))
    # Networks of B and what is trained on B later see different images.
    rng = np.random.default_rng(derive_seed("draw", tasks, seed))
    return part.take(rng.permutation(len(part))[:n])


@functools.lru_cache(maxsize=4)
def _trained(
    tasks: str, seed: int, folder: str, epochs: int, n: int, domain: str, root: str
) -> Any:
    from shiftlab.deep import TrainedNet, train_classifier

    path = Path(folder) / f"{tasks}-{seed}.safetensors"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = _draw(tasks, seed, {"n_train": n, "domain": domain}, root or None)
        names = np.array([f"A {label}" for label in rows.y])  # no row of the head is kept
        net = train_classifier(
            rows.X, names, epochs=epochs, device="cpu", random_state=derive_seed(tasks, seed)
        )
        net.save(path)
    return TrainedNet.load(path, device="cpu")


def measure(
    payload: tuple[tuple[str, str, int, int], dict[str, Any], str | None, str],
) -> dict[str, Any]:
    """Train one cell.

    Parameters
    ----------
    payload : tuple
        Tasks, variant, n and seed; the settings, the folder of local data and that of the networks.

    Returns
    -------
    dict
        A line of the results.
    """
    from shiftlab.data import load_digits5
    from shiftlab.deep import TrainedNet, fine_tune
    from shiftlab.experiments.few_labels import untrained
    from shiftlab.label_space.transferability import transferability

    (tasks, variant, n, seed), settings, root, folder = payload
    rows = _draw("target", seed, settings, root)
    test = load_digits5(settings["domain"], "test", size=_SIZE, root=root, source="local")
    test = test.take(np.flatnonzero(test.y >= 5)[: int(settings["n_test"])])
    start = untrained(rows, derive_seed("fresh", seed))
    scores: dict[str, float] = {}
    if n:
        given = (int(settings["epochs"]), int(settings["n_train"]), settings["domain"], root or "")
        lower = _trained(tasks, seed, folder, *given)
        net = copy.deepcopy(start.net)
        for mine, theirs in zip(net.blocks[:n], lower.net.blocks[:n], strict=True):
            mine.load_state_dict(theirs.state_dict())
        start = TrainedNet(net, start.classes, start.image_shape, device="cpu")
        if variant == "AnB":
            scores = transferability(lower, rows.X, rows.y, layer=f"conv{n}")
    tuned = fine_tune(
        start,
        rows.X,
        rows.y,
        freeze=n if variant in ("AnB", "BnB") else 0,
        layer_decay=1.0,
        epochs=int(settings["epochs"]),
        validation_fraction=0.0,
        patience=None,
        device="cpu",
        random_state=derive_seed("tune", seed),
    )
    return {
        "key": f"{tasks}|{variant}|{n}|{seed}",
        "tasks": tasks,
        "variant": variant,
        "n": n,
        "seed": seed,
        "accuracy": float(np.mean(tuned.predict(test.X) == test.y)),
        "scores": {name: round(value, 6) for name, value in scores.items()},
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, int], list[float]]:
    found: dict[tuple[str, str, int], list[float]] = {}
    for row in rows:
        place = (row["tasks"], row["variant"], int(row["n"]))
        found.setdefault(place, []).append(float(row["accuracy"]))
    return found


def score_correlations(
    rows: Sequence[Mapping[str, Any]], score: str, variant: str, *, draws: int = 2000
) -> tuple[float, float, float, int] | None:
    """Compare a score of A's layers with what was reached on B with them.

    Parameters
    ----------
    rows : sequence of mapping
        Results.
    score : str
        Name of a score.
    variant : {"AnB", "AnB+"}
        What was reached: with the layers frozen, or trained on.
    draws : int, default=2000
        Resamples of the cells.

    Returns
    -------
    tuple of (tau, low, high, n) or None
        Kendall's tau over layers, tasks and seeds, its 95% bootstrap interval and the number
        of cells; None with fewer than five.
    """
    scores = {(r["tasks"], r["n"], r["seed"]): r["scores"] for r in rows if r["scores"]}
    reached = {
        (r["tasks"], r["n"], r["seed"]): float(r["accuracy"])
        for r in rows
        if r["variant"] == variant
    }
    shared = sorted(set(scores) & set(reached))
    if len(shared) < 5:
        return None
    a = np.array([scores[place][score] for place in shared])
    b = np.array([reached[place] for place in shared])
    drawn = np.random.default_rng(0).integers(0, len(a), (draws, len(a)))
    times = np.stack([np.bincount(index, minlength=len(a)) for index in drawn])
    low, high = np.nanquantile(resampled_tau(a, b, times), [0.025, 0.975])
    (tau,) = resampled_tau(a, b, np.ones((1, len(a))))
    return float(tau), float(low), float(high), len(a)


def resampled_tau(a: NDArray[Any], b: NDArray[Any], times: NDArray[Any]) -> NDArray[np.float64]:
    """Compute Kendall's tau-b of samples in which each row stands so many times.

    Parameters
    ----------
    a : ndarray of shape (n,)
    b : ndarray of shape (n,)
    times : ndarray of shape (m, n)
        How often each row stands in each sample.

    Returns
    -------
    ndarray of shape (m,)
        NaN where all of a or of b are equal.
    """
    of_a, of_b = (np.sign(values[:, None] - values) for values in (a, b))
    agree, pairs_a, pairs_b = (
        np.einsum("mi,ij,mj->m", times, signs, times, optimize=True)
        for signs in (of_a * of_b, of_a**2, of_b**2)
    )
    with np.errstate(invalid="ignore"):
        return np.asarray(agree / np.sqrt(pairs_a * pairs_b), dtype=np.float64)


def transferability_block(rows: Sequence[Mapping[str, Any]], n_cells: int) -> str:
    """Write what was found, as Markdown.

    Parameters
    ----------
    rows : sequence of mapping
        Results, finished so far.
    n_cells : int
        Cells of the whole study.

    Returns
    -------
    str
    """
    found = _table(rows)
    counts, seeds = range(1, N_LAYERS + 1), {row["seed"] for row in rows}
    lines = [
        f"{len(rows)} of {n_cells} cells are finished, of {len(seeds)} seed(s).",
        "",
        f"Training on B from scratch: {accuracy_cell(found.get(('-', 'scratch', 0), []))}.",
        "",
        "| tasks | variant | " + " | ".join(f"n = {n}" for n in counts) + " |",
        "|---" * (N_LAYERS + 2) + "|",
    ]
    for tasks, variant in dict.fromkeys((t, v) for t, v, n in found if n):
        cells = [accuracy_cell(found.get((tasks, variant, n), [])) for n in counts]
        lines.append(f"| {tasks} | {variant} | " + " | ".join(cells) + " |")
    names = sorted({name for row in rows for name in row["scores"] or ()})
    table = {name: [score_correlations(rows, name, v) for v in ("AnB", "AnB+")] for name in names}
    if any(any(pair) for pair in table.values()):
        lines += [
            "",
            "Kendall's tau between a score of A's layer n and what was reached with it, over "
            "layers, tasks and seeds, with a 95% bootstrap interval (LEEP and NCE look at A's "
            "head, and are the same for all layers of a network):",
            "",
            "| score | frozen (AnB) | trained on (AnB+) |",
            "|---|---|---|",
        ]
        for name, pair in table.items():
            cells = [f"{f[0]:+.2f} [{f[1]:+.2f}, {f[2]:+.2f}]" if f else "" for f in pair]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw_curves(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw the accuracy by the number of layers that are kept.

    Parameters
    ----------
    rows : sequence of mapping
        Results.

    Returns
    -------
    bytes
        An SVG picture.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    found = _table(rows)
    with mpl.rc_context({"svg.hashsalt": "transferability", "font.size": 9}):
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        axes = figure.add_subplot()
        for tasks, variant in dict.fromkeys((t, v) for t, v, n in found if n):
            counts = sorted(n for t, v, n in found if (t, v) == (tasks, variant))
            means = [float(np.mean(found[tasks, variant, n])) for n in counts]
            style = "--" if variant.endswith("+") else "-"
            axes.plot(counts, means, style, marker="o", ms=3, label=f"{tasks}, {variant}")
        if ("-", "scratch", 0) in found:
            level = float(np.mean(found["-", "scratch", 0]))
            axes.axhline(level, color="0.5", lw=0.8, label="scratch")
        axes.set(xlabel="layers kept, from the bottom", ylabel="accuracy on B")
        axes.set_xticks(range(1, N_LAYERS + 1))
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside right upper", frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is left of the study and rewrite its folder.

    Parameters
    ----------
    arguments : sequence of str, default=None
        ``--folder``, ``--root``, ``--out``, ``--jobs``, ``--seconds`` and ``--report``; None reads
        them from the process.
    """
    given = study_parser("transferability", data="the digits", cells=True).parse_args(arguments)
    settings = read_settings(given.folder)
    nets = str(given.out / "nets")
    cells = {
        "|".join(map(str, cell)): (cell, settings, given.root, nets)
        for cell in cells_of(int(settings["seeds"]))
    }
    rows = run_cells(given, cells, measure, key=FIELDS[:4])
    write_atomically(given.folder / "curves.svg", draw_curves(rows))
    write_study(given.folder, FIELDS, rows, transferability_block(rows, len(cells)))


if __name__ == "__main__":
    main()
