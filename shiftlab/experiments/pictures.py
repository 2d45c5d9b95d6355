"""What a page of the Digit-5 study draws: ranks, curves, confusions, features, samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.experiments.report import figure_uri
from shiftlab.experiments.settings import REST
from shiftlab.experiments.tables import methods_of, summarise
from shiftlab.stats.ranks import cliques, critical_difference, mean_ranks

__all__ = [
    "Picture",
    "change_picture",
    "changed",
    "confusion_picture",
    "curve_picture",
    "feature_picture",
    "pair_to_show",
    "rank_picture",
    "study_pictures",
]

Rows = Sequence[Mapping[str, Any]]
_FLOOR, _CEILING = "source-only", "target-supervised"
_SHOWN_A_DOMAIN = 400
_SAMPLES = 10


@dataclass(frozen=True)
class Picture:
    """A figure of a page.

    Parameters
    ----------
    title : str
        Its heading.
    note : str
        What it shows.
    image : str
        A ``data:`` URI.
    """

    title: str
    note: str
    image: str


def _figure(width: float, height: float, **layout: Any) -> tuple[Any, Any]:
    # Not pyplot: a page leaves no figure open and asks for no window.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(squeeze=False, **layout)


def _cell(rows: Rows, pair: tuple[str, str], method: str) -> Mapping[str, Any] | None:
    """Return the first seed's result of a pair and method."""
    found = [r for r in rows if (r["source"], r["target"]) == pair and r["method"] == method]
    return min(found, key=lambda row: int(row["seed"]), default=None)


def pair_to_show(rows: Rows) -> tuple[tuple[str, str], str] | None:
    """Choose the pair and the method of which single images are shown.

    Of the methods that adapt a network and keep it, the one with the most pairs and the highest
    mean, on the pair where it gained most on source-only: it is an illustration, no evidence.

    Parameters
    ----------
    rows : sequence of mapping
        Results of one study.

    Returns
    -------
    ((source, target), method) or None
        None where no such method has a pair with source-only beside it.
    """
    gains: dict[str, dict[tuple[str, str], float]] = {}
    for row in rows:
        pair = (row["source"], row["target"])
        floor = _cell(rows, pair, _FLOOR)
        if row["source"] == REST:  # four sources at once
            continue
        if "history" in row and floor is not None and "predicted" in floor:
            gain = float(row["accuracy"]) - float(floor["accuracy"])
            gains.setdefault(row["method"], {}).setdefault(pair, gain)
    if not gains:
        return None
    method = max(gains, key=lambda m: (len(gains[m]), float(np.mean(list(gains[m].values())))))
    return max(gains[method], key=lambda pair: gains[method][pair]), method


def rank_picture(rows: Rows) -> Picture | None:
    """Draw the mean ranks of all methods over the pairs that all of them have.

    Parameters
    ----------
    rows : sequence of mapping
        Results of one study.

    Returns
    -------
    Picture or None
        None for fewer than three methods or two pairs in common.
    """
    entries = summarise(rows)
    methods = [m for m in methods_of(entries) if m != _CEILING]
    found = {(e.source, e.target, e.method): e.mean for e in entries}
    pairs = [
        pair
        for pair in dict.fromkeys((e.source, e.target) for e in entries)
        if all((*pair, method) in found for method in methods)
    ]
    if len(methods) < 3 or len(pairs) < 2:
        return None
    ranks = mean_ranks([[found[(*pair, method)] for method in methods] for pair in pairs])
    order = np.argsort(ranks, kind="stable")
    difference = critical_difference(len(methods), len(pairs))
    figure, axes = _figure(8, 0.8 + 0.33 * len(methods))
    axis = axes[0, 0]
    for line, index in enumerate(order):
        axis.plot([1, ranks[index]], [line, line], color="#d6d3d1", lw=1, zorder=0)
        axis.plot(ranks[index], line, "o", color="#0c4a6e")
        axis.annotate(
            f"{ranks[index]:.2f}", (ranks[index], line), (8, -3), textcoords="offset points"
        )
    for first, last in cliques(ranks[order], difference):
        axis.plot([ranks[order[last]] + 0.35] * 2, [first, last], color="#92400e", lw=4, alpha=0.5)
    axis.set(
        yticks=range(len(methods)),
        yticklabels=[methods[index] for index in order],
        xlim=(0.9, len(methods) + 0.6),
        xlabel=f"mean rank over {len(pairs)} pairs; critical difference {difference:.2f}",
    )
    axis.invert_yaxis()
    axis.spines[["top", "right"]].set_visible(False)
    note = (
        "Methods on one brown bar do not differ by Nemenyi's test at 5 % over all of them. Pairs "
        "share domains, so the true difference is somewhat larger. Only pairs that every method "
        "has are counted; target-supervised is left out, as it sees the labels."
    )
    return Picture("Which methods differ", note, figure_uri(figure))


