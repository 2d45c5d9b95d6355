"""The study of features off the shelf: an ImageNet network's layers, pixels and gradients.

Run ``python -m shiftlab.experiments.off_the_shelf`` in a clone; it goes on where it was stopped
and rewrites ``results.csv``, the figure and the table of ``experiments/off_the_shelf``.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.domain import Domain
from shiftlab.experiments.few_labels_tables import accuracy_cell, mean_and_error
from shiftlab.experiments.methods import few_labels
from shiftlab.experiments.photos import face_patches, photo_patches
from shiftlab.experiments.script import read_settings, run_cells, study_parser, write_study
from shiftlab.experiments.seeds import derive_seed
from shiftlab.files import write_atomically

__all__ = ["features_of", "main", "measure", "off_the_shelf_block"]

FIELDS = ("set", "labels", "seed", "features", "accuracy")
_BACKBONE = "efficientnet_lite0"


def _draw(
    name: str, labels: int, seed: int, n_test: int, root: str | None
) -> tuple[Domain, Domain]:
    """Return labelled and test images, of which none is in both."""
    rng = np.random.default_rng(derive_seed("draw", name, seed))
    if name == "photos":
        known = photo_patches("left", labels, seed=derive_seed("photos", seed))
        test = photo_patches("right", n_test // 16, seed=0)
        return known, test
    if name == "faces":
        rows = face_patches()
        rows = rows.take(rng.permutation(len(rows)))
        mask = few_labels(rows.y, labels)
        return rows.take(np.flatnonzero(mask)), rows.take(np.flatnonzero(~mask)[:n_test])
    from shiftlab.data import load_digits5

    given: dict[str, Any] = {"size": 32, "channels": 3, "root": root, "source": "local"}
    rows, test = load_digits5(name, "train", **given), load_digits5(name, "test", **given)
    rows = rows.take(rng.permutation(len(rows)))
    test = test.take(np.random.default_rng(0).permutation(len(test))[:n_test])
    return rows.take(np.flatnonzero(few_labels(rows.y, labels))), test


def features_of(
    kind: str, images: NDArray[np.uint8], *, size: int, layers: Sequence[str], folder: Path
) -> NDArray[np.floating]:
    """Compute one kind of features.

    Parameters
    ----------
    kind : str
        "pixels", "hog" or one of `layers`.
    images : ndarray of uint8, shape (n, H, W) or (n, H, W, 3)
        Images.
    size : int
        Height and width that the network sees.
    layers : sequence of str
        Blocks whose outputs are computed, and kept, together.
    folder : Path
        Where the network's features are kept.

    Returns
    -------
    ndarray, shape (n, d)
    """
    if kind not in ("pixels", "hog"):
        from shiftlab.deep.feature_cache import cached_features
        from shiftlab.deep.layers import layer_outputs

        array = images if images.ndim == 4 else images[..., None]
        net = _network(array.shape[1:], size)
        one = layer_outputs(net, array[:1], layers)
        widths = [one[name].shape[1] for name in layers]
        place = list(layers).index(kind)
        found = cached_features(net, array, layers, folder=folder)
        return np.split(found, np.cumsum(widths)[:-1], axis=1)[place]
    from skimage.feature import hog
    from skimage.transform import resize

    side = 16 if kind == "pixels" else 32
    small = [resize(image, (side, side), anti_aliasing=True) for image in images]
    if kind == "pixels":
        return np.stack(small).reshape(len(images), -1)
    cells = {"pixels_per_cell": (8, 8), "cells_per_block": (2, 2)}
    return np.stack([hog(s, channel_axis=-1 if s.ndim == 3 else None, **cells) for s in small])


@functools.lru_cache(maxsize=3)
def _network(shape: tuple[int, ...], size: int) -> Any:
    from shiftlab.deep import load_pretrained

    return load_pretrained(_BACKBONE, image_shape=shape, size=size, device="cpu")


def measure(
    payload: tuple[str, int, int, str, dict[str, Any], str | None, str],
) -> dict[str, Any]:
    """Measure one cell.

    Parameters
    ----------
    payload : tuple
        Set, labels a class, seed, kind of features, the settings, the folder of local data and
        that of the features.

    Returns
    -------
    dict
        A line of the results.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    name, labels, seed, kind, settings, root, folder = payload
    known, test = _draw(name, labels, seed, int(settings["n_test"]), root)
    given: dict[str, Any] = {
        "size": int(settings["size"]),
        "layers": settings["layers"],
        "folder": Path(folder),
    }
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    model.fit(features_of(kind, known.X, **given), known.y)
    accuracy = model.score(features_of(kind, test.X, **given), test.y)
    return {
        "key": f"{name}|{labels}|{seed}|{kind}",
        "set": name,
        "labels": labels,
        "seed": seed,
        "features": kind,
        "accuracy": float(accuracy),
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, int], list[float]]:
    found: dict[tuple[str, str, int], list[float]] = {}
    for row in rows:
        place = (row["set"], row["features"], int(row["labels"]))
        found.setdefault(place, []).append(float(row["accuracy"]))
    return found


def off_the_shelf_block(rows: Sequence[Mapping[str, Any]], n_cells: int) -> str:
    """Write the results as a Markdown table.

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
    counts = sorted({labels for _, _, labels in found})
    lines = [f"{len(rows)} of {n_cells} cells are finished.", ""]
    lines.append("| images | features | " + " | ".join(f"{k} labels" for k in counts) + " |")
    lines.append("|---" * (len(counts) + 2) + "|")
    for name, kind in dict.fromkeys((s, f) for s, f, _ in found):
        cells = [accuracy_cell(found.get((name, kind, labels), [])) for labels in counts]
        lines.append(f"| {name} | {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw_curves(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw the mean accuracy by the number of labels, a panel for each set.

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
    sets = list(dict.fromkeys(name for name, _, _ in found))
    with mpl.rc_context({"svg.hashsalt": "off the shelf", "font.size": 9}):
        figure = Figure(figsize=(2.6 * len(sets) + 1.4, 3.0), layout="constrained")
        panels = figure.subplots(1, len(sets), sharey=True, squeeze=False)[0]
        for name, axes in zip(sets, panels, strict=True):
            for kind in dict.fromkeys(f for s, f, _ in found if s == name):
                counts = sorted(k for s, f, k in found if (s, f) == (name, kind))
                pairs = [mean_and_error(found[name, kind, k]) for k in counts]
                means, errors = zip(*pairs, strict=True)
                axes.errorbar(counts, means, yerr=errors, label=kind, marker="o", ms=3)
            axes.set(xscale="log", title=name, xlabel="labelled images a class")
            axes.set_xticks(counts, [str(k) for k in counts])
            axes.minorticks_off()
            axes.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel("accuracy")
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False
        )
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
    given = study_parser("off_the_shelf", data="the digits", cells=True).parse_args(arguments)
    settings = read_settings(given.folder)
    store = str(given.out / "features")
    cells = {
        f"{name}|{labels}|{seed}|{kind}": (name, labels, seed, kind, settings, given.root, store)
        for seed in range(int(settings["seeds"]))
        for name in settings["sets"]
        for labels in settings["labels"]
        for kind in ("pixels", "hog", *settings["layers"])
    }
    rows = run_cells(given, cells, measure, key=FIELDS[:4])
    write_atomically(given.folder / "curves.svg", draw_curves(rows))
    write_study(given.folder, FIELDS, rows, off_the_shelf_block(rows, len(cells)))


if __name__ == "__main__":
    main()
