"""What to do: adapters from the registry that answer what was found."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from shiftlab.diagnosis.explanation import LabelPlan
from shiftlab.diagnosis.findings import Kind
from shiftlab.diagnosis.situation import Situation
from shiftlab.diagnosis.track_record import TrackRecord, track_record

__all__ = ["Recommendation", "recommend"]

SHOWN_ROWS = 50
FEW_LEFT = 0.1  # share of the rows: of the source left by weights, or of the target out of reach


@dataclass(frozen=True)
class Recommendation:
    """One thing to do.

    Parameters
    ----------
    method : str
        Name of the adapter, "Do nothing" or "Label target rows".
    reason : str
        Why, in one sentence.
    code : str
        A line that runs with ``source`` and ``target`` as domains.
    """

    method: str
    reason: str
    code: str


ANSWERS: dict[Kind, tuple[str, ...]] = {
    "none": (),
    "covariate": ("marginal",),
    "label": ("conditional",),
    "label_compatible": ("conditional",),
    "not_label": ("marginal",),
    "covariate_or_label": ("conditional", "marginal"),
    "concept": (),
    "general": (),
    "undetermined": (),
}

DOMAIN_ROWS = "from shiftlab import Domain; n = len(Domain.of(target))"

MOST_OF_A_KIND = 2  # weights are much alike, and so are maps: a list of all says nothing
ENOUGH_LABELS = 200
SAME_GAIN = 2.0  # points of accuracy that are no reason to prefer one
UNSETTLED = ("not_label", "label_compatible", "covariate_or_label", "undetermined")

WHY: dict[str, str] = {
    "feature_space": "the feature spaces differ",
    "marginal": "X moved",
    "label_space": "the label sets differ",
    "conditional": "the class shares moved, or may have",
}


def recommend(situation: Situation, plan: LabelPlan | None = None) -> list[Recommendation]:
    """Rank what can be done, from the findings and from what each adapter says of itself.

    Parameters
    ----------
    situation : Situation
        Findings, sizes and types.
    plan : LabelPlan or None, default=None
        Which labels would settle what is open.

    Returns
    -------
    list of Recommendation
        "Do nothing" is always among them, and first when nothing was found.
    """
    from shiftlab.registry import list_adapters

    wanted: list[str] = []
    if situation.feature_space_differs:
        wanted.append("feature_space")
    if situation.label_space_differs:
        wanted.append("label_space")
    wanted += ANSWERS[situation.kind]
    changed_rule = situation.kind in ("concept", "general")
    adapters = list_adapters()
    chosen: list[Recommendation] = []
    for difference in wanted:
        # what an adapter is for comes first; JDA touches the conditional but assumes that X moved
        fitting = [
            a
            for a in adapters
            if a.facts.handles[0] == difference
            and _fits(a.facts, situation)
            and _answers(a.facts, difference, situation)
        ]
        # weights cost more than they correct where they leave few rows or cannot reach many
        lost = situation.effective_share < FEW_LEFT or situation.beyond > FEW_LEFT
        records = {a: _record(a, situation) for a in fitting}
        fitting.sort(
            key=lambda a: (
                a.facts.needs_overlap and lost,
                records[a].harms,
                -round(records[a].mean / SAME_GAIN),
            )
        )
        chosen += [_with(a, difference, situation, records[a]) for a in _varied(fitting)]
    if changed_rule:
        # Y given X moved: only methods that see target labels can follow it
        learns = [
            a for a in adapters if a.facts.target_labels != "none" and _fits(a.facts, situation)
        ]
        learns.sort(key=lambda a: a.facts.target_labels != "required")
        learns = _varied(learns)
        learning = [
            Recommendation(
                a.__name__,
                "Y at equal X changed, and this learns from the target's labels; "
                f"it assumes: {_clause(a.facts.assumes)}.",
                _code(a, situation),
            )
            for a in learns
        ]
        # with few labels, what borrows from the source comes before the target alone
        needs = sum(a.facts.target_labels == "required" for a in learns)
        first = 0 if _enough_alone(situation) else needs
        chosen += [*learning[:first], _target_only(situation), *learning[first:]]
    elif situation.new_classes and situation.n_target_labels:
        place = 0 if _enough_alone(situation) else len(chosen)
        chosen.insert(place, _target_only(situation))
    found = bool(wanted) or situation.kind != "none"
    nothing = _nothing(situation, found)
    texts = situation.texts is not None
    # few labels leave the kind open; where it is named, more would change nothing
    unsettled = situation.kind in UNSETTLED and plan is not None
    ask = found and (situation.n_target_labels == 0 or unsettled)
    label = _label_rows(plan, texts) if ask else []
    unique = list({r.method: r for r in reversed(chosen)}.values())[::-1]
    if not found:
        return [nothing]
    return [nothing, *unique, *label] if situation.negligible else [*unique, *label, nothing]


def _fits(facts: Any, situation: Situation) -> bool:
    # the code for texts makes sparse counts of them
    inputs = "sparse" if situation.texts else situation.inputs
    if inputs not in facts.inputs or situation.task not in facts.tasks:
        return False
    if facts.deep and inputs != "images":
        return False  # no gain of networks on tables was measured
    if facts.needs_overlap and not situation.overlap:
        return False
    if facts.source_labels and situation.n_source_labels == 0:
        return False
    if facts.own_columns and not (situation.nothing_shared and situation.all_numbers):
        return False
    if facts.handles == ("feature_space",) and not facts.own_columns and situation.nothing_shared:
        return False
    # neither several sources nor what links two spaces are among what was diagnosed
    if facts.several_sources or facts.bridge:
        return False
    return not (facts.target_labels == "required" and situation.n_target_labels == 0)


def _clause(sentence: str) -> str:
    text = sentence.strip().rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _answers(facts: Any, difference: str, situation: Situation) -> bool:
    """Whether an adapter answers this very difference, and not only one of its kind."""
    if difference == "label_space":
        sides = (("new", situation.new_classes), ("gone", situation.gone_classes))
        return any(side in facts.label_sets for side, found in sides if found)
    # what needs target labels follows a changed P(Y|X), not changed class shares
    return difference != "conditional" or facts.target_labels != "required"


def _enough_alone(situation: Situation) -> bool:
    """Whether tables have target labels enough to learn from without the source."""
    return situation.inputs != "images" and situation.n_target_labels >= ENOUGH_LABELS


def _varied(adapters: list[Any]) -> list[Any]:
    """Keep the first two of each folder."""
    kept: list[Any] = []
    for adapter in adapters:
        home = adapter.__module__.rpartition(".")[0]
        if sum(k.__module__.rpartition(".")[0] == home for k in kept) < MOST_OF_A_KIND:
            kept.append(adapter)
    return kept


def _record(adapter: Any, situation: Situation) -> TrackRecord:
    """Return what was measured with classifiers; nothing is known of regression."""
    if situation.task == "regression":
        return TrackRecord({})
    return track_record(adapter.__name__, situation.kind)


def _with(
    adapter: Any, difference: str, situation: Situation, record: TrackRecord
) -> Recommendation:
    size = f" ({situation.sizes[difference]})" if difference in situation.sizes else ""
    left = ""
    if adapter.facts.needs_overlap and situation.effective_share < 0.5:
        left = f"; weights would leave the worth of about {situation.effective_share:.0%} of the "
        left += "source's rows"
    if adapter.facts.needs_overlap and situation.beyond:
        left += f"; {situation.beyond:.0%} of the target's rows are of a sort rare in the source"
    measured = f"; {record.sentence}" if record.sentence else ""
    assumes = _clause(adapter.facts.assumes)
    reason = f"Because {WHY[difference]}{size}; it assumes: {assumes}{left}{measured}."
    return Recommendation(adapter.__name__, reason, _code(adapter, situation))


def _model(situation: Situation) -> tuple[str, str]:
    """An estimator that takes the data as they are: its import and its call."""
    if situation.task == "regression":
        return "from sklearn.linear_model import Ridge", "Ridge()"
    return (
        "from sklearn.linear_model import LogisticRegression",
        "LogisticRegression(max_iter=1000)",
    )


def _encoders(situation: Situation) -> tuple[list[str], list[str]]:
    """Steps that make numbers without gaps of the columns: their imports and their calls."""
    imports, calls = [], []
    chosen = []
    if situation.text_columns:
        imports.append("from sklearn.preprocessing import OneHotEncoder")
        encoder = "OneHotEncoder(handle_unknown='ignore', sparse_output=False)"
        chosen.append(f"({encoder}, {list(situation.text_columns)!r})")
    if situation.apart:
        chosen.append(f"('drop', {list(situation.apart)!r})")
    if chosen:
        imports.append("from sklearn.compose import make_column_transformer")
        calls.append(f"make_column_transformer({', '.join(chosen)}, remainder='passthrough')")
    if situation.gaps:
        imports.append("from sklearn.impute import SimpleImputer")
        calls.append("SimpleImputer()")
    return imports, calls


def _code(adapter: Any, situation: Situation) -> str:
    name = adapter.__name__
    given: list[str] = []
    names = [name]
    imports: list[str] = []
    parameters = inspect.signature(adapter).parameters
    if "sampler" in parameters:
        given.append('sampler="over"')
    if "missing" in parameters and situation.lost_columns:
        given.append('missing="drop"')
    if "units" in parameters and situation.units:
        given.append(f"units={situation.units!r}")
    readable = situation.inputs in ("dense", "sparse") or situation.text_columns is not None
    readable = readable or situation.texts is not None
    trains = readable and situation.n_source_labels > 0
    if "target_prior" in parameters and trains:
        given.append('target_prior="estimated"')
    required = "estimator" in parameters and (
        parameters["estimator"].default is inspect.Parameter.empty
    )
    # columns that are still to be aligned cannot be encoded by their names
    aligned = "feature_space" not in adapter.facts.handles
    steps: list[str] = []
    if "estimator" in parameters and ((trains and aligned) or required):
        module, call = _model(situation)
        imports.append(module)
        given.append(f"estimator={call}")
    if readable and aligned:
        encoder_imports, steps = _encoders(situation)
        imports += encoder_imports
    steps.append(f"{name}({', '.join(given)})")
    if len(steps) > 1:
        names.append("make_pipeline")
    imports.append(f"from {_home(adapter)} import {', '.join(names)}")
    made = steps[0] if len(steps) == 1 else f"make_pipeline({', '.join(steps)})"
    return f"{'; '.join(imports)}; {_labelled(situation)}adapted = {made}.fit(source, target)"


def _labelled(situation: Situation) -> str:
    """Say in code which column of the given frames is the label, or count the words of texts."""
    if situation.texts is not None:
        sides = []
        for name, pair in zip(("source", "target"), situation.texts, strict=True):
            sides.append((f"{name}[0]", f", {name}[1]") if pair else (name, ""))
        (s, s_label), (t, t_label) = sides
        return (
            "from sklearn.feature_extraction.text import TfidfVectorizer; "
            f"from shiftlab import Domain; words = TfidfVectorizer().fit([*{s}, *{t}]); "
            f"source = Domain(words.transform({s}){s_label}); "
            f"target = Domain(words.transform({t}){t_label}); "
        )
    if situation.label is None:
        return ""
    label = f", label={situation.label!r}"
    return (
        f"from shiftlab import Domain; source = Domain.of(source{label}); "
        f"target = Domain.of(target{label if situation.label_in_target else ''}); "
    )


def _home(adapter: Any) -> str:
    """Where to import it from: the package, or its own module (private packages)."""
    import shiftlab

    return "shiftlab" if adapter.__name__ in shiftlab.__all__ else str(adapter.__module__)


def _nothing(situation: Situation, found: bool) -> Recommendation:
    if situation.negligible:
        reason = "What was found is real but smaller than what usually matters."
        return Recommendation("Do nothing", reason, "# keep the model that you have")
    reason = (
        "Adapting can hurt, so keep the source model as the yardstick that a method has to beat."
        if found
        else "No difference was found, so adapting can only add noise."
    )
    return Recommendation("Do nothing", reason, "# keep the model that you have")


def _target_only(situation: Situation) -> Recommendation:
    rows = "from shiftlab import Domain; rows = Domain.of(target).labelled_part(); "
    if situation.label is not None or situation.texts is not None:
        rows = _labelled(situation) + "rows = target.labelled_part(); "
    module, call = _model(situation)
    if situation.inputs == "images":
        code = f"{module}; {rows}model = {call}.fit(rows.X.reshape(len(rows), -1) / 255, rows.y)"
    elif situation.inputs == "frame" and situation.text_columns is None:
        code = f"{rows}X, y = rows.X, rows.y"
    else:
        imports, steps = _encoders(situation)
        if steps:
            imports.append("from sklearn.pipeline import make_pipeline")
            call = f"make_pipeline({', '.join([*steps, call])})"
        code = f"{'; '.join([module, *imports])}; {rows}model = {call}.fit(rows.X, rows.y)"
    if situation.new_classes:
        why = "The target has classes that the source never had, so no model of the source can "
        why += f"predict them; the target's own {situation.n_target_labels} labels show them."
    else:
        why = "Y at equal X changed, so the source's labels partly mislead and the target's own "
        why += f"{situation.n_target_labels} are the safest guide."
    return Recommendation("Train on target labels", why, code)


def _label_rows(plan: LabelPlan | None, texts: bool) -> list[Recommendation]:
    name = "Label target rows"
    if plan is None:
        counted = "n = len(target)" if texts else DOMAIN_ROWS
        return [
            Recommendation(
                name,
                "Labels of some 100 randomly drawn target rows may show whether Y at equal X "
                "changed.",
                f"import numpy as np; {counted}; "
                "rows = np.random.default_rng(0).choice(n, min(100, n), replace=False)",
            )
        ]
    if not plan.rows:
        return []
    reason = plan.summary.split(". ")[0].rstrip(".") + "."
    return [Recommendation(name, reason, f"rows = {list(plan.rows[:SHOWN_ROWS])}")]
