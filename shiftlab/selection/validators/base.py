"""The interface of every validator: a number for a trial, higher is better."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import BaseEstimator

from shiftlab.selection.trial import Trial

__all__ = ["NEEDS", "Need", "Validator"]

Need = Literal[
    "source_labels", "target_rows", "probabilities", "features", "ratio", "refit", "target_labels"
]
NEEDS: dict[Need, str] = {
    "source_labels": "labels of held-out source rows",
    "target_rows": "target rows without labels",
    "probabilities": "class probabilities of the model",
    "features": "dense target rows in the space that the model has mapped them to",
    "ratio": "the density ratio of target to source at source rows",
    "refit": "one more fit of the candidate",
    "target_labels": "target labels",
}


class Validator(BaseEstimator):  # type: ignore[misc]
    """Base class of validators.

    A subclass says what it ``needs`` and for which ``tasks`` it is made, and writes `_score`.
    """

    needs: ClassVar[frozenset[Need]]
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    def score(self, trial: Trial) -> float:
        """Score one fitted candidate; higher is better.

        Parameters
        ----------
        trial : Trial
            The candidate and the rows that it is judged on.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If the score is not finite, or the validator cannot judge such a model. The
            candidate is named.
        """
        task = "classification" if trial.classifies else "regression"
        if task not in self.tasks:
            raise ValueError(
                f"{type(self).__name__} judges {self.tasks[0]}; candidate {trial.name!r} is made "
                f"for {task}; ImportanceWeightedScore and DEV judge both"
            )
        value = float(self._score(trial))
        if not np.isfinite(value):
            raise ValueError(
                f"{type(self).__name__} is {value} for candidate {trial.name!r}; such a score "
                "ranks nothing"
            )
        return value

    def _score(self, trial: Trial) -> float:
        raise NotImplementedError(f"{type(self).__name__} must define _score")

    def _weighting(self) -> Any:
        """Return the adapter that estimates the density ratio where one is needed."""
        from shiftlab.marginal.weighting.classifier import ClassifierWeighting

        given = getattr(self, "weighting", None)
        return ClassifierWeighting(flatten=1.0, random_state=0) if given is None else given
