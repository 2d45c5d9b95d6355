"""What the shift costs a model of the source: accuracy or error, with and without labels."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from shiftlab.diagnosis.explanation import (
    AccuracyEstimate,
    Interval,
    LossDecomposition,
    Performance,
)
from shiftlab.diagnosis.findings import Finding
from shiftlab.stats.bootstrap import Estimate, mean_estimate
from shiftlab.stats.calibration import CALIBRATIONS, select_calibration
from shiftlab.stats.loss_change import decompose_loss_change
from shiftlab.stats.performance import (
    balanced_probability,
    density_ratio,
    unlabelled_accuracy,
)
from shiftlab.stats.weights import effective_sample_size

__all__ = ["assess_performance"]

Floats = NDArray[np.float64]
Metric = Literal["accuracy", "squared error"]

FEWEST = 20  # rows of a side (for shared or weighted rows: effective rows) worth an estimate
SHARED = 0.1  # overlap of the two densities of X, below which they share hardly anything
BEYOND = 0.95  # a row that is so probably the target's lies where the source has no rows
SUPPORTED = 0.9  # share of the target that has to lie where the source has rows
EFFECTIVE_SHARE = 0.1

SAME_Y = "Y at equal X is the same in both, and "
ASSUMES = {
    "importance weighting": SAME_Y + "the source has rows wherever the target has",
    "average confidence": SAME_Y + "the calibrated probabilities are right for every X",
    "ATC": "a confident answer is right as often in the target as in the source",
    "DoC": "the accuracy changes by as much as the mean confidence does",
    "label-shift adjusted": "only the class shares change; X within a class is the same in both",
}
NOT_ASKED = Finding.not_testable("class_conditional", "Not asked.")
BLIND = (
    "None of these estimates sees a change of Y at equal X (concept shift), which can make all "
    "of them wrong by any amount."
)


def assess_performance(
    *,
    task: str,
    source_scores: Floats,
    source_y: NDArray[Any],
    target_scores: Floats,
    target_y: NDArray[Any],
    target_known: NDArray[np.bool_],
    source_domain: Floats,
    target_domain: Floats,
    findings: dict[str, Finding],
    rng: np.random.Generator,
    new_share: float = 0.0,
    converted: tuple[str, ...] = (),
) -> Performance:
    """Say what the shift costs a model of the source, on rows that no model trained on.

    With target labels the loss is measured and its change is split into a part due to X and
    a part due to Y at equal X. The target's accuracy is estimated without its labels too,
    each estimate with its assumption and with a warning where a finding contradicts it. For
    numbers the loss is the squared error in units of the source's variance of Y, and only
    importance weighting estimates it without labels. A part for which the rows do not
    suffice is left out, and the summary says so.

    Parameters
    ----------
    task : {"classification", "regression"}
        What Y is.
    source_scores, target_scores : ndarray of shape (n, k) and (m, k)
        Class probabilities by the model, or its predicted numbers with k = 1.
    source_y, target_y : ndarray of shape (n,) and (m,)
        Class codes, as columns of the scores (any other code is a class that the model does
        not know), or numbers.
    target_known : ndarray of shape (m,), dtype bool
        Which target labels are known; the others are never read.
    source_domain, target_domain : ndarray of shape (n,) and (m,)
        ``P(target | x)`` of the same rows by a domain classifier. They are calibrated here,
        and the sample sizes are taken out.
    findings : dict of str to Finding
        Decided answers.
    rng : numpy.random.Generator
        For the resampling and the folds of the calibration.
    new_share : float, default=0.0
        Share of the labelled target rows that are of classes unknown to the source and are not
        among the rows given here; the model is wrong on all of them.
    converted : tuple of str, default=()
        Columns of the target that were converted to the source's unit.

    Returns
    -------
    Performance
    """
    classify = task == "classification"
    metric: Metric = "accuracy" if classify else "squared error"
    scores_s, scores_t = source_scores, target_scores[target_known]
    y_s, y_t = source_y, target_y[target_known]
    if classify:
        loss_s, loss_t = (
            (scores.argmax(axis=1) != y).astype(np.float64)
            for scores, y in ((scores_s, y_s), (scores_t, y_t))
        )
    else:
        scale = float(np.var(y_s)) if len(y_s) else 0.0
        loss_s, loss_t = (
            np.square(scores[:, 0] - y) / (scale or 1.0)
            for scores, y in ((scores_s, y_s), (scores_t, y_t))
        )
    source, source_interval = _measured(loss_s, metric, rng)
    target, target_interval = _measured(loss_t, metric, rng)
    pi_s, pi_t = _balanced(source_domain, target_domain, rng)

    estimates: tuple[AccuracyEstimate, ...] = ()
    if min(len(scores_s), len(target_scores)) >= FEWEST:
        ratio = density_ratio(pi_s)
        # A source row that a classifier is certain about has no weight in the target.
        usable = ratio if ratio.any() else None
        found: dict[str, Estimate] = {}
        if classify and scores_s.shape[1] > 1:
            found = unlabelled_accuracy(scores_s, y_s, target_scores, usable, rng=rng)
        elif not classify and usable is not None:
            found["importance weighting"] = mean_estimate(loss_s, usable, rng=rng)
        warnings = _warnings(findings, ratio, pi_t)
        estimates = tuple(
            AccuracyEstimate(name, *found[name], ASSUMES[name], warnings[name])
            for name in ASSUMES
            if name in found
        )
    decomposition = _decomposition(loss_s, loss_t, pi_s, pi_t[target_known], rng)
    kept = 1 - new_share if classify else 1.0
    summary = _summary(metric, source, target, estimates, decomposition, len(loss_t))
    if len(loss_t) and kept < 1:
        summary += (
            f" That is on the classes that the source has; {new_share:.0%} of the labelled target "
            "rows are of others and always wrong, so over all rows it is "
            f"{_shown(target * kept, metric)}."
        )
    if converted:
        names = ", ".join(f"'{name}'" for name in converted)
        summary += (
            f" All this is with {names} converted to the source's unit; a model that gets the "
            "target as it comes does worse."
        )
    return Performance(
        metric=metric,
        source=source,
        source_interval=source_interval,
        target=target * kept if len(loss_t) else None,
        target_interval=(target_interval[0] * kept, target_interval[1] * kept)
        if len(loss_t)
        else None,
        estimates=estimates,
        decomposition=None if isinstance(decomposition, str) else decomposition,
        summary=summary,
    )


def _measured(loss: Floats, metric: Metric, rng: np.random.Generator) -> tuple[float, Interval]:
    """Mean and 95% interval: Wilson's for an accuracy, which no sample size makes degenerate."""
    if len(loss) == 0:
        return float("nan"), (float("nan"), float("nan"))
    if metric == "squared error":
        return mean_estimate(loss, rng=rng)
    right = len(loss) - int(loss.sum())
    found = binomtest(right, len(loss)).proportion_ci(method="wilson")
    return right / len(loss), (float(found.low), float(found.high))


