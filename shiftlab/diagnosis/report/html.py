"""A diagnosis as one self-contained page, or as a fragment of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from shiftlab.diagnosis.findings import QUESTIONS
from shiftlab.diagnosis.report import plots, words

if TYPE_CHECKING:
    from shiftlab.diagnosis.result import Diagnosis

__all__ = ["fragment", "page"]

OVERLAYS = 6
ROWS = 50
REGIONS = 8
UNLIKE = 10
LABELS = 30
STATUS = {
    "differs": "differs",
    "no_evidence": "no difference found",
    "not_testable": "not testable",
}


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("shiftlab.diagnosis.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "answer": words.answer,
        "cut": words.shortened,
        "judged": words.judged,
        "measures": words.measures,
        "moved": words.moved,
        "number": words.number,
        "p_value": words.p_value,
        "ratio": words.ratio,
        "scalars": words.scalars,
        "share": words.share,
    }
    return environment


def fragment(diagnosis: Diagnosis, level: int = 2) -> str:
    """Render the inner part: styles that reach only into it, and one section.

    Parameters
    ----------
    diagnosis : Diagnosis
        What to show.
    level : int, default=2
        Level of the verdict's heading.

    Returns
    -------
    str
    """
    features, more = diagnosis.features, diagnosis.explanation
    moved = [f for f in features if f.status == "differs"]
    drawn = {
        "priors": plots.prior_bars(diagnosis.findings["prior"]),
        "effects": plots.effect_bars(features),
        "scatter": plots.importance_scatter(features),
        "map": plots.domain_map(more.map),
        "power": plots.power_curve(more.plan),
        "cost": plots.cost_bars(more.performance) if more.performance else "",
    }
    # the plots are made here from numbers and escaped names; all else is escaped by Jinja
    return (
        _environment()
        .get_template("diagnosis.html.j2")
        .render(
            d=diagnosis,
            level=level,
            questions=QUESTIONS,
            status=STATUS,
            colours=(plots.SOURCE, plots.TARGET),
            recommendations=diagnosis.recommend(),
            features=features[:ROWS],
            n_features=len(features),
            moved=moved,
            regions=more.regions[:REGIONS],
            unlike=more.unlike[:UNLIKE],
            label_rows=more.plan.rows[:LABELS] if more.plan else (),
            measured=words.measured,
            span=words.span,
            plots={name: Markup(svg) for name, svg in drawn.items()},
            overlays=[Markup(svg) for f in moved[:OVERLAYS] if (svg := plots.feature_overlay(f))],
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
    return template.render(d=diagnosis, inner=Markup(fragment(diagnosis, level=1)))
