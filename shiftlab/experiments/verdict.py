"""What a grid says, in sentences: how often each method helped, and by how much."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shiftlab.experiments.methods import METHODS
from shiftlab.experiments.tables import method_means

__all__ = ["Comparison", "compare", "verdict"]

_FLOOR, _CEILING = "source-only", "target-supervised"
# A difference of two standard errors: about 95 % if it were a single planned comparison.
_ERRORS = 2.0


@dataclass(frozen=True)
class Comparison:
    """How often a method was better or worse than source-only.

    Parameters
    ----------
    method : str
        Which method.
    better, worse, unclear : int
        Numbers of pairs; "unclear" is within two standard errors.
    worst : (str, str, float) or None
        Source, target and loss of the pair on which it was worst, where it was worse.
    """

    method: str
    better: int
    worse: int
    unclear: int
    worst: tuple[str, str, float] | None


def compare(rows: Sequence[Mapping[str, Any]]) -> list[Comparison]:
    """Compare each method with source-only, pair by pair.

    The standard error of a difference is
    ``sqrt((p (1 - p) + q (1 - q)) / n)`` with n test images over all seeds: as if the two
    methods were measured on different images, which is wider than the truth.

    Parameters
    ----------
    rows : sequence of mapping
        Results of one study.

    Returns
    -------
    list of Comparison
        In the order of the tables, without source-only and target-supervised.
    """
    cells: dict[str, dict[tuple[str, str], list[Mapping[str, Any]]]] = {}
    for row in rows:
        by_pair = cells.setdefault(row["method"], {})
        by_pair.setdefault((row["source"], row["target"]), []).append(row)
    floor = cells.get(_FLOOR, {})
    out = []
    for method in [m for m, _, _ in method_means(rows) if m not in (_FLOOR, _CEILING)]:
        better = worse = unclear = 0
        worst: tuple[str, str, float] | None = None
        for pair, found in cells[method].items():
            if pair not in floor:
                continue
            p, n = _accuracy(found)
            q, m = _accuracy(floor[pair])
            limit = _ERRORS * math.sqrt(p * (1 - p) / n + q * (1 - q) / m)
            better += p - q > limit
            worse += q - p > limit
            unclear += abs(p - q) <= limit
            if q - p > limit and (worst is None or q - p > worst[2]):
                worst = (*pair, q - p)
        out.append(Comparison(method, better, worse, unclear, worst))
    return out


def _labels_seen(method: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Say which target labels a method trains on, so that unlike methods are not compared."""
    known = METHODS.get(method)
    if known is None or known.target_labels == "none":
        return ""
    if known.target_labels == "all":
        return " (trains on all target labels)"
    counts = [row.get("protocol", {}).get("labels_per_class") for row in rows]
    count = next((count for count in counts if count is not None), "a few")
    return f" (trains on {count} labelled target images a class)"


def _accuracy(rows: Sequence[Mapping[str, Any]]) -> tuple[float, int]:
    n = sum(int(row["n_test"]) for row in rows)
    return math.fsum(float(row["accuracy"]) * int(row["n_test"]) for row in rows) / n, n


def verdict(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what the grid shows.

    Parameters
    ----------
    rows : sequence of mapping
        Results of one study.

    Returns
    -------
    list of str
        Sentences; the first says how far source-only is from target-supervised.
    """
    means = {method: mean for method, mean, _ in method_means(rows)}
    sentences = []
    if _FLOOR in means and _CEILING in means:
        sentences.append(
            f"A network moved to a new domain as it is gets {means[_FLOOR]:.3f} on average; one "
            f"trained on the new domain's own labels gets {means[_CEILING]:.3f}."
        )
    for found in compare(rows):
        gain = means[found.method] - means.get(_FLOOR, math.nan)
        text = (
            f"{found.method}{_labels_seen(found.method, rows)}: {means[found.method]:.3f} "
            f"({gain:+.3f}); better than source-only on "
            f"{found.better} {_pairs(found.better)}, worse on {found.worse}, no clear difference "
            f"on {found.unclear}."
        )
        if found.worst is not None:
            source, target, loss = found.worst
            text += f" It loses most from {source} to {target} ({-loss:+.3f})."
        sentences.append(text)
    return sentences


def _pairs(count: int) -> str:
    return "pair" if count == 1 else "pairs"
