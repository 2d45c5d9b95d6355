"""The decision procedure on its own: every combination of answers."""

import itertools

import pytest

from shiftlab.diagnosis.attribution import adjust, attribute
from shiftlab.diagnosis.findings import KINDS, Finding


def _finding(question, status):
    if status is None:
        return Finding.not_testable(question, "no reason")
    return Finding(question, "differs" if status else "no_evidence", "")


def _attribute(x, y, given_y, given_x, fit=None):
    questions = ("marginal", "prior", "class_conditional", "conditional", "label_fit")
    states = (x, y, given_y, given_x, fit)
    return attribute({q: _finding(q, s) for q, s in zip(questions, states, strict=True)})


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ((False, False, False, False), "none"),
        ((True, False, True, False), "covariate"),
        ((True, True, True, False), "covariate"),
        ((True, True, False, True), "label"),
        ((False, False, True, True), "concept"),
        ((False, True, True, True), "concept"),
        ((True, True, True, True), "general"),
        ((True, True, False, False), "covariate_or_label"),
        ((False, False, True, False), "undetermined"),
        ((False, False, False, True), "concept"),
        ((True, True, True, None), "not_label"),
        ((True, True, False, None), "label_compatible"),
        ((False, False, None, None), "none"),
        ((None, None, None, None), "undetermined"),
        ((True, True, None, None, True), "not_label"),
        ((True, False, None, None, False), "label_compatible"),
        ((True, False, None, None, None), "covariate_or_label"),
    ],
)
def test_decision_table(answers, kind):
    assert _attribute(*answers) == kind


def test_without_target_labels_covariate_and_concept_are_never_named():
    states = (True, False, None)
    for x, y, fit in itertools.product(states, states, states):
        assert _attribute(x, y, None, None, fit) in {
            "none",
            "label_compatible",
            "not_label",
            "covariate_or_label",
            "undetermined",
        }


def test_every_combination_has_a_kind_and_none_needs_silence():
    for answers in itertools.product((True, False, None), repeat=5):
        kind = _attribute(*answers)
        assert kind in KINDS
        if kind == "none":
            assert not any(answers[:2])


def test_p_values_are_adjusted_over_the_questions_and_the_fit_is_gated():
    def with_p(question, p):
        return Finding(question, "no_evidence", "", p_value=p)

    raw = {
        "marginal": with_p("marginal", 0.01),
        "prior": with_p("prior", 0.04),
        "class_conditional": Finding.not_testable("class_conditional", "none"),
        "label_fit": with_p("label_fit", 0.001),
    }
    decided = adjust(raw, 0.05)
    assert decided["marginal"].p_adjusted == pytest.approx(0.02)
    assert decided["prior"].p_adjusted == pytest.approx(0.04)
    assert decided["class_conditional"].status == "not_testable"
    # not below the p-value of the question it hangs on
    assert decided["label_fit"].p_adjusted == pytest.approx(0.02)
    raw["marginal"] = with_p("marginal", 0.9)
    assert adjust(raw, 0.05)["label_fit"].status == "not_testable"
