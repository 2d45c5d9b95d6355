"""The study of spaces that differ: digits as pixels, gradients and a network's features.

Run ``python -m shiftlab.experiments.heterogeneous`` in a clone; it goes on where it was stopped
and rewrites ``results.csv`` and the tables in the README of ``experiments/heterogeneous``.
"""

from __future__ import annotations

import argparse
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from shiftlab.adapter import Adapter
from shiftlab.domain import Domain
from shiftlab.experiments.grid import Task
from shiftlab.experiments.resume import run_unfinished
from shiftlab.experiments.script import read_settings, write_study
from shiftlab.experiments.seeds import derive_seed
from shiftlab.feature_space.co_optimal_transport import CoOptimalTransport
from shiftlab.feature_space.correlation_map import CorrelationMap
from shiftlab.feature_space.gromov_wasserstein import GromovWasserstein
from shiftlab.feature_space.heterogeneous_augmentation import HeterogeneousAugmentation
from shiftlab.feature_space.linear_gaussian_map import LinearGaussianMap
from shiftlab.feature_space.shared_embedding import SharedEmbedding

__all__ = [
    "Draw",
    "controls",
    "describe",
    "draw_digits",
    "heterogeneous_block",
    "main",
    "measure",
]

Floats = NDArray[np.float64]

FIELDS = ("scenario", "draw", "method", "source", "accuracy")
ALONE, BY_PAIRS = "labelled target rows alone", "labelled target rows, mapped by the pairs"
REAL, NOISE, SHUFFLED = "real", "noise", "shuffled labels"
METHODS: dict[str, Callable[[Any, Any, int], Adapter]] = {
    "CorrelationMap": lambda model, paired, seed: CorrelationMap(model, paired=paired),
    "CorrelationMap (kernel)": lambda model, paired, seed: CorrelationMap(
        model, paired=paired, kernel="rbf", random_state=seed
    ),
    "HeterogeneousAugmentation (pairs)": lambda model, paired, seed: HeterogeneousAugmentation(
        model, paired=paired
    ),
    "HeterogeneousAugmentation": lambda model, paired, seed: HeterogeneousAugmentation(model),
    "SharedEmbedding": lambda model, paired, seed: SharedEmbedding(model),
    "GromovWasserstein": lambda model, paired, seed: GromovWasserstein(model, random_state=seed),
    "CoOptimalTransport": lambda model, paired, seed: CoOptimalTransport(model, random_state=seed),
    "LinearGaussianMap": lambda model, paired, seed: LinearGaussianMap(model),
}


@dataclass(frozen=True)
class Draw:
    """What one draw gives to the methods, and what it keeps back.

    Parameters
    ----------
    source : Domain
        Rows and labels in the source's space.
    target : Domain
        Rows in the target's space; few of their labels are visible.
    paired : tuple of ndarrays of shape (m, d) and (m, e)
        Other rows, known in both.
    test : Domain
        Other rows of the target with all labels.
    """

    source: Domain
    target: Domain
    paired: tuple[Floats, Floats]
    test: Domain


def describe(images: NDArray[np.uint8], how: str, net: Any = None) -> Floats:
    """Describe images of 16 x 16 pixels.

    Parameters
    ----------
    images : ndarray of shape (n, 16, 16), uint8
        Digits.
    how : {"pixels", "hog", "cnn"}
        256 gray values; 288 numbers: 8 directions in cells of 4 x 4, normalised over 2 x 2; or
        what a network gives to its head, 128 numbers.
    net : TrainedNet, default=None
        The network, for "cnn".

    Returns
    -------
    ndarray of shape (n, 256), (n, 288) or (n, 128)
    """
    if how == "pixels":
        return images.reshape(len(images), -1) / 255.0
    if how == "cnn":
        return np.asarray(net.features(images), dtype=np.float64)
    from skimage.feature import hog

    return np.array(
        [hog(x, orientations=8, pixels_per_cell=(4, 4), cells_per_block=(2, 2)) for x in images]
    )


