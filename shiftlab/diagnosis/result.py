"""The result of a diagnosis: verdict, evidence, recommendations, and ways to show them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shiftlab.diagnosis.explanation import Explanation
from shiftlab.diagnosis.findings import KINDS, FeatureShift, Finding, Kind, plain
from shiftlab.diagnosis.recommend import Recommendation, recommend
from shiftlab.diagnosis.shown import Shown
from shiftlab.diagnosis.situation import Situation

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["SCHEMA_VERSION", "Diagnosis"]

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Diagnosis(Shown):
    """How a target differs from a source.

    Made by :func:`shiftlab.diagnosis`. Print it in a terminal with ``show()``, write a page
    with ``to_html(path)``, hand it on with ``to_json(path)``; a notebook shows it as a page.

    Parameters
    ----------
    kind : str
        ``none``, ``covariate``, ``label``, ``concept``, ``covariate_or_label``,
        ``label_compatible``, ``not_label``, ``general`` or ``undetermined``. It is about the
        columns and classes that both sides share.
    findings : dict of str to Finding
        One answer per question.
    features : list of FeatureShift
        One record per column, those that differ first.
    limits : list of str
        What this diagnosis cannot say.
    notes : list of str
        What was left out, subsampled or replaced.
    situation : Situation
        What recommendations depend on.
    source_name, target_name : str
        Names of the domains.
    n_source, n_target : int
        Rows.
    alpha : float
        Family-wise level.
    explanation : Explanation, default=Explanation()
        What it costs, where it is, and what labels would settle; empty with ``explain=False``.
    """

    kind: Kind
    findings: dict[str, Finding]
    features: list[FeatureShift]
    limits: list[str]
    notes: list[str]
    situation: Situation
    source_name: str
    target_name: str
    n_source: int
    n_target: int
    alpha: float
    explanation: Explanation = field(default_factory=Explanation)

    @property
    def feature_space_differs(self) -> bool:
        """Whether columns, types, units or image shapes differ."""
        return self.findings["feature_space"].differs

    @property
    def label_space_differs(self) -> bool:
        """Whether the sets of labels differ."""
        return self.findings["label_space"].differs

    @property
    def found(self) -> bool:
        """Whether any difference was found."""
        return (
            self.feature_space_differs
            or self.label_space_differs
            or any(f.differs for f in self.findings.values())
        )

    @property
    def verdict(self) -> str:
        """The verdict in one or two sentences."""
        parts = []
        if self.feature_space_differs:
            parts.append("The feature spaces differ")
        if self.label_space_differs:
            parts.append("The label sets differ")
        kind = KINDS[self.kind]
        if self.kind == "none" and not self.findings["conditional"].testable:
            kind = "No shift found in X; a change of Y at equal X cannot be seen with these labels"
        if not parts:
            return kind + "."
        shared = "in what both share: " + (
            kind if kind.startswith("X ") else kind[:1].lower() + kind[1:]
        )
        return ". ".join([*parts, shared[:1].upper() + shared[1:]]) + "."

    def recommend(self) -> list[Recommendation]:
        """Rank what can be done about it.

        Returns
        -------
        list of Recommendation
            Each with ``method``, ``reason`` and ``code``. "Do nothing" is always on the list
            and first when nothing was found.
        """
        return recommend(self.situation, self.explanation.plan)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON.

        Returns
        -------
        dict
            Keys ``schema_version`` (raised when a key changes), ``kind``,
            ``verdict``, ``feature_space_differs``, ``label_space_differs``, ``alpha``,
            ``source`` and ``target`` (each ``name``, ``n_rows``), ``findings`` (question ->
            the fields of `Finding`), ``features`` (the fields of `FeatureShift`),
            ``explanation`` (the fields of `Explanation`), ``recommendations`` (``method``,
            ``reason``, ``code``), ``limits``, ``notes``. NaN and infinity become null. A JSON
            Schema of it is in ``shiftlab/diagnosis/report/diagnosis.schema.json``.
        """
        result: dict[str, Any] = plain(
            {
                "schema_version": SCHEMA_VERSION,
                "kind": self.kind,
                "verdict": self.verdict,
                "feature_space_differs": self.feature_space_differs,
                "label_space_differs": self.label_space_differs,
                "alpha": self.alpha,
                "source": {"name": self.source_name, "n_rows": self.n_source},
                "target": {"name": self.target_name, "n_rows": self.n_target},
                "findings": {q: f.to_dict() for q, f in self.findings.items()},
                "features": [f.to_dict() for f in self.features],
                "explanation": self.explanation.to_dict(),
                "recommendations": [vars(r) for r in self.recommend()],
                "limits": self.limits,
                "notes": self.notes,
            }
        )
        return result

    def _page(self) -> str:
        from shiftlab.diagnosis.report.html import page

        return page(self)

    def to_html_fragment(self) -> str:
        """Make the inner part of the page, with its styles, to stand inside another page.

        Returns
        -------
        str
            A ``<section>`` preceded by a ``<style>`` whose rules reach only into it.
        """
        from shiftlab.diagnosis.report.html import fragment

        return fragment(self)

    def __rich__(self) -> RenderableType:
        from shiftlab.diagnosis.report.terminal import render

        return render(self)

    def __repr__(self) -> str:
        return f"Diagnosis(kind={self.kind!r}, {self.source_name!r} -> {self.target_name!r})"
