"""One decision procedure: from the answers to the kind of shift."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from shiftlab.diagnosis.conditional import DECENT_POWER
from shiftlab.diagnosis.findings import Finding, Kind
from shiftlab.diagnosis.marginal import TESTS_OF_X
from shiftlab.diagnosis.report.words import p_text, share
from shiftlab.stats.multiple import holm
from shiftlab.stats.two_sample import detectable_auc

__all__ = ["adjust", "attribute", "limits"]

FAMILY = ("marginal", "prior", "class_conditional", "conditional")
AFTER_X = ("label_fit", "novelty")


def adjust(findings: dict[str, Finding], alpha: float) -> dict[str, Finding]:
    """Adjust the p-values over the questions and set each status.

    Holm over X, Y, X given Y and Y given X, but with a smallest factor of one less than the
    number of questions: the kind is named by what was *not* rejected as much as by what was,
    and Holm's last step, at the full level, would miss it in 5% of the clearest cases. The
    label fit and novelty are asked only after a change of X was found: equal X is a special
    case of either null hypothesis, so the order costs nothing, and Holm over the two keeps the
    probability of any false answer among them.

    Without target labels "Y" compares what a source model predicts, which is a function
    of X: where it differs, so does X.

    Parameters
    ----------
    findings : dict of str to Finding
        Answers with raw p-values.
    alpha : float
        Family-wise level.

    Returns
    -------
    dict of str to Finding
        The same questions, decided.
    """
    decided = dict(findings)
    tested = [q for q in FAMILY if q in findings and findings[q].p_value is not None]
    adjusted = holm(_raw(findings, tested), fewest=max(1, len(tested) - 1))
    for question, p in zip(tested, adjusted, strict=True):
        decided[question] = findings[question].decided(p, alpha)
    if "marginal" in tested:
        decided["marginal"] = _seen_in_x(decided, alpha, len(tested))
    gate = decided["marginal"].p_adjusted
    after = [q for q in AFTER_X if q in findings and findings[q].p_value is not None]
    for question, p in zip(after, holm(_raw(findings, after)), strict=True):
        if gate is None or gate > alpha:
            decided[question] = Finding.not_testable(
                question,
                "X did not visibly change, so there is nothing to explain.",
                p_value_not_used=findings[question].p_value,
                not_asked=True,
            )
        else:
            decided[question] = findings[question].decided(max(p, gate), alpha)
    prior, label_fit = decided.get("prior"), decided.get("label_fit")
    if prior is not None and "assumes" in prior.details and label_fit and label_fit.differs:
        decided["prior"] = Finding.not_testable(
            "prior",
            "Without target labels class shares can be estimated only if they alone moved, and "
            "that does not explain the change of X.",
            p_value_not_used=prior.p_value,
        )
    return {q: _with_verdict(f) for q, f in decided.items()}


def _raw(findings: dict[str, Finding], questions: list[str]) -> NDArray[np.float64]:
    return np.array([findings[q].p_value for q in questions], dtype=np.float64)


def _seen_in_x(decided: dict[str, Finding], alpha: float, n_questions: int) -> Finding:
    """Answer for X with what is detectable, and with predictions that differ as a part of X."""
    x, prior = decided["marginal"], decided.get("prior")
    details = dict(x.details)
    if "n_test_source" in details:
        details["detectable_effect"] = detectable_auc(
            details["n_test_source"],
            details["n_test_target"],
            alpha=alpha / (n_questions * TESTS_OF_X),
        )
    if prior is None or "assumes" not in prior.details or not prior.differs or x.differs:
        return replace(x, details=details)
    return replace(
        x,
        status="differs",
        p_adjusted=prior.p_adjusted,
        summary=f"{x.summary} It shows in the classes that a source model predicts.",
        details=details | {"seen_in": "predicted classes"},
    )


def _with_verdict(finding: Finding) -> Finding:
    """Put the status into the sentence, with the size against the smallest that matters."""
    if finding.p_adjusted is None:
        return finding
    small = ""
    if finding.negligible:
        small = " It is real but, as far as was seen, smaller than what usually matters."
    elif finding.ruled_out:
        small = " Anything larger than what usually matters can be ruled out."
    words = {
        "marginal": ("X differs", "No difference of X was found"),
        "prior": ("Y differs", "No difference of Y was found"),
        "class_conditional": (
            "X differs within classes",
            "No difference of X within classes was found",
        ),
        "conditional": ("Y differs at equal X", "No difference of Y at equal X was found"),
        "label_fit": (
            "A change of class shares alone does not explain X",
            "A change of class shares alone would explain X",
        ),
        "novelty": (
            "Many rows of a sort that is rare in the source were found",
            "No more rows of a sort that is rare in the source than a moderate change of X gives",
        ),
    }[finding.question]
    if "assumes" in finding.details:
        words = (
            "The classes that a source model predicts have other shares",
            "No difference of the predicted classes' shares was found",
        )
    opening = words[0] if finding.differs else words[1]
    p = f"{p_text(finding.p_adjusted)} after correction"
    return replace(finding, summary=f"{opening} ({p}). {finding.summary}{small}")


def attribute(findings: dict[str, Finding]) -> Kind:
    """Name the kind of shift.

    With target labels, Y given X and X given Y decide: only X given Y moved is covariate shift,
    only Y given X moved is label shift, both moved with X in place is concept shift, both moved and
    X too is general. Moved margins with neither conditional found to move is
    ``covariate_or_label``. Silence counts only from a test that finds a moderate change in at least
    half of all cases (``details["power"]``): with fewer labels the shift is ``not_label`` or
    ``label_compatible``, though the labels are there. Without target labels covariate shift is
    never named: only label shift can be refuted.

    Parameters
    ----------
    findings : dict of str to Finding
        Decided answers.

    Returns
    -------
    str
        One of the kinds.
    """
    x, y = findings["marginal"], findings["prior"]
    given_y, given_x = findings["class_conditional"], findings["conditional"]
    if not (given_y.testable or given_x.testable):
        return _without_labels(findings)
    if not any(f.differs for f in (x, y, given_y, given_x)):
        return "none" if x.testable else "undetermined"
    if not given_x.testable:
        if given_y.differs:
            return "not_label"
        return "label_compatible" if y.differs or x.differs else "undetermined"
    if given_x.differs:
        if not given_y.differs and given_y.testable:
            # shares moved and nothing inside the classes did: X may move too little to be seen
            if y.differs:
                return "label" if _settled(given_y) else "label_compatible"
            return "undetermined" if x.differs else "concept"
        return "general" if x.differs else "concept"
    if given_y.differs:
        if not x.differs:
            return "undetermined"
        return "covariate" if _settled(given_x) else "not_label"
    return "covariate_or_label"


def _settled(finding: Finding) -> bool:
    """Whether the test would have found a moderate change more often than not."""
    return float(finding.details.get("power", 1.0)) >= DECENT_POWER


def _without_labels(findings: dict[str, Finding]) -> Kind:
    x, y, fit = findings["marginal"], findings["prior"], findings["label_fit"]
    if not x.testable and not y.testable:
        return "undetermined"
    if not (x.differs or y.differs):
        return "none" if x.testable else "undetermined"
    if fit.testable and x.differs:
        return "not_label" if fit.differs else "label_compatible"
    return "covariate_or_label"


def limits(
    kind: Kind, findings: dict[str, Finding], n_target_labels: int, source_labels: bool
) -> list[str]:
    """What this diagnosis cannot say, in plain words.

    Parameters
    ----------
    kind : str
        The verdict.
    findings : dict of str to Finding
        Decided answers.
    n_target_labels : int
        Known target labels.
    source_labels : bool
        Whether the source has labels.

    Returns
    -------
    list of str
        Sentences.
    """
    said: list[str] = []
    conditional = findings["conditional"]
    if not conditional.testable and "common_support" in conditional.details:
        said.append(
            f"Whether Y changed at equal X (concept shift) cannot be seen: only "
            f"{conditional.details['common_support']:.0%} of the target lies where the source has "
            "rows."
        )
    elif not conditional.testable:
        why = "without target labels" if n_target_labels == 0 else "with these labels"
        said.append(
            f"Whether Y changed at equal X (concept shift) cannot be seen {why}: it is invisible "
            "when X stays in place, and unbounded when X moves. A sample of labelled target rows "
            "would show it."
        )
    if n_target_labels == 0 and kind in ("not_label", "label_compatible", "covariate_or_label"):
        said.append(
            "Covariate shift cannot be confirmed without target labels: any change of X where the "
            "source has rows is compatible with it."
        )
    if kind == "label_compatible" and not conditional.differs:
        said.append(
            "That label shift would explain the change does not prove it: a covariate shift can "
            "look the same."
        )
    if not source_labels:
        said.append("The source has no labels, so nothing about Y was compared.")
    x = findings["marginal"]
    if x.testable and not x.differs:
        size = x.details["detectable_effect"]
        said.append(
            f"A change of X of the size AUC {size:.2f} or more would have been found by the "
            "classifier with a probability of about 80%; smaller ones may be there."
        )
    for question, name in (("conditional", "Y at equal X"), ("class_conditional", "X at equal Y")):
        finding = findings[question]
        power = finding.details.get("power")
        if finding.status != "no_evidence" or power is None:
            continue
        few = "" if _settled(finding) else " That is too little to name the kind of shift by it."
        said.append(
            f"No difference of {name} was found, which does not prove that there is none: "
            f"{finding.details['power_for']} is found with a probability of about "
            f"{share(power)}.{few}"
        )
    return said
