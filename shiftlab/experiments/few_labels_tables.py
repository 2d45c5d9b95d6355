"""Tables and curves of the study of few labels."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "accuracy_cell",
    "by_pair",
    "correlations",
    "draw_curves",
    "few_labels_block",
    "mean_and_error",
]

Row = Mapping[str, Any]
Floats = NDArray[np.float64]
TUNED = ("frozen", "probe, tuned", "tuned", "layer-wise", "l2-sp")
SCRATCH = "scratch"


def by_pair(rows: Sequence[Row], method: str, labels: int) -> dict[tuple[str, str], float]:
    """Average a method's accuracy over the seeds of each pair.

    Parameters
    ----------
    rows : sequence of mapping
        Results.
    method : str
        Which; from scratch every source of a target has the same number.
    labels : int
        Labelled images a class.

    Returns
    -------
    dict of (source, target) to float
    """
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["method"] == method and int(row["labels"]) == labels:
            place = (row["source"], row["target"])
            found.setdefault(place, []).append(float(row["accuracy"]))
    return {place: float(np.mean(values)) for place, values in found.items()}


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean over pairs and its standard error.

    Parameters
    ----------
    values : sequence of float
        One a pair.

    Returns
    -------
    tuple of (mean, standard error)
        The error is NaN for a single value.
    """
    array = np.asarray(values, dtype=float)
    error = array.std(ddof=1) / np.sqrt(len(array)) if len(array) > 1 else np.nan
    return float(array.mean()), float(error)


def accuracy_cell(values: Sequence[float]) -> str:
    """Write the mean of accuracies, and its standard error where there are several.

    Parameters
    ----------
    values : sequence of float
        Accuracies; none give an empty cell.

    Returns
    -------
    str

    Examples
    --------
    >>> accuracy_cell([0.8, 0.9]), accuracy_cell([0.8]), accuracy_cell([])
    ('0.850 ± 0.050', '0.800', '')
    """
    if not values:
        return ""
    mean, error = mean_and_error(values)
    return f"{mean:.3f} ± {error:.3f}" if np.isfinite(error) else f"{mean:.3f}"


def _names(rows: Sequence[Row]) -> tuple[list[str], list[int]]:
    methods = list(dict.fromkeys(row["method"] for row in rows))
    return methods, sorted({int(row["labels"]) for row in rows})


def _gains(rows: Sequence[Row], method: str, labels: int) -> list[float]:
    scratch = {t: v for (_, t), v in by_pair(rows, SCRATCH, labels).items()}
    found = by_pair(rows, method, labels)
    return [value - scratch[t] for (_, t), value in found.items() if t in scratch]


def few_labels_block(rows: Sequence[Row], n_cells: int) -> str:
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
    methods, counts = _names(rows)
    lines = [
        f"{len(rows)} of {n_cells} cells are finished; an empty place is not measured yet.",
        "",
    ]
    lines += ["Accuracy, mean over pairs (pairs measured), by labelled target images a class:", ""]
    lines += _head(counts)
    for method in methods:
        cells = []
        for labels in counts:
            values = list(by_pair(rows, method, labels).values())
            cells.append(f"{np.mean(values):.3f} ({len(values)})" if values else "")
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    lines += ["", "Gain over scratch in points, mean over pairs ± its standard error:", ""]
    lines += _head(counts)
    for method in methods:
        cells = []
        for labels in counts:
            gains = _gains(rows, method, labels) if method != SCRATCH else []
            mean, error = mean_and_error(gains) if gains else (0.0, 0.0)
            cells.append(f"{100 * mean:+.1f} ± {100 * error:.1f}" if gains else "")
        if any(cells):
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    lines += ["", *_rule_lines(rows, counts), ""]
    lines += _correlation_lines(rows, counts)
    return "\n".join(lines).rstrip()


def _head(counts: Sequence[int]) -> list[str]:
    return ["| method | " + " | ".join(map(str, counts)) + " |", "|---" * (len(counts) + 1) + "|"]


def rule_method(labels: int) -> str:
    """Return the method of the study that the default rule of FineTune stands for.

    Parameters
    ----------
    labels : int
        Labelled images a class.

    Returns
    -------
    str
    """
    from shiftlab.label_space.finetune import fine_tuning_rule

    rule = fine_tuning_rule(labels)
    if rule["head_only"]:
        return "frozen"
    return "l2-sp" if rule["hold"] else "tuned"


