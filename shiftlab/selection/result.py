"""What `adapt` gives back: the model, what it should score and why it was chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from shiftlab.diagnosis.findings import plain
from shiftlab.diagnosis.shown import Shown
from shiftlab.domain import Domain
from shiftlab.selection.conformal import ConformalPrediction
from shiftlab.stats.bootstrap import Estimate
from shiftlab.stats.calibration import Calibration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from shiftlab.diagnosis import Diagnosis

__all__ = ["SOURCE_ONLY", "AdaptationResult", "Candidate"]

SOURCE_ONLY = "source-only"
SCHEMA_VERSION = 1
SHIFTS = {"label shift": "label", "covariate shift": "covariate"}


@dataclass(frozen=True)
class Candidate:
    """One thing that was tried.

    Parameters
    ----------
    name : str
        Of the adapter.
    status : str
        What came of it, such as "judged under label shift", "failed" or "not reached".
    why : str
        In words.
    gain : float or None, default=None
        Estimated gain over the source-only model: a share of rows for classes, of the variance of
        Y for numbers.
    interval : tuple of (float, float) or None, default=None
        Its 95% interval.
    """

    name: str
    status: str
    why: str
    gain: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class AdaptationResult(Shown):
    """The chosen model and the evidence for it.

    Made by `shiftlab.adapt`. ``show()`` prints it, ``to_html(path)`` writes a report,
    ``to_json(path)`` hands it on.

    Parameters
    ----------
    model : Adapter
        Fitted; takes target rows as they came.
    chosen : str
        Name of the candidate, "source-only" if nothing was shown to help.
    decision : str
        Why, in one sentence.
    assumption : str
        Under which ``expected_score`` holds; empty where none stands.
    ground : str
        "label shift", "covariate shift", "feature map", "target labels", or "" for none.
    candidates : tuple of Candidate
        All that were tried.
    diagnosis : Diagnosis
        How the target differs.
    predictions : ndarray of shape (m,)
        Of the target's rows.
    probabilities : ndarray of shape (m, k) or None
        Calibrated class probabilities, in the order of ``classes``.
    classes : ndarray of shape (k,) or None
        None for numbers.
    metric : {"accuracy", "mean squared error"}
        What ``expected_score`` is.
    expected_score : Estimate or None
        Value and 90% interval in the target; None where no assumption stands that could tell.
    cautions : tuple of str
        Findings that speak against the assumption, and what else to know.
    seconds : float
        How long it took.
    """

    model: Any
    chosen: str
    decision: str
    assumption: str
    ground: str
    candidates: tuple[Candidate, ...]
    diagnosis: Diagnosis
    predictions: NDArray[Any]
    probabilities: NDArray[np.float64] | None
    classes: NDArray[Any] | None
    metric: str
    expected_score: Estimate | None
    cautions: tuple[str, ...]
    seconds: float
    _calibration: Calibration | None = field(repr=False)
    _source: Domain = field(repr=False)
    _target: Domain = field(repr=False)
    _seed: int = field(repr=False)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict new target rows.

        Parameters
        ----------
        X : array, data frame, images or Domain
            Rows with the target's columns.

        Returns
        -------
        ndarray of shape (n,)
        """
        return np.asarray(self.model.predict(X))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return calibrated class probabilities of new target rows.

        Parameters
        ----------
        X : array, data frame, images or Domain
            Rows with the target's columns.

        Returns
        -------
        ndarray of shape (n, k)

        Raises
        ------
        AttributeError
            If the model has none.
        """
        found = np.asarray(self.model.predict_proba(X), dtype=np.float64)
        return found if self._calibration is None else np.asarray(self._calibration(found))

    def conformal(self) -> ConformalPrediction:
        """Fit sets or intervals around the chosen model, under the assumption that stands.

        Five more fits. Where no assumption stands, or a map is assumed, rows count as alike and
        nothing guarantees the coverage in the target.

        Returns
        -------
        ConformalPrediction
            With ``predict_set`` or ``predict_interval``.
        """
        shift = SHIFTS.get(self.ground, "none")
        model = ConformalPrediction(clone(self.model), shift=shift, random_state=self._seed)
        return model.fit(self._source, self._target)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the model as plain values for JSON.

        Returns
        -------
        dict
            Keys ``schema_version``, ``chosen``, ``decision``, ``assumption``, ``ground``,
            ``metric``, ``expected_score`` (``value``, ``interval``), ``candidates`` (the fields
            of `Candidate`), ``cautions``, ``seconds``, ``classes``, ``predictions``,
            ``probabilities`` and ``diagnosis``.
        """
        score = self.expected_score
        result: dict[str, Any] = plain(
            {
                "schema_version": SCHEMA_VERSION,
                "chosen": self.chosen,
                "decision": self.decision,
                "assumption": self.assumption,
                "ground": self.ground,
                "metric": self.metric,
                "expected_score": None
                if score is None
                else {"value": score.value, "interval": list(score.interval)},
                "candidates": [vars(c) for c in self.candidates],
                "cautions": list(self.cautions),
                "seconds": self.seconds,
                "classes": None if self.classes is None else self.classes.tolist(),
                "predictions": self.predictions.tolist(),
                "probabilities": None
                if self.probabilities is None
                else self.probabilities.tolist(),
                "diagnosis": self.diagnosis.to_dict(),
            }
        )
        return result

    def sentence(self) -> str:
        """Say what was decided and why."""
        return self.decision[:1].upper() + self.decision[1:] + "."

    def expected(self) -> str:
        """Say what the model should score in the target, and what that rests on."""
        if self.expected_score is None:
            return (
                f"The {self.metric} in the target cannot be told: no assumption stands under "
                "which source rows speak for it."
            )
        value, (low, high) = self.expected_score
        numbers = (
            f"{value:.1%} (90% interval {low:.1%} to {high:.1%})"
            if self.metric == "accuracy"
            else f"{value:.4g} (90% interval {low:.4g} to {high:.4g})"
        )
        return f"Expected {self.metric} in the target: {numbers}, if {self.assumption}."

    def _page(self) -> str:
        from shiftlab.selection.report import page

        return page(self)

    def to_html_fragment(self) -> str:
        """Make the inner part of the page, with its styles, to stand inside another page.

        Returns
        -------
        str
        """
        from shiftlab.selection.report import fragment

        return fragment(self)

    def __rich__(self) -> RenderableType:
        from shiftlab.selection.report import render

        return render(self)

    def __repr__(self) -> str:
        return f"AdaptationResult(chosen={self.chosen!r}, {self.decision!r})"
