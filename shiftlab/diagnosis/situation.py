"""What the choice of an adapter depends on, read from the findings."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from shiftlab.diagnosis.columns import Columns
from shiftlab.diagnosis.conditional import SUPPORT_SHARE
from shiftlab.diagnosis.findings import Finding, Kind
from shiftlab.domain import Domain
from shiftlab.validation import numeric_rows

__all__ = ["Situation", "inputs_of", "read_situation"]

APART = 0.98  # a classifier with this AUC leaves hardly a row where both domains have some


@dataclass(frozen=True)
class Situation:
    """What the choice depends on."""

    kind: Kind
    feature_space_differs: bool
    label_space_differs: bool
    task: str
    inputs: str
    n_source_labels: int
    n_target_labels: int
    new_classes: bool = False
    gone_classes: bool = False
    overlap: bool = True
    negligible: bool = False  # all that was found is smaller than what usually matters
    effective_share: float = 1.0  # of the source's rows, that weights would leave
    beyond: float = 0.0  # share of the target that is rare in the source, where that was found
    label: str | None = None  # of the frames that were given
    label_in_target: bool = False
    sizes: dict[str, str] = field(default_factory=dict)  # difference -> how large, in words
    texts: tuple[bool, bool] | None = None  # whether each side is a pair (list of texts, labels)
    text_columns: tuple[str, ...] | None = None  # of a frame that holds else only numbers
    apart: tuple[str, ...] = ()  # columns of a frame that say when a row was taken
    gaps: bool = False  # missing values, which not every method takes
    lost_columns: bool = False  # columns of the source that the target lacks
    nothing_shared: bool = False  # no column of the one was found again in the other
    all_numbers: bool = True  # whether both sides are numbers without gaps
    units: dict[str, float] = field(default_factory=dict)  # column -> factor back to the source


def read_situation(
    kind: Kind,
    findings: dict[str, Finding],
    source: Domain,
    target: Domain,
    task: str,
    columns: Columns,
    inputs: str,
    label: tuple[str | None, bool],
    apart: tuple[str, ...],
    texts: tuple[bool, bool] | None,
) -> Situation:
    """Collect what the choice depends on.

    Parameters
    ----------
    kind : str
        The verdict.
    findings : dict of str to Finding
        Decided answers.
    source, target : Domain
        The two samples.
    task : {"classification", "regression"}
        What the labels are.
    columns : Columns
        What both share.
    inputs : {"images", "frame", "sparse", "dense", "texts"}
        What was given.
    label : tuple of (str or None, bool)
        The label's column of frames, and whether the target has it.
    apart : tuple of str
        Columns that are left out of X.
    texts : tuple of two bool or None
        Of lists of texts: whether each side is a pair with its labels.

    Returns
    -------
    Situation
    """
    x, y, label_space = findings["marginal"], findings["prior"], findings["label_space"]
    support = findings["conditional"].details.get("common_support")
    overlap = support >= SUPPORT_SHARE if support is not None else (x.effect or 0.5) < APART
    sizes = {}
    if x.differs:
        sizes["marginal"] = f"AUC {x.effect:.2f}"
    if y.differs:
        sizes["conditional"] = f"by {y.effect:.0%}"
    differ = [f for f in findings.values() if f.differs]
    found_again = any(
        c["kind"] == "renamed" for c in findings["feature_space"].details.get("changes", [])
    )
    nothing_shared = columns.n_shared == 0 and not columns.unusable and not found_again
    return Situation(
        kind=kind,
        feature_space_differs=findings["feature_space"].differs,
        label_space_differs=label_space.differs,
        task=task,
        inputs=inputs,
        n_source_labels=source.n_labelled,
        n_target_labels=target.n_labelled,
        new_classes=bool(label_space.details.get("new")),
        gone_classes=bool(label_space.details.get("gone")),
        overlap=bool(overlap),
        negligible=bool(differ) and all(f.negligible for f in differ),
        effective_share=float(x.details.get("effective_sample_share", 1.0)),
        beyond=float(findings["novelty"].effect or 0.0) if findings["novelty"].differs else 0.0,
        label=label[0],
        label_in_target=label[1],
        sizes=sizes,
        texts=texts,
        text_columns=_text_columns(source, columns),
        apart=apart if source.is_frame else (),
        gaps=any(np.isnan(v).any() for c in columns.shared for v in (c.source, c.target)),
        lost_columns=bool(columns.missing),
        nothing_shared=nothing_shared,
        all_numbers=_is_numbers(source) and _is_numbers(target) if nothing_shared else True,
        units=_units(findings["feature_space"]),
    )


def _is_numbers(domain: Domain) -> bool:
    try:
        numeric_rows(domain, "the recommender")
    except ValueError:
        return False
    return True


def _units(finding: Finding) -> dict[str, float]:
    """Factors that turn the target's columns back, where a unit changed without doubt."""
    changes = finding.details.get("changes", [])
    found = [c for c in changes if c["kind"] == "scale" and c.get("converted")]
    return {c["columns"][0]: round(1 / c["factor"], 12) for c in found if not c.get("offset")}


def _text_columns(source: Domain, columns: Columns) -> tuple[str, ...] | None:
    """Names of the columns to encode, where a simple pipeline can take the rest as numbers."""
    plain = {"number", "truth value", "text"}
    same = not (columns.missing or columns.added or columns.unusable)
    if not (source.is_frame and same and all(c.family in plain for c in columns.shared)):
        return None
    return tuple(c.name for c in columns.shared if c.family == "text")


def inputs_of(domain: Domain) -> str:
    """Name what a domain holds, as adapters do in their facts."""
    if domain.is_image:
        return "images"
    if domain.is_frame:
        return "frame"
    return "sparse" if domain.is_sparse else "dense"