def _rule_lines(rows: Sequence[Row], counts: Sequence[int]) -> list[str]:
    """Compare the default rule with the best of the grid, on pairs that have all of it."""
    lines = [
        "| labels a class | rule | mean | best of the grid | mean | pairs | settings measured |"
    ]
    lines += ["|---" * 7 + "|"]
    gaps = []
    for labels in counts:
        table = {m: by_pair(rows, m, labels) for m in TUNED}
        table = {m: found for m, found in table.items() if found}
        if len(table) < 2 or rule_method(labels) not in table:
            continue
        shared = sorted(set.intersection(*(set(found) for found in table.values())))
        means = {m: float(np.mean([found[p] for p in shared])) for m, found in table.items()}
        if not shared:
            continue
        best, chosen = max(means, key=lambda m: means[m]), rule_method(labels)
        gaps.append(means[best] - means[chosen])
        lines.append(
            f"| {labels} | {chosen} | {means[chosen]:.3f} | {best} | {means[best]:.3f} | "
            f"{len(shared)} | {len(table)} of {len(TUNED)} |"
        )
    if not gaps:
        return []
    said = f"The default rule is {100 * np.mean(gaps):.1f} points below the best of the grid in"
    return [f"{said} the mean over these numbers of labels:", "", *lines]


def correlations(
    rows: Sequence[Row], labels: int, score: str, *, method: str = "probe, tuned", draws: int = 2000
) -> tuple[float, float, float, int] | None:
    """Rank the sources of each target by a score, and by what fine-tuning reached.

    Parameters
    ----------
    rows : sequence of mapping
        Results; scores are those on the labelled target images.
    labels : int
        Labelled images a class.
    score : str
        Name of a score.
    method : str, default="probe, tuned"
        The fine-tuning.
    draws : int, default=2000
        Resamples of targets and seeds.

    Returns
    -------
    tuple of (mean, low, high, n) or None
        Mean of Kendall's tau over targets and seeds, its 95% bootstrap interval over
        them, and how many there are; None where nothing can be ranked.
    """
    from scipy.stats import kendalltau

    groups: dict[tuple[str, int], dict[str, list[float]]] = {}
    reached = {
        (r["source"], r["target"], r["seed"]): float(r["accuracy"])
        for r in rows
        if r["method"] == method and int(r["labels"]) == labels
    }
    for row in rows:
        place = (row["source"], row["target"], row["seed"])
        if row["scores"] and int(row["labels"]) == labels and place in reached:
            group = groups.setdefault((row["target"], row["seed"]), {"score": [], "reached": []})
            group["score"].append(float(row["scores"][score]))
            group["reached"].append(reached[place])
    taus = [kendalltau(g["score"], g["reached"]).statistic for g in groups.values()
            if len(g["score"]) > 2]  # fmt: skip
    taus = [float(tau) for tau in taus if np.isfinite(tau)]
    if len(taus) < 2:
        return None
    rng = np.random.default_rng(0)
    means = rng.choice(taus, size=(draws, len(taus))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(np.mean(taus)), float(low), float(high), len(taus)


def _correlation_lines(rows: Sequence[Row], counts: Sequence[int]) -> list[str]:
    names = sorted({name for row in rows for name in row["scores"] or ()})
    table = {n: [correlations(rows, labels, n) for labels in counts] for n in names}
    if not any(any(found) for found in table.values()):
        return []
    lines = [
        "Kendall's tau between a transferability score of the four sources of a target and what "
        "fine-tuning (probe, tuned) then reached: mean over targets and seeds, 95% bootstrap "
        "interval over them:",
        "",
        *_head(counts),
    ]
    lines[-2] = lines[-2].replace("method", "score", 1)
    for name, found in table.items():
        cells = [f"{f[0]:+.2f} [{f[1]:+.2f}, {f[2]:+.2f}]" if f else "" for f in found]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def draw_curves(rows: Sequence[Row]) -> bytes:
    """Draw the mean accuracy over pairs by the number of labels, with its standard error.

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

    methods, counts = _names(rows)
    with mpl.rc_context({"svg.hashsalt": "few labels", "font.size": 9}):
        figure = Figure(figsize=(6.0, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for method in methods:
            found = {k: list(by_pair(rows, method, k).values()) for k in counts}
            known = [k for k in counts if len(found[k]) > 1]
            if known:
                means, errors = zip(*(mean_and_error(found[k]) for k in known), strict=True)
                axes.errorbar(known, means, yerr=errors, label=method, marker="o", ms=3, capsize=2)
        axes.set(xscale="log", xlabel="labelled target images a class", ylabel="accuracy")
        axes.set_xticks(counts, [str(k) for k in counts])
        axes.minorticks_off()
        if axes.lines:
            axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