def _balanced(source: Floats, target: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Calibrate the domain probabilities on these held-out rows and take the sizes out."""
    n, m = len(source), len(target)
    if min(n, m) == 0:
        return source, target
    p = np.concatenate([source, target])
    codes = np.repeat([0, 1], [n, m]).astype(np.intp)
    both = np.column_stack([1 - p, p])
    calibrated = select_calibration(both, codes, rng.permutation(n + m) % 5, CALIBRATIONS)(both)
    pi = balanced_probability(calibrated[:, 1], n, m)
    return pi[:n], pi[n:]


def _decomposition(
    loss_s: Floats, loss_t: Floats, pi_s: Floats, pi_t: Floats, rng: np.random.Generator
) -> LossDecomposition | str:
    """The change of the loss by cause, or the reason why it cannot be split."""
    if len(loss_t) == 0:
        return "the target has no labels"
    for side, loss in (("source", loss_s), ("target", loss_t)):
        if len(loss) < FEWEST:
            return f"the {side} has {len(loss)} labelled rows here, and {FEWEST} are needed"
    shared = pi_s, 1 - pi_t
    # Each mean estimates half the overlap, 2 p_S p_T / (p_S + p_T) integrated over X.
    overlap = 2 * min(float(weights.mean()) for weights in shared)
    if overlap < SHARED:
        return "the two domains have hardly any X in common"
    if min(effective_sample_size(weights) for weights in shared) < FEWEST:
        return "there are too few labelled rows where the domains have X in common"
    change = decompose_loss_change(loss_s, loss_t, pi_s, pi_t, rng=rng)
    return LossDecomposition(
        total=change.total.value,
        x_part=change.x.value,
        y_given_x_part=change.y_given_x.value,
        total_interval=change.total.interval,
        x_interval=change.x.interval,
        y_given_x_interval=change.y_given_x.interval,
    )


def _warnings(findings: dict[str, Finding], ratio: Floats, pi_t: Floats) -> dict[str, str]:
    """Which findings contradict which estimate."""

    def differs(question: str) -> bool:
        return question in findings and findings[question].differs

    everywhere: list[str] = []
    if differs("label_space") and findings["label_space"].details.get("new"):
        everywhere.append("The target has classes that the source has not.")
    if differs("novelty"):
        everywhere.append(
            "The target has many rows of a sort that is rare in the source, perhaps a new class."
        )
    by_x = list(everywhere)
    if differs("conditional"):
        by_x.append("Y differs at equal X.")
    supported = float((pi_t < BEYOND).mean())
    if supported < SUPPORTED:
        by_x.append(f"Only {supported:.0%} of the target lies where the source has rows.")
    weighting = list(by_x)
    effective = effective_sample_size(ratio) if ratio.any() else 0.0
    if effective < max(FEWEST, EFFECTIVE_SHARE * len(ratio)):
        weighting.append(
            f"The weights leave {effective:.0f} of {len(ratio)} source rows (effective number)."
        )
    by_class = list(everywhere)
    within_classes = findings.get("class_conditional", NOT_ASKED)
    if differs("label_fit"):
        by_class.append("A change of the class shares alone does not explain X.")
    if differs("class_conditional"):
        by_class.append("X differs within classes.")
    elif differs("conditional") and not within_classes.testable:
        # Label shift moves Y at equal X too, so this counts only where X|Y was not looked at.
        by_class.append("Y differs at equal X.")
    lists = dict.fromkeys(ASSUMES, by_x)
    lists |= {"importance weighting": weighting, "label-shift adjusted": by_class}
    return {name: " ".join(parts) for name, parts in lists.items()}


def _article(metric: Metric) -> str:
    return "an accuracy" if metric == "accuracy" else "a squared error"


def _shown(value: float, metric: Metric) -> str:
    return f"{value:.1%}" if metric == "accuracy" else f"{value:.3g}"


def _summary(
    metric: Metric,
    source: float,
    target: float,
    estimates: tuple[AccuracyEstimate, ...],
    decomposition: LossDecomposition | str,
    n_target: int,
) -> str:
    unit = "" if metric == "accuracy" else " (1 is the source's variance of Y)"
    first = (
        f"A model of the source has {_article(metric)} of {_shown(source, metric)}{unit} on "
        "held-out source rows"
    )
    sentences = []
    if np.isnan(target):
        sentences.append(first + ".")
        if estimates:
            values = [e.estimate for e in estimates]
            low, high = _shown(min(values), metric), _shown(max(values), metric)
            spread = low if low == high else f"{low} to {high}"
            if all(e.warning for e in estimates):
                sentences.append(
                    "In the target it cannot be estimated without labels: the findings contradict "
                    f"what every estimate assumes (they say {spread})."
                )
            else:
                sentences.append(
                    f"In the target it can only be estimated without labels: {spread}, depending "
                    "on what is assumed."
                )
            sentences.append(BLIND)
        else:
            sentences.append(
                f"In the target it cannot be told: there are no labels, and an estimate without "
                f"them needs {FEWEST} rows a side."
            )
        return " ".join(sentences)
    sentences.append(f"{first}, and {_shown(target, metric)} on labelled target rows.")
    if isinstance(decomposition, str):
        sentences.append(f"The change cannot be split into its causes: {decomposition}.")
        return " ".join(sentences)
    # A rising loss is a falling accuracy, but a rising error; parts are told in its direction.
    worse = decomposition.total >= 0
    verb = "falls" if worse == (metric == "accuracy") else "rises"
    sign = 1 if worse else -1
    total, by_x = (
        _points(sign * value, metric) for value in (decomposition.total, decomposition.x_part)
    )
    by_y = _change(decomposition, metric, sign)
    sentences.append(f"It {verb} by {total}: {by_x} through X and {by_y}.")
    if decomposition.total_interval[0] <= 0 <= decomposition.total_interval[1]:
        sentences.append(f"{n_target:,} labelled rows cannot tell this from chance.")
    return " ".join(sentences)


def _points(value: float, metric: Metric) -> str:
    # + 0.0 turns -0.0 into 0.0
    return f"{round(100 * value, 1) + 0.0:.1f} points" if metric == "accuracy" else f"{value:.3g}"


def _change(parts: LossDecomposition, metric: Metric, sign: int) -> str:
    """Part of Y at equal X with its interval, positive in the direction of the whole."""
    low, high = sorted(sign * value for value in parts.y_given_x_interval)
    if metric == "accuracy":
        ends = f"{100 * low + 0.0:.1f} to {100 * high + 0.0:.1f}"
    else:
        ends = f"{low:.3g} to {high:.3g}"
    return (
        f"{_points(sign * parts.y_given_x_part, metric)} through Y at equal X (95% interval of "
        f"this part {ends})"
    )
