"""Label space: do both domains have the same set of labels?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from shiftlab.diagnosis.findings import Finding
from shiftlab.domain import Domain

__all__ = ["Labels", "compare_label_spaces", "read_labels"]

LEVEL_SHARE = 0.2  # of alpha; this question is not among those that are corrected together


@dataclass(frozen=True)
class Labels:
    """Visible labels of both sides as codes.

    ``source`` and ``target`` hold a code per row; ``source_known`` and ``target_known`` say
    which of them count. ``classes`` are the labels that the codes stand for.
    """

    classes: list[Any]
    source: NDArray[np.intp]
    target: NDArray[np.intp]
    source_known: NDArray[np.bool_]
    target_known: NDArray[np.bool_]

    def counts(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows of every class in source and target."""
        k = len(self.classes)
        return (
            np.bincount(self.source[self.source_known], minlength=k),
            np.bincount(self.target[self.target_known], minlength=k),
        )


def read_labels(source: Domain, target: Domain) -> Labels:
    """Code the labels of both sides, by Python equality: 1 and 1.0 are one class, 1 and "1" two.

    Parameters
    ----------
    source, target : Domain
        The two samples.

    Returns
    -------
    Labels

    Raises
    ------
    ValueError
        If a label is a list or another thing that cannot be compared.
    """
    seen: dict[Any, None] = {}
    values: list[list[Any]] = []
    for role, domain in (("source", source), ("target", target)):
        visible = np.asarray(domain.y)[domain.labelled].tolist() if domain.y is not None else []
        values.append(visible)
        try:
            seen.update(dict.fromkeys(visible))
        except TypeError as error:
            raise ValueError(
                f"the {role}'s labels must be single values, such as numbers or text ({error})"
            ) from error
    try:
        classes = sorted(seen)
    except TypeError:  # numbers beside text
        classes = sorted(seen, key=lambda v: (type(v).__name__, str(v)))
    position = {c: i for i, c in enumerate(classes)}
    codes = []
    for domain, visible in zip((source, target), values, strict=True):
        code = np.zeros(domain.n_rows, dtype=np.intp)
        code[domain.labelled] = [position[v] for v in visible]
        codes.append(code)
    return Labels(classes, codes[0], codes[1], source.labelled, target.labelled)


def _named(classes: list[Any], most: int = 5) -> str:
    shown = ", ".join(f"'{c}'" for c in classes[:most])
    return shown if len(classes) <= most else f"{shown} and {len(classes) - most} more"


def compare_label_spaces(labels: Labels, task: str, alpha: float) -> Finding:
    r"""Compare the sets of labels.

    A label that one side lacks is a fact about the samples. Whether it is one about the
    domains is judged by how likely all its rows would fall on one side if the labelled rows
    were dealt at random (hypergeometric, times twice the number of classes, as either side may
    lack one): a rare class that
    chance may have left out is reported and does not count. This test has a budget of its
    own, a fifth of ``alpha``, as its answer decides which rows the other questions compare; any
    false "differs" of the whole verdict has thus a probability of at most 1.2 ``alpha``.

    Parameters
    ----------
    labels : Labels
        The labels of both sides.
    task : {"classification", "regression"}
        A regression target has no label set.
    alpha : float
        Level of the whole verdict.

    Returns
    -------
    Finding
    """
    question = "label_space"
    if task == "regression":
        reason = "A regression target has no set of labels."
        return Finding.not_testable(question, reason, not_asked=True)
    source, target = labels.counts()
    n_source, n_target = int(source.sum()), int(target.sum())
    if n_source == 0 or n_target == 0:
        side = " and ".join(s for s, n in (("source", n_source), ("target", n_target)) if n == 0)
        have = "have" if n_source == n_target else "has"
        reason = f"The {side} {have} no labels, so the sets of labels cannot be compared."
        return Finding.not_testable(question, reason)
    k = len(labels.classes)
    pooled = source + target
    certain: dict[str, list[Any]] = {"new": [], "gone": []}
    perhaps: list[Any] = []
    for i, name in enumerate(labels.classes):
        if source[i] and target[i]:
            continue
        n_has = n_target if source[i] == 0 else n_source
        chance = 2 * k * hypergeom.sf(pooled[i] - 1, n_source + n_target, pooled[i], n_has)
        side = "new" if source[i] == 0 else "gone"
        if chance <= LEVEL_SHARE * alpha:
            certain[side].append(name)
        else:
            perhaps.append(name)
    parts = []
    if certain["new"]:
        parts.append(f"the source has no rows of {_named(certain['new'])}")
    if certain["gone"]:
        parts.append(f"the target has no rows of {_named(certain['gone'])}")
    kinds = {_kind(c) for c in labels.classes}
    same = None
    if len(kinds) > 1 and parts:
        parts.append("labels are of different types (" + ", ".join(sorted(kinds)) + ")")
        same = _same_in_other_types(
            [c for c, n in zip(labels.classes, source, strict=True) if n],
            [c for c, n in zip(labels.classes, target, strict=True) if n],
        )
    summary = f"Both have the same {k} labels."
    if same is not None:
        side, convert = same
        summary = (
            "Source and target seem to write the same labels in different types "
            f"({' and '.join(sorted(kinds))}). Convert the {side}'s: y = [{convert} for v in y]."
        )
    elif parts:
        summary = "The sets of labels differ: " + "; ".join(parts) + "."
    elif perhaps:
        summary = f"No clear difference; only one side has {_named(perhaps)}, which can be chance."
    details = {
        "classes": labels.classes,
        "source_counts": source,
        "target_counts": target,
        "new": certain["new"],
        "gone": certain["gone"],
        "one_side_by_chance": perhaps,
        "convert": None if same is None else {"side": same[0], "code": same[1]},
    }
    status = "differs" if parts else "no_evidence"
    return Finding(question, status, summary, details=details)  # type: ignore[arg-type]


CONVERSIONS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("int(v)", int),
    ("float(v)", float),
    ("str(v)", str),
    ("v == 'True'", {"True": True, "False": False}.__getitem__),
)


def _same_in_other_types(source: list[Any], target: list[Any]) -> tuple[str, str] | None:
    """Which side to convert, and how, for one set of labels to hold the other; or None."""
    for side, given, wanted in (("target", target, source), ("source", source, target)):
        for code, convert in CONVERSIONS:
            try:
                converted = {convert(v) for v in given}
            except (KeyError, TypeError, ValueError):
                continue
            both = converted & set(wanted)
            if len(converted) == len(given) and len(both) == min(len(given), len(wanted)):
                return side, code
    return None


def _kind(label: Any) -> str:
    if isinstance(label, str):
        return "text"
    return "truth values" if isinstance(label, bool) else "numbers"
