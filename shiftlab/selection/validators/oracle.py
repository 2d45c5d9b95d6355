"""The validator that sees target labels, and says so."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from shiftlab.selection.trial import Trial
from shiftlab.selection.validators.base import Need, Validator

__all__ = ["Oracle"]


class Oracle(Validator):
    """Score on target labels: what a choice without them is compared with.

    It is no way to choose a model whose accuracy is then reported on the same labels.

    Parameters
    ----------
    target_labels : array of shape (m,)
        One label for each target row, by name only.

    Examples
    --------
    >>> from shiftlab import Oracle
    >>> Oracle(target_labels=[0, 1])
    Oracle(uses target labels)
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"target_rows", "target_labels"})
    tasks = ("classification", "regression")

    def __init__(self, *, target_labels: Any) -> None:
        self.target_labels = target_labels

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        return "Oracle(uses target labels)"

    def _score(self, trial: Trial) -> float:
        y = np.asarray(self.target_labels)
        if y.shape != (trial.target.n_rows,):
            raise ValueError(
                f"target_labels must have one label for each of the {trial.target.n_rows} target "
                f"rows, got shape {y.shape}"
            )
        if trial.classifies:
            return float(np.mean(trial.target_prediction == y))
        return -float(np.mean(np.square(trial.target_prediction - y)))
