"""A diagnosis as one self-contained page, or as a fragment of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from shiftlab.diagnosis.findings import QUESTIONS
from shiftlab.diagnosis.report.plots import SOURCE, TARGET, effect_bars, feature_overlay, prior_bars

if TYPE_CHECKING:
    from shiftlab.diagnosis.result import Diagnosis

__all__ = ["fragment", "page"]

OVERLAYS = 6
ROWS = 50
STATUS = {
    "differs": "differs",
    "no_evidence": "no difference found",
    "not_testable": "not testable",
}


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("shiftlab.diagnosis.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def fragment(diagnosis: Diagnosis) -> str:
    """Render the inner part: styles that reach only into it, and one section.

    Parameters
    ----------
    diagnosis : Diagnosis
        What to show.

    Returns
    -------
    str
    """
    names = diagnosis.source_name, diagnosis.target_name
    moved = [f for f in diagnosis.features if f.status == "differs"][:OVERLAYS]
    overlays = [feature_overlay(f) for f in moved]
    # the plots are made here from numbers and escaped names; all else is escaped by Jinja
    return (
        _environment()
        .get_template("diagnosis.html.j2")
        .render(
            d=diagnosis,
            questions=QUESTIONS,
            status=STATUS,
            colours=(SOURCE, TARGET),
            recommendations=diagnosis.recommend(),
            features=diagnosis.features[:ROWS],
            n_features=len(diagnosis.features),
            n_differ=sum(f.status == "differs" for f in diagnosis.features),
            priors=Markup(prior_bars(diagnosis.findings["prior"], names)),
            effects=Markup(effect_bars(diagnosis.features)),
            overlays=[Markup(svg) for svg in overlays if svg],
        )
    )


def page(diagnosis: Diagnosis) -> str:
    """Render the whole page.

    Parameters
    ----------
    diagnosis : Diagnosis
        What to show.

    Returns
    -------
    str
    """
    template = _environment().get_template("page.html.j2")
    return template.render(d=diagnosis, inner=Markup(fragment(diagnosis)))