def curve_picture(rows: Rows, pair: tuple[str, str]) -> Picture | None:
    """Draw what each training on a pair noted in each epoch.

    Parameters
    ----------
    rows : sequence of mapping
        Results of one study.
    pair : (str, str)
        Source and target.

    Returns
    -------
    Picture or None
        None where no method kept a history.
    """
    methods = methods_of(summarise(rows))
    cells = {m: _cell(rows, pair, m) for m in methods}
    kept = {m: cell["history"] for m, cell in cells.items() if cell and "history" in cell}
    if not kept:
        return None
    figure, axes = _figure(9, 3.2, ncols=2)
    for axis, name, title in (
        (axes[0, 0], "source_loss", "cross-entropy on the source"),
        (axes[0, 1], "target_share", "largest predicted class of the target"),
    ):
        for method, history in kept.items():
            axis.plot(range(1, len(history[name]) + 1), history[name], label=method)
        axis.set(xlabel="epoch", title=title)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_yscale("log")
    axes[0, 1].legend(frameon=False)
    note = (
        f"{pair[0]} to {pair[1]}, first seed. Both are seen without a target label: a source loss "
        "that rises, or a class that takes all of the target, is a collapse."
    )
    return Picture("Training curves", note, figure_uri(figure))


def _labels(row: Mapping[str, Any], name: str) -> NDArray[np.int64]:
    return np.array([int(digit) for digit in row[name]], dtype=np.int64)


def confusion_picture(rows: Rows, pair: tuple[str, str], method: str) -> Picture | None:
    """Draw the confusion matrices of source-only and of a method.

    Parameters
    ----------
    rows : sequence of mapping
        Results of one study.
    pair : (str, str)
        Source and target.
    method : str
        Beside source-only.

    Returns
    -------
    Picture or None
        None where predictions are missing.
    """
    from sklearn.metrics import confusion_matrix

    cells = [(name, _cell(rows, pair, name)) for name in (_FLOOR, method)]
    figure, axes = _figure(9, 4.4, ncols=2)
    for axis, (name, cell) in zip(axes[0], cells, strict=True):
        if cell is None or "predicted" not in cell:
            return None
        wanted, predicted = (_labels(cell, key) for key in ("wanted", "predicted"))
        counts = confusion_matrix(wanted, predicted, labels=range(10))
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for i, j in np.argwhere(counts):
            colour = "white" if shares[i, j] > 0.5 else "black"
            axis.text(j, i, counts[i, j], ha="center", va="center", fontsize=7, color=colour)
        axis.set(
            xticks=range(10),
            yticks=range(10),
            xlabel="predicted",
            ylabel="true",
            title=f"{name}: {float(cell['accuracy']):.3f}",
        )
    note = f"{pair[0]} to {pair[1]}, test images of the target, first seed."
    return Picture("Confusion matrices", note, figure_uri(figure))