def draw_digits(
    settings: Mapping[str, Any],
    scenario: Mapping[str, Any],
    digits: Mapping[str, Domain],
    seed: int,
    net: Any = None,
) -> Draw:
    """Draw rows without overlap; each space is centred and scaled by what is seen without labels.

    Parameters
    ----------
    settings, scenario : mapping
        As in ``experiments/heterogeneous/config.toml``.
    digits : mapping of str to Domain
        Images.
    seed : int
        Of the draw.
    net : TrainedNet, default=None
        The network, where a side is described by one.

    Returns
    -------
    Draw
    """
    rng = np.random.default_rng(seed)
    sizes = [int(settings[key]) for key in ("n_source", "n_target", "n_paired", "n_test")]
    (name_s, how_s), (name_t, how_t) = scenario["source"], scenario["target"]
    order = rng.permutation(len(digits[name_t]))
    if name_s == name_t:
        mine, order = order[: sizes[0]], order[sizes[0] :]
    else:
        mine = rng.permutation(len(digits[name_s]))[: sizes[0]]
    seen, both, held = np.split(order[: sum(sizes[1:])], np.cumsum(sizes[1:])[:2])
    y, labels = digits[name_t].y, digits[name_s].y
    assert y is not None
    assert labels is not None
    X = describe(digits[name_s].X[mine], how_s, net)
    A = describe(digits[name_t].X[both], how_s, net)
    Z, B, T = (describe(digits[name_t].X[rows], how_t, net) for rows in (seen, both, held))
    known = np.zeros(len(seen), dtype=bool)
    for k in np.unique(y):
        known[np.flatnonzero(y[seen] == k)[: int(settings["labels"])]] = True
    (X, A), (Z, B, T) = _scaled(X, A), _scaled(Z, B, T)
    return Draw(
        Domain(X, labels[mine]),
        Domain(Z, y[seen], labelled=known),
        (A, B),
        Domain(T, y[held]),
    )


def _scaled(first: Floats, *others: Floats) -> list[Floats]:
    mean = first.mean(axis=0)
    size = np.sqrt(((first - mean) ** 2).sum(axis=1).mean())
    return [(X - mean) / size for X in (first, *others)]


def controls(draw: Draw, seed: int) -> dict[str, Draw]:
    """Return the draw, and the same with a source that can teach nothing.

    Parameters
    ----------
    draw : Draw
        Real rows.
    seed : int
        Of the noise.

    Returns
    -------
    dict of str to Draw
        "real"; "noise": Gaussian rows in the source's space and on the source's side of the pairs,
        of the same size, under the source's labels; "shuffled labels": real rows, whose labels are
        permuted.
    """
    rng = np.random.default_rng(seed)
    X, A = draw.source.X, draw.paired[0]
    y = draw.source.y
    assert y is not None
    noise, noise_pairs = (rng.normal(size=v.shape) / np.sqrt(v.shape[1]) for v in (X, A))
    return {
        REAL: draw,
        NOISE: replace(draw, source=Domain(noise, y), paired=(noise_pairs, draw.paired[1])),
        SHUFFLED: replace(draw, source=Domain(X, rng.permutation(y))),
    }


@functools.cache
def _digits(name: str, root: str | None) -> Domain:
    from shiftlab.data import load_digits5

    return load_digits5(name, "train", size=16, root=root, exclude_shared=False)


@functools.cache
def _network(name: str, n: int, epochs: int, root: str | None) -> Any:
    """A network of digits that are neither of the source nor of the target."""
    from shiftlab.deep import train_classifier

    rows = _digits(name, root)
    seed = derive_seed("heterogeneous", "network", name)
    some = rows.take(np.random.default_rng(seed).permutation(len(rows))[:n])
    return train_classifier(some.X, some.y, epochs=epochs, device="cpu", random_state=seed)


def measure(
    payload: tuple[Mapping[str, Any], int, Mapping[str, Any], str | None],
) -> dict[str, Any]:
    """Score every method on one draw, with the real source and with the controls.

    Parameters
    ----------
    payload : tuple
        A scenario, the number of the draw, the settings, as in
        ``experiments/heterogeneous/config.toml``, and the folder of the digits, or None.

    Returns
    -------
    dict
        ``key``, and ``rows`` of ``results.csv``.
    """
    scenario, k, settings, root = payload
    digits = {scenario[side][0]: _digits(scenario[side][0], root) for side in ("source", "target")}
    net = None
    if "cnn" in (scenario["source"][1], scenario["target"][1]):
        of = settings["network"]
        net = _network(of["digits"], int(of["n_train"]), int(of["epochs"]), root)
    seed = derive_seed("heterogeneous", scenario["name"], k)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)
        draw = draw_digits(settings, scenario, digits, seed, net)
        rows = [
            [scenario["name"], k, method, source, f"{accuracy:.4f}"]
            for method, source, accuracy in _score(settings, draw, seed)
        ]
    return {
        "key": _key(scenario, k),
        "rows": [dict(zip(FIELDS, row, strict=True)) for row in rows],
    }


