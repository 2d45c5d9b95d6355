"""The result of many comparisons: a matrix of domains, or a curve along time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from shiftlab.diagnosis.findings import Kind, plain
from shiftlab.diagnosis.result import Diagnosis
from shiftlab.diagnosis.shown import Shown
from shiftlab.diagnosis.windows import Window

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["MANY_SCHEMA_VERSION", "Comparison", "ManyDiagnosis"]

MANY_SCHEMA_VERSION = 1

IN_SHORT: dict[Kind, str] = {
    "none": "no difference found",
    "covariate": "covariate shift",
    "label": "label shift",
    "concept": "concept shift",
    "covariate_or_label": "covariate or label shift",
    "label_compatible": "label shift would explain it",
    "not_label": "not label shift alone",
    "general": "X and Y given X moved",
    "undetermined": "not settled",
}


@dataclass(frozen=True)
class Comparison:
    """Two domains, or a window and its reference, in short.

    Parameters
    ----------
    source, target : str
        Names.
    kind : str
        As in `Diagnosis`, but ``none`` unless ``p_adjusted`` is at most the level, and
        ``undetermined`` where nothing could be tested.
    differs : bool
        Whether ``p_adjusted`` is at most the level, or the feature space or the label space
        differs.
    p_value : float or None
        That nothing differs: the smallest p-value corrected over the questions. None where
        nothing could be tested.
    p_adjusted : float or None
        The same after Benjamini and Hochberg's correction over the comparisons.
    effect : float or None
        AUC of a classifier that tells the two apart; 0.5 where it cannot. It measures X: after
        a change of Y at equal X alone it stays at 0.5.
    interval : tuple of float or None
        95% confidence interval of the effect, for this comparison alone.
    mmd_squared : float or None
        Squared maximum mean discrepancy.
    feature_space_differs, label_space_differs : bool
        Read off the data; labels that chance may have left out of one side do not count.
    columns : tuple of str
        Up to three columns that moved most, where the comparison differs. They have an error
        budget of their own, over all columns of all comparisons.
    n_columns : int
        How many columns moved, where the comparison differs.
    window : Window or None
        The window that is the target, along a column.
    """

    source: str
    target: str
    kind: Kind
    differs: bool
    p_value: float | None
    p_adjusted: float | None
    effect: float | None
    interval: tuple[float, float] | None
    mmd_squared: float | None
    feature_space_differs: bool
    label_space_differs: bool
    columns: tuple[str, ...]
    n_columns: int
    window: Window | None = None

    @property
    def answer(self) -> str:
        """What was found, in a few words."""
        parts = []
        if self.feature_space_differs:
            parts.append("feature space differs")
        if self.label_space_differs:
            parts.append("label set differs")
        if self.kind != "none" or not parts:
            parts.append(IN_SHORT[self.kind])
        return ", ".join(parts)

    @property
    def where(self) -> str:
        """The columns that moved most, in words."""
        more = self.n_columns - len(self.columns)
        return ", ".join(self.columns) + (f" and {more} more" if more > 0 else "")

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain values.

        Returns
        -------
        dict
        """
        result: dict[str, Any] = plain(asdict(self))
        return result


