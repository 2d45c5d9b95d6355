"""What silence is worth: power behind a name, levels, and what is said where nothing was found."""

import numpy as np
import pytest
from diagnosis_cases import draw, pair, resampled

from shiftlab import Domain, diagnose
from shiftlab.diagnosis import answers
from shiftlab.diagnosis.attribution import adjust, attribute, limits
from shiftlab.diagnosis.findings import Finding
from shiftlab.diagnosis.label_space import compare_label_spaces, read_labels
from shiftlab.diagnosis.marginal import TESTS_OF_X
from shiftlab.stats.multiple import holm
from shiftlab.stats.two_sample import detectable_auc


def _with_p(question, p, **details):
    return Finding(question, "no_evidence", "", p_value=p, details=details)


def _answers(x, y, given_y, given_x, **power):
    found = {
        "marginal": _with_p("marginal", x),
        "prior": _with_p("prior", y),
        "class_conditional": _with_p("class_conditional", given_y),
        "conditional": _with_p("conditional", given_x),
        "label_fit": Finding.not_testable("label_fit", "answered"),
    }
    for question, value in power.items():
        found[question].details.update(power=value, power_for="a change of 0.2")
    return adjust(found, 0.05)


@pytest.mark.parametrize(("power", "kind"), [(0.03, "not_label"), (0.8, "covariate")])
def test_covariate_shift_is_named_only_where_silence_on_y_given_x_has_power(power, kind):
    found = _answers(1e-6, 0.5, 1e-6, 0.9, conditional=power)
    assert attribute(found) == kind
    said = " ".join(limits(kind, found, 70, source_labels=True))
    assert "No difference of Y at equal X was found, which does not prove" in said
    assert ("too little to name the kind" in said) == (power < 0.5)
    assert "intervals say" not in said


@pytest.mark.parametrize(("power", "kind"), [(0.03, "label_compatible"), (0.8, "label")])
def test_label_shift_is_named_only_where_silence_on_x_given_y_has_power(power, kind):
    assert attribute(_answers(1e-6, 1e-6, 0.9, 1e-6, class_conditional=power)) == kind


def test_seventy_labels_do_not_make_it_covariate_shift():
    rng = np.random.default_rng(5)
    source, (X, y) = draw(rng, 1500), draw(rng, 1500, move=0.8)
    few = Domain(X, y, labelled=np.arange(1500) < 70)
    found = diagnose(source, few, random_state=0)
    assert found.kind != "covariate"
    assert found.findings["conditional"].details["power"] < 0.5
    assert diagnose(source, (X, y), random_state=0).kind == "covariate"
    # more labels are what is missing
    if found.kind in ("not_label", "covariate_or_label"):
        assert any(r.method == "Label target rows" for r in found.recommend())


def test_the_last_steps_of_holm_are_held_back():
    p = np.array([1e-9, 1e-9, 1e-9, 0.03])
    assert holm(p)[3] == pytest.approx(0.03)
    assert holm(p, fewest=3)[3] == pytest.approx(0.09)
    np.testing.assert_allclose(holm([0.01, 0.02, 0.03], fewest=3), [0.03, 0.06, 0.09])
    assert attribute(_answers(1e-9, 1e-9, 1e-9, 0.03)) == "covariate"


def test_label_fit_and_novelty_share_one_level():
    found = {
        "marginal": _with_p("marginal", 1e-9),
        "label_fit": _with_p("label_fit", 0.03),
        "novelty": _with_p("novelty", 0.9),
    }
    assert adjust(found, 0.05)["label_fit"].status == "no_evidence"


