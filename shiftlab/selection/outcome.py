"""What the chosen model should score in the target, and its probabilities made right."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.base import clone

from shiftlab.conditional.prior_correction import PriorCorrection
from shiftlab.diagnosis import Diagnosis
from shiftlab.selection.ground import Assumption, Ground
from shiftlab.stats.bootstrap import Estimate, mean_estimate
from shiftlab.stats.calibration import Calibration, select_calibration

__all__ = ["cautions", "expected_score", "held_out_calibration"]

Floats = NDArray[np.float64]


def expected_score(ground: Ground, model: Any, assumption: Assumption | None) -> Estimate:
    """Estimate accuracy (or mean squared error) in the target.

    Parameters
    ----------
    ground : Ground
        Held-out rows.
    model : Adapter
        Unfitted.
    assumption : Assumption or None
        From ``ground``; None uses the labelled target rows.

    Returns
    -------
    Estimate
    """
    if assumption is None:
        return _by_labels(ground, model)
    loss = (
        ground.mapped_loss(model)
        if assumption.name == "feature map"
        else ground.held_out_loss(model)
    )
    found = ground.estimate(1 - loss if ground.classifies else ground.scale * loss, assumption)
    if not ground.classifies:
        return found
    low, high = np.clip(found.interval, 0.0, 1.0)
    return Estimate(float(np.clip(found.value, 0.0, 1.0)), (float(low), float(high)))


def _by_labels(ground: Ground, model: Any) -> Estimate:
    """Cross-validated on the labelled target rows."""
    loss = ground.target_loss(model, clone(model).fit(ground.source, ground.target))
    if not ground.classifies:
        rng = np.random.default_rng(0)
        return mean_estimate(ground.scale * loss, rng=rng)
    right = int((loss == 0).sum())
    interval = binomtest(right, len(loss)).proportion_ci(method="exact")
    return Estimate(right / len(loss), (float(interval.low), float(interval.high)))


def held_out_calibration(ground: Ground, model: Any) -> Calibration | None:
    """Learn the temperature that makes a model's probabilities right on held-out source rows.

    It changes no prediction: the order of the classes stays.

    Parameters
    ----------
    ground : Ground
        Held-out rows.
    model : Adapter
        Unfitted.

    Returns
    -------
    Calibration or None
        None where there are no probabilities, or the model calibrates them itself.
    """
    if not ground.classifies or not hasattr(model, "predict_proba"):
        return None
    if isinstance(model, PriorCorrection):
        return None
    found = ground.held_out_probabilities(model)
    folds = np.repeat(np.arange(len(ground.folds)), [len(test) for _, test in ground.folds])
    return select_calibration(found, ground.codes, folds, ("none", "temperature"))


def cautions(diagnosis: Diagnosis, ground: str) -> tuple[str, ...]:
    """Findings of the diagnosis that speak against the assumption a result rests on.

    Parameters
    ----------
    diagnosis : Diagnosis
        Of the same samples.
    ground : str
        "label shift", "covariate shift", "feature map", "target labels" or "".

    Returns
    -------
    tuple of str
    """
    findings = diagnosis.findings
    said = []
    if ground in ("label shift", "covariate shift", "feature map"):
        if findings["conditional"].differs and ground != "label shift":
            said.append(
                "The diagnosis contradicts the assumption: Y at equal X differs, "
                f"{findings['conditional'].summary}"
            )
        if findings["novelty"].differs:
            said.append(
                "Many target rows are of a sort that is rare in the source; nothing is known of "
                f"the answers there: {findings['novelty'].summary}"
            )
    if findings["label_space"].differs:
        said.append(f"The label sets differ: {findings['label_space'].summary}")
    return tuple(said)
