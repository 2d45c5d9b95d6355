"""Probabilities of held-out source rows: made right, and scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.conditional.prior_correction import PriorCorrection
from shiftlab.stats.calibration import Calibration, select_calibration

if TYPE_CHECKING:
    from shiftlab.selection.ground import Ground

__all__ = ["held_out_brier", "held_out_calibration"]


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
    assert found is not None
    folds = np.repeat(np.arange(len(ground.folds)), [len(test) for _, test in ground.folds])
    return select_calibration(found, ground.codes, folds, ("none", "temperature"))


def held_out_brier(ground: Ground, model: Any) -> NDArray[np.float64] | None:
    """Half the Brier scores of held-out source rows, after calibration.

    So a model that is only more or less sure of the same answers is not better or worse.

    Parameters
    ----------
    ground : Ground
        Held-out rows.
    model : Adapter
        Unfitted.

    Returns
    -------
    ndarray of shape (n,) or None
        None where there are no probabilities.
    """
    found = ground.held_out_probabilities(model) if ground.classifies else None
    if found is None:
        return None
    calibration = held_out_calibration(ground, model)
    found = found if calibration is None else calibration(found)
    hit = np.arange(found.shape[1])[None, :] == ground.codes[:, None]
    return np.asarray(np.square(found - hit).sum(axis=1) / 2)