def test_predicted_classes_that_differ_are_a_difference_of_x():
    found = {
        "marginal": _with_p("marginal", 0.2),
        "prior": _with_p("prior", 1e-6, assumes="label shift"),
        "class_conditional": Finding.not_testable("class_conditional", "no labels"),
        "conditional": Finding.not_testable("conditional", "no labels"),
        "label_fit": _with_p("label_fit", 0.6),
    }
    decided = adjust(found, 0.05)
    assert decided["marginal"].differs
    assert "predicts" in decided["marginal"].summary
    assert attribute(decided) == "label_compatible"
    # labels that differ say nothing of X
    found["prior"] = _with_p("prior", 1e-6)
    assert not adjust(found, 0.05)["marginal"].differs


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_what_was_detectable_counts_alpha_tests_and_questions(alpha):
    X = np.random.default_rng(6).normal(size=(400, 3))
    found = diagnose(X[:200], X[200:], alpha=alpha, random_state=0, explain=False)
    expected = detectable_auc(100, 100, alpha=alpha / (1 * TESTS_OF_X))
    assert found.findings["marginal"].details["detectable_effect"] == pytest.approx(expected)
    assert any(f"AUC {expected:.2f}" in line for line in found.limits)


@pytest.mark.parametrize(("rows", "differs"), [(8, False), (12, True)])
def test_sets_of_labels_have_a_fifth_of_the_level(rows, differs):
    # all rows of the third class on one side: a chance of 2 k 2^-rows
    source = Domain(np.zeros((300, 1)), np.arange(300) % 2)
    y = np.arange(300) % 2
    y[:rows] = 2
    labels = read_labels(source, Domain(np.zeros((300, 1)), y))
    assert compare_label_spaces(labels, "classification", 0.05).differs == differs


@pytest.mark.slow
def test_level_of_the_label_space():
    rng = np.random.default_rng(7)
    shares = 1 / np.arange(1.0, 31)
    found = []
    for _ in range(2000):
        sides = [
            Domain(np.zeros((100, 1)), rng.choice(30, 100, p=shares / shares.sum()))
            for _ in range(2)
        ]
        found.append(compare_label_spaces(read_labels(*sides), "classification", 0.05).differs)
    assert np.mean(found) <= 0.013


def test_so_few_permutations_that_nothing_could_be_found_are_refused():
    X = np.random.default_rng(8).normal(size=(60, 2))
    with pytest.raises(ValueError, match=r"at least 1199 at alpha=0\.01"):
        diagnose(X, X, alpha=0.01, n_permutations=499)
    found = diagnose(X, X + 3, alpha=0.01, random_state=0, explain=False)
    assert found.findings["marginal"].differs
    assert found.findings["marginal"].details["n_permutations"] == 1199


def test_the_smallest_number_of_permutations_lets_every_question_be_answered():
    found = diagnose(*pair("concept", 3), n_permutations=239, random_state=0, explain=False)
    assert found.kind == "concept"


def test_label_fit_is_asked_where_the_labels_could_not_answer(monkeypatch):
    source, (X, y) = pair("label", 12, n=600)
    target = Domain(X, y, labelled=np.arange(600) < 80)
    answered = diagnose(source, target, random_state=0, explain=False).findings["label_fit"]
    assert answered.details["answered_elsewhere"]
    monkeypatch.setattr(
        answers,
        "check_class_conditional",
        lambda both, sample: Finding.not_testable("class_conditional", "no class on both sides"),
    )
    asked = diagnose(source, target, random_state=0, explain=False).findings["label_fit"]
    assert asked.testable


def test_unlabelled_target_rows_may_be_of_any_source_class():
    # all labels of the target are of two classes, its other rows are of all three
    rng = np.random.default_rng(9)
    source, (X, y) = draw(rng, 900), resampled(rng, 900, [0.5, 0.3, 0.2])
    labelled = np.zeros(900, dtype=bool)
    labelled[np.flatnonzero(y != 2)[:30]] = True
    found = diagnose(source, Domain(X, y, labelled=labelled), random_state=0, explain=False)
    assert found.findings["label_fit"].testable
    assert len(found.findings["label_fit"].details["estimated_prior"]) == 3
    assert found.kind == "label_compatible"
