"""What one question of the diagnosis found."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

__all__ = ["KINDS", "QUESTIONS", "FeatureShift", "Finding", "Kind", "Status", "plain"]

Status = Literal["differs", "no_evidence", "not_testable"]
Kind = Literal[
    "none",
    "covariate",
    "label",
    "concept",
    "covariate_or_label",
    "label_compatible",
    "not_label",
    "general",
    "undetermined",
]

KINDS: dict[Kind, str] = {
    "none": "No shift found",
    "covariate": "Covariate shift: X moved, Y given X did not visibly",
    "label": "Label shift: the class shares moved, X within a class did not visibly",
    "concept": "Concept shift: X did not visibly move, but Y given X did",
    "covariate_or_label": "A shift, but covariate and label shift cannot be told apart",
    "label_compatible": "X moved in a way that label shift alone would explain",
    "not_label": "X moved in a way that label shift alone does not explain",
    "general": "X moved and Y given X moved",
    "undetermined": "The data do not settle which shift it is",
}

QUESTIONS: dict[str, str] = {
    "feature_space": "Do both have the same columns, types and units?",
    "label_space": "Do both have the same set of labels?",
    "marginal": "Is X distributed alike in both?",
    "prior": "Is Y distributed alike in both?",
    "class_conditional": "At equal Y (within a class), is X distributed alike in both?",
    "conditional": "At equal X, is Y distributed alike in both?",
    "label_fit": "Could a change of the class shares alone explain the change of X?",
    "novelty": "Does the target hold many rows of a sort that is rare in the source?",
}


WHOLE = ("prior",)  # questions whose effect is the whole difference
MEASURED = (*WHOLE, "marginal", "class_conditional")  # or nearly, with a decent classifier


def plain(value: Any) -> Any:
    """Turn NumPy scalars, arrays, tuples and NaN into what JSON can hold.

    Parameters
    ----------
    value : object
        Anything made of dicts, sequences, NumPy values and plain values.

    Returns
    -------
    object
        The same with dicts, lists, strings, numbers, booleans and None only; NaN and
        infinities become None.

    Examples
    --------
    >>> import numpy as np
    >>> plain({"a": np.float64(1.5), "b": (np.nan, np.int64(2))})
    {'a': 1.5, 'b': [None, 2]}
    """
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


@dataclass(frozen=True)
class Finding:
    """The answer to one question.

    Parameters
    ----------
    question : str
        Key of the question: ``feature_space``, ``label_space``, ``marginal``, ``prior``,
        ``class_conditional``, ``conditional``, ``label_fit`` or ``novelty``.
    status : {"differs", "no_evidence", "not_testable"}
        ``no_evidence`` is no proof of equality: see ``minimum_effect`` and ``interval``.
    summary : str
        One sentence in plain words.
    statistic : float or None, default=None
        Test statistic.
    p_value : float or None, default=None
        Raw p-value; None for exact comparisons.
    p_adjusted : float or None, default=None
        After the correction over the questions.
    effect : float or None, default=None
        Size of the difference; ``details["effect_name"]`` says in which measure.
    interval : tuple of float or None, default=None
        95% confidence interval of the effect.
    minimum_effect : float or None, default=None
        Smallest size that is usually worth acting on, in the same measure.
    details : dict, default={}
        Everything else, JSON-able.
    """

    question: str
    status: Status
    summary: str
    statistic: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    effect: float | None = None
    interval: tuple[float, float] | None = None
    minimum_effect: float | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def not_testable(cls, question: str, reason: str, **details: Any) -> Finding:
        """Make the finding of a question that cannot be answered.

        Parameters
        ----------
        question : str
            Key of the question.
        reason : str
            One sentence that says why.
        **details : object
            Added to ``details``.

        Returns
        -------
        Finding
        """
        return cls(question, "not_testable", reason, details={"reason": reason, **details})

    @property
    def differs(self) -> bool:
        """Whether a difference was found."""
        return self.status == "differs"

    @property
    def answer(self) -> str:
        """The status in words; "same" only where it is read off the data without a test."""
        if self.status == "no_evidence":
            exact = self.question in ("feature_space", "label_space")
            return "same" if exact else "no difference found"
        return self.status.replace("_", " ")

    @property
    def negligible(self) -> bool:
        """Whether it differs by less than what usually matters, up to the interval's end.

        Never said of Y at equal X: its effect is what one learnt direction shows of it.
        """
        return self.differs and self.question in MEASURED and self._below()

    @property
    def ruled_out(self) -> bool:
        """Whether no difference was found and the interval ends below what usually matters.

        Only where the effect is the whole difference, not what a learnt score shows of it.
        """
        return self.status == "no_evidence" and self.question in WHOLE and self._below()

    def _below(self) -> bool:
        if self.interval is None or self.minimum_effect is None:
            return False
        return self.interval[1] < self.minimum_effect

    @property
    def testable(self) -> bool:
        """Whether the question could be answered at all."""
        return self.status != "not_testable"

    def decided(self, p_adjusted: float, alpha: float) -> Finding:
        """Return the finding with its adjusted p-value and the status that follows.

        Parameters
        ----------
        p_adjusted : float
            Adjusted p-value.
        alpha : float
            Level.

        Returns
        -------
        Finding
        """
        status: Status = "differs" if p_adjusted <= alpha else "no_evidence"
        return replace(self, p_adjusted=float(p_adjusted), status=status)

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain values.

        Returns
        -------
        dict
        """
        result: dict[str, Any] = plain(dict(vars(self)))
        return result


@dataclass(frozen=True)
class FeatureShift:
    """One column's comparison.

    Parameters
    ----------
    feature : str
        Name of the column.
    status : {"differs", "no_evidence", "not_testable"}
        After the correction over the columns.
    test : str
        Which test was used, or why none.
    statistic : float or None, default=None
        Test statistic.
    p_value : float or None, default=None
        Raw p-value.
    p_adjusted : float or None, default=None
        Adjusted over the columns (Benjamini-Hochberg: a bound on the share of false ones).
    effect : float or None, default=None
        Distance between 0 and 1: Kolmogorov-Smirnov for numbers, total variation for
        categories, difference of the shares for missing values (the largest that applies).
    domain_importance : float or None, default=None
        How much the AUC of the domain classifier falls when the column is shuffled.
    task_importance : float or None, default=None
        How much R-squared of a source model (for classes McFadden's) falls when the column is
        shuffled.
    note : str, default=""
        What is peculiar about the column.
    details : dict, default={}
        Medians, shares, categories.
    """

    feature: str
    status: Status
    test: str
    statistic: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    effect: float | None = None
    domain_importance: float | None = None
    task_importance: float | None = None
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain values.

        Returns
        -------
        dict
        """
        result: dict[str, Any] = plain(dict(vars(self)))
        return result