@dataclass(frozen=True)
class ManyDiagnosis(Shown):
    """How several domains differ from each other, or windows from a reference.

    Made by `diagnose_many`. Print it with ``show()``, write a page with ``to_html(path)``,
    hand it on with ``to_json(path)``, make a table with ``pandas.DataFrame(d.to_records())``.

    Parameters
    ----------
    comparisons : list of Comparison
        One for each pair; along a column, one for each window but the reference, in order.
    pairs : dict of (str, str) to Diagnosis
        The whole diagnosis of each comparison under its (source, target). It knows nothing of
        the other comparisons: its p-values are not corrected over them.
    n_rows : dict of str to int
        Rows of every domain.
    reference : str or None
        The domain that all others were compared with, if there is one.
    by : str or None
        The column that the sample was cut along.
    windows : tuple of Window
        All windows, the reference with them; empty without ``by``.
    alpha : float
        Level.
    notes : list of str
        What was left out or looks odd.
    """

    comparisons: list[Comparison]
    pairs: dict[tuple[str, str], Diagnosis]
    n_rows: dict[str, int]
    reference: str | None
    by: str | None
    windows: tuple[Window, ...]
    alpha: float
    notes: list[str]

    @property
    def names(self) -> list[str]:
        """Names of the domains."""
        return list(self.n_rows)

    @property
    def found(self) -> bool:
        """Whether any comparison differs."""
        return any(c.differs for c in self.comparisons)

    @property
    def first_different(self) -> Comparison | None:
        """The first comparison that differs, which along a column is the earliest window."""
        return next((c for c in self.comparisons if c.differs), None)

    @property
    def verdict(self) -> str:
        """The verdict in one to three sentences."""
        n, k = len(self.comparisons), sum(c.differs for c in self.comparisons)
        what = "windows" if self.by else "pairs" if self.reference is None else "domains"
        against = "" if self.reference is None else f" from {self._spanned(self.reference)}"
        untested = sum(c.kind == "undetermined" and not c.differs for c in self.comparisons)
        open_ = f" {untested} of {n} could not be settled." if untested else ""
        first = self.first_different
        if first is None:
            return f"No difference{against} was found in {n} {what}.{open_}"
        text = f"{k} of {n} {what} {'differs' if k == 1 else 'differ'}{against}."
        if self.by:
            text += f" The first is {self._spanned(first.target)}: {first.answer}"
            text += f", most in {first.where}." if first.columns else "."
        return text + open_

    @property
    def limits(self) -> list[str]:
        """What this cannot say."""
        n = len(self.comparisons)
        said = [
            f"A comparison differs when its p-value, corrected over the {n} comparisons "
            f"(Benjamini and Hochberg), is at most {self.alpha:g}, or when columns or labels are "
            "not the same. Of those that differ, a share of that size may be false. Intervals "
            "are for one comparison alone.",
            "A comparison without a difference is no proof of equality; its interval says how "
            "large one may be.",
        ]
        blind = sum(not d.findings["conditional"].testable for d in self.pairs.values())
        if blind:
            said.append(
                f"In {blind} of {n} comparisons a change of Y at equal X could not be tested for "
                "want of labels."
            )
        if self.by:
            said.append(
                "The tests take rows as independent. Where neighbouring rows are alike, as in "
                "most series over time, windows differ more often than the level says."
            )
        return said

    def _spanned(self, name: str) -> str:
        spans = {w.name: f" ({w.span})" for w in self.windows}
        return name + spans.get(name, "")

    def between(self, a: str, b: str) -> Comparison:
        """Return the comparison of two domains, in whichever order it was made.

        Parameters
        ----------
        a, b : str
            Names.

        Returns
        -------
        Comparison

        Raises
        ------
        KeyError
            If the two were not compared.
        """
        for comparison in self.comparisons:
            if {comparison.source, comparison.target} == {a, b}:
                return comparison
        raise KeyError(f"{a!r} and {b!r} were not compared; the names are {self.names}")

    def nearest(self, name: str) -> list[Comparison]:
        """Rank the other domains by how hard they are to tell from one.

        Domains with the same columns come first, then those in which Y at equal X was not
        found to differ, then the smaller AUC, then the smaller MMD. What looks most alike
        makes a good first source for a target; without labels of both, whether Y at equal X
        is alike stays unknown.

        Parameters
        ----------
        name : str
            A domain.

        Returns
        -------
        list of Comparison
            Those with this domain, the nearest first.

        Raises
        ------
        KeyError
            If there is no such domain.
        """
        if name not in self.n_rows:
            raise KeyError(f"no domain {name!r}; the names are {self.names}")

        def far(c: Comparison) -> tuple[bool, bool, float, float]:
            effect = float("inf") if c.effect is None else max(c.effect, 0.5)
            y_moved = c.differs and self.pairs[c.source, c.target].findings["conditional"].differs
            return c.feature_space_differs, y_moved, effect, c.mmd_squared or 0.0

        return sorted((c for c in self.comparisons if name in (c.source, c.target)), key=far)

    def to_records(self) -> list[dict[str, Any]]:
        """Return one flat record for each comparison, ready for a data frame.

        Returns
        -------
        list of dict
            The fields of `Comparison`, with ``low`` and ``high`` for the interval, columns as
            one text and, along a column, ``start``, ``end`` and ``n_rows`` of the window.
        """
        records = []
        for c in self.comparisons:
            record = c.to_dict()
            window = record.pop("window")
            record["low"], record["high"] = record.pop("interval") or (None, None)
            record["columns"] = ", ".join(c.columns)
            record["n_rows"] = self.n_rows[c.target]
            if window is not None:
                record |= {"start": window["start"], "end": window["end"]}
            records.append(record)
        return records

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON.

        Returns
        -------
        dict
            Keys ``schema_version`` (raised when the meaning of a key changes), ``verdict``,
            ``found``, ``alpha``, ``by``, ``reference``, ``domains`` (``name``, ``n_rows``),
            ``windows`` (the fields of `Window`), ``comparisons`` (the fields of
            `Comparison`), ``first_different`` (a name or null), ``limits``, ``notes`` and
            ``diagnoses`` (a list of what `Diagnosis.to_dict` gives, in the order of the
            comparisons).
        """
        first = self.first_different
        result: dict[str, Any] = plain(
            {
                "schema_version": MANY_SCHEMA_VERSION,
                "verdict": self.verdict,
                "found": self.found,
                "alpha": self.alpha,
                "by": self.by,
                "reference": self.reference,
                "domains": [{"name": k, "n_rows": n} for k, n in self.n_rows.items()],
                "windows": [asdict(w) for w in self.windows],
                "comparisons": [c.to_dict() for c in self.comparisons],
                "first_different": None if first is None else first.target,
                "limits": self.limits,
                "notes": self.notes,
                "diagnoses": [d.to_dict() for d in self.pairs.values()],
            }
        )
        return result

    def to_html_fragment(self) -> str:
        """Make the inner part of the page, with its styles, to stand inside another page.

        Returns
        -------
        str
            A ``<section>`` preceded by a ``<style>`` whose rules reach only into it.
        """
        from shiftlab.diagnosis.report.many import fragment

        return fragment(self)

    def _page(self) -> str:
        from shiftlab.diagnosis.report.many import page

        return page(self)

    def __rich__(self) -> RenderableType:
        from shiftlab.diagnosis.report.many import render

        return render(self)

    def __repr__(self) -> str:
        differ = sum(c.differs for c in self.comparisons)
        what = "windows" if self.by else "domains"
        n = len(self.windows) if self.by else len(self.n_rows)
        return f"ManyDiagnosis({n} {what}, {differ} of {len(self.comparisons)} comparisons differ)"