def feature_picture(
    pair: tuple[str, str],
    method: str,
    nets: Sequence[Any],
    samples: Sequence[tuple[NDArray[np.uint8], NDArray[Any]]],
) -> Picture:
    """Draw the features of both domains below the head, before and after adaptation.

    Parameters
    ----------
    pair : (str, str)
        Source and target.
    method : str
        The adaptation.
    nets : sequence of two networks with ``features(images)``
        Of source-only and of the method.
    samples : sequence of two (images, labels)
        Of the source and the target; the first 400 of each are shown.

    Returns
    -------
    Picture
    """
    from sklearn.manifold import TSNE

    images = [X[:_SHOWN_A_DOMAIN] for X, _ in samples]
    labels = [np.asarray(y[:_SHOWN_A_DOMAIN]).astype(int) for _, y in samples]
    n = len(images[0])
    figure, axes = _figure(9, 4.4, ncols=2)
    for axis, net, name in zip(axes[0], nets, (_FLOOR, method), strict=True):
        features = np.concatenate([net.features(X) for X in images]).astype(float)
        features -= features.mean(axis=0)
        perplexity = min(30.0, (len(features) - 1) / 3)
        points = TSNE(init="pca", perplexity=perplexity, random_state=0).fit_transform(features)
        for part, y, marker in ((points[:n], labels[0], "."), (points[n:], labels[1], "x")):
            axis.scatter(
                *part.T, c=y, cmap="tab10", vmin=-0.5, vmax=9.5, marker=marker, s=14, lw=0.8
            )
        axis.set(xticks=[], yticks=[], title=name)
    note = (
        f"{pair[0]} (dots) and {pair[1]} (crosses), {n} and {len(images[1])} test images, coloured "
        "by their true digit; t-SNE of the features below the head. Distances between clouds mean "
        "little; crosses among dots of another colour are read wrong."
    )
    return Picture("Features before and after", note, figure_uri(figure))


def changed(
    wanted: NDArray[Any], before: NDArray[Any], after: NDArray[Any]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find what became right, and what was right and is so no more.

    Parameters
    ----------
    wanted, before, after : ndarray of shape (n,)
        True labels, and two predictions.

    Returns
    -------
    (fixed, broken) : ndarrays of int
        Positions.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.experiments.pictures import changed
    >>> [p.tolist() for p in changed(*np.array([[1, 1, 1], [0, 1, 1], [1, 0, 1]]))]
    [[0], [1]]
    """
    was, is_ = before == wanted, after == wanted
    return np.flatnonzero(~was & is_), np.flatnonzero(was & ~is_)


def change_picture(
    rows: Rows, pair: tuple[str, str], method: str, images: NDArray[np.uint8]
) -> Picture | None:
    """Show target images that source-only reads wrong and the method right, and the reverse.

    Parameters
    ----------
    rows : sequence of mapping
        Results of one study.
    pair : (str, str)
        Source and target.
    method : str
        The adaptation.
    images : ndarray of uint8, shape (n, H, W) or (n, H, W, C)
        The target's test images of the first seed, in the order of the results.

    Returns
    -------
    Picture or None
        None where predictions are missing.
    """
    first, second = (_cell(rows, pair, name) for name in (_FLOOR, method))
    if first is None or second is None or "predicted" not in first or "predicted" not in second:
        return None
    before, after = (_labels(cell, "predicted") for cell in (first, second))
    fixed, broken = changed(_labels(first, "wanted"), before, after)
    figure, axes = _figure(9, 2.6, nrows=2, ncols=_SAMPLES)
    for line, chosen in zip(axes, (fixed, broken), strict=True):
        for axis, index in zip(line, chosen[:_SAMPLES], strict=False):
            axis.imshow(images[index], cmap="gray" if images.ndim == 3 else None)
            axis.set_title(f"{before[index]} → {after[index]}", fontsize=8)
        for axis in line:
            axis.axis("off")
    note = (
        f"{pair[0]} to {pair[1]}: above, the first of {len(fixed)} test images that {method} reads "
        f"right and source-only wrong; below, the first of {len(broken)} the other way round."
    )
    return Picture("What adaptation fixed and broke", note, figure_uri(figure))


def study_pictures(
    rows: Rows, load: Callable[[tuple[str, str], str], tuple[Sequence[Any], Sequence[Any]]] | None
) -> list[Picture]:
    """Draw all that the results allow.

    Parameters
    ----------
    rows : sequence of mapping
        Results of one study.
    load : callable or None
        Pair and method to (networks, samples) as :func:`feature_picture` takes them; None
        leaves out what needs images.

    Returns
    -------
    list of Picture
    """
    found: list[Picture | None] = [rank_picture(rows)]
    shown = pair_to_show(rows)
    if shown is not None:
        pair, method = shown
        found += [curve_picture(rows, pair), confusion_picture(rows, pair, method)]
        if load is not None:
            nets, samples = load(pair, method)
            found.append(feature_picture(pair, method, nets, samples))
            found.append(change_picture(rows, pair, method, samples[1][0]))
    return [picture for picture in found if picture is not None]
