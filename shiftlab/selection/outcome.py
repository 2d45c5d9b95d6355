"""What the chosen model should score in the target, and what speaks against it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm
from sklearn.base import clone

from shiftlab.diagnosis import Diagnosis
from shiftlab.selection.assumption import Assumption
from shiftlab.selection.ground import Ground
from shiftlab.selection.learning_curve import whole_loss
from shiftlab.stats.bootstrap import Estimate
from shiftlab.stats.weights import effective_sample_size

__all__ = ["cautions", "expected_score"]

Floats = NDArray[np.float64]

MISSED = 0.1  # of the intervals may miss


def expected_score(ground: Ground, model: Any, assumption: Assumption | None) -> Estimate:
    """Estimate accuracy (or mean squared error) in the target, with its 90% interval.

    Held-out rows are answered by models of fewer rows than the one that is used; see
    `whole_loss`.

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
    loss = whole_loss(ground, model, mapped=assumption.name == "feature map")
    found = ground.estimate(1 - loss if ground.classifies else ground.scale * loss, assumption)
    sd = (found.interval[1] - found.interval[0]) / (2 * norm.ppf(0.975))
    if not ground.classifies:
        reach = norm.ppf(1 - MISSED / 2) * sd
        return Estimate(found.value, (max(found.value - reach, 0.0), found.value + reach))
    return _share(found.value, sd, effective_sample_size(ground.weights(assumption)))


def _share(value: float, sd: float, n: float) -> Estimate:
    r"""Give a share its interval, that of Clopper and Pearson for as many rows as it is worth.

    An interval by resampling is too short where few rows are wrong, and takes weights as known.
    The rows that a share is worth are :math:`\hat p (1 - \hat p) / s^2` (E. Korn, B. Graubard,
    "Confidence intervals for proportions with small expected number of positive counts estimated
    from survey data", Survey Methodology 1998); where all or none are right there is nothing
    to resample, and they are n.
    """
    p = float(np.clip(value, 0.0, 1.0))
    worth = p * (1 - p) / sd**2 if sd > 0 and 0 < p < 1 else n
    right, wrong = p * worth, (1 - p) * worth
    low = float(beta.ppf(MISSED / 2, right, wrong + 1)) if right > 0 else 0.0
    high = float(beta.ppf(1 - MISSED / 2, right + 1, wrong)) if wrong > 0 else 1.0
    return Estimate(p, (low, high))


def _by_labels(ground: Ground, model: Any) -> Estimate:
    """Cross-validated on the labelled target rows."""
    loss = ground.target_loss(model, clone(model).fit(ground.source, ground.target))
    if ground.classifies:
        return _share(float(np.mean(loss == 0)), 0.0, len(loss))
    reach = norm.ppf(1 - MISSED / 2) * ground.scale * float(loss.std(ddof=1)) / len(loss) ** 0.5
    value = ground.scale * float(loss.mean())
    return Estimate(value, (max(value - reach, 0.0), value + reach))


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