def _key(scenario: Mapping[str, Any], k: int) -> str:
    return f"{scenario['name']}|{k}"


def _score(settings: Mapping[str, Any], draw: Draw, seed: int) -> Iterator[tuple[str, str, float]]:
    model = LogisticRegression(C=float(settings["penalties"][0]), max_iter=1000)
    known, test = draw.target.labelled_part(), draw.test
    for penalty in settings["penalties"]:
        alone = LogisticRegression(C=float(penalty), max_iter=1000).fit(known.X, known.y)
        yield f"{ALONE}, C = {penalty:g}", "none", alone.score(test.X, test.y)
    mapped = CorrelationMap(paired=draw.paired).fit(draw.source, draw.target)
    by_pairs = model.fit(mapped.transform(known.X), known.y)
    yield BY_PAIRS, "none", by_pairs.score(mapped.transform(test.X), test.y)
    for source, given in controls(draw, seed).items():
        for method, make in METHODS.items():
            adapter = make(model, given.paired, seed).fit(given.source, given.target)
            yield method, source, adapter.score(test.X, test.y)


def heterogeneous_block(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the results as Markdown tables.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of ``results.csv``.

    Returns
    -------
    str
        For each scenario: means, gains over the better of the target-only models with two
        standard errors of the paired differences, and what the method shows.
    """
    lines: list[str] = []
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        found: dict[tuple[str, str], Floats] = {}
        for row in rows:
            if row["scenario"] == scenario:
                key = (row["method"], row["source"])
                found[key] = np.append(found.get(key, np.empty(0)), float(row["accuracy"]))
        alone = max(
            (v for (method, _), v in found.items() if method.startswith(ALONE) and len(v)),
            key=lambda v: float(v.mean()),
        )
        lines += [
            f"**{scenario}**, {len(alone)} draws. Labelled target rows alone: {alone.mean():.1%} "
            f"(the better penalty); mapped by the pairs: {found[BY_PAIRS, 'none'].mean():.1%}.",
            "",
            "| method | real source | over target alone | noise source | shuffled labels | "
            "over the better of these | helps |",
            "|---|---|---|---|---|---|---|",
        ]
        for method in METHODS:
            real, noise, shuffled = (found[method, s] for s in (REAL, NOISE, SHUFFLED))
            better = noise if noise.mean() > shuffled.mean() else shuffled
            gains = [_difference(real, other) for other in (alone, better)]
            helps = "yes" if all(mean > error for mean, error in gains) else "no"
            cells = [f"{100 * mean:+.1f} ± {100 * error:.1f}" for mean, error in gains]
            lines.append(
                f"| {method} | {real.mean():.1%} | {cells[0]} | {noise.mean():.1%} | "
                f"{shuffled.mean():.1%} | {cells[1]} | {helps} |"
            )
        lines.append("")
    return "\n".join(lines).rstrip()


def _difference(a: Floats, b: Floats) -> tuple[float, float]:
    """Mean of the paired differences, and two standard errors of it."""
    gap = a - b
    return float(gap.mean()), float(2 * gap.std(ddof=1) / np.sqrt(len(gap)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is left of the study and rewrite its folder.

    Parameters
    ----------
    arguments : sequence of str, default=None
        ``--folder``, ``--out``, ``--root`` and ``--jobs``; None reads them from the process.
    """
    parser = argparse.ArgumentParser(description="The study of experiments/heterogeneous.")
    parser.add_argument("--folder", type=Path, default=Path("experiments/heterogeneous"))
    parser.add_argument("--out", type=Path, default=Path("runs/heterogeneous"))
    parser.add_argument("--root", help="folder of the digits; else what SHIFTLAB_DATA names")
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args(arguments)
    settings = read_settings(given.folder)
    cells = {
        _key(scenario, k): (scenario, k, settings, given.root)
        for scenario in settings["scenarios"]
        for k in range(int(settings["draws"]))
    }

    def choose(done: set[str]) -> list[Task]:
        return [Task(key, payload) for key, payload in cells.items() if key not in done]

    def watch(steps: Any, left: Any, jobs: int) -> Any:
        for task, result in steps:
            print(task.name, flush=True)
            yield task, result

    found = run_unfinished(given.out, cells, choose, measure, jobs=given.jobs, watch=watch)
    by_key = {result["key"]: result["rows"] for result in found}
    rows = [row for key in cells for row in by_key[key]]
    write_study(given.folder, FIELDS, rows, heterogeneous_block(rows))


if __name__ == "__main__":
    main()
