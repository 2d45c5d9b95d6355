"""The verdict on shifts that are known by construction, and the level on none."""

import numpy as np
import pytest
from diagnosis_cases import pair

from shiftlab import Domain
from shiftlab.diagnosis import diagnose


@pytest.mark.parametrize("kind", ["covariate", "label", "concept"])
def test_full_size_shift_is_named_with_labels(kind):
    diagnosis = diagnose(*pair(kind, 11), random_state=0)
    assert diagnosis.kind == kind
    assert not diagnosis.feature_space_differs
    assert not diagnosis.label_space_differs
    assert diagnosis.findings["label_fit"].status == "not_testable"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("covariate", "not_label"),
        ("label", "label_compatible"),
        ("concept", "none"),
        ("none", "none"),
    ],
)
def test_what_can_be_said_without_target_labels(kind, expected):
    source, (X, y) = pair(kind, 12)
    diagnosis = diagnose(source, X, random_state=0)
    assert diagnosis.kind == expected
    assert diagnosis.findings["conditional"].status == "not_testable"
    assert any("concept shift" in line for line in diagnosis.limits)
    if expected == "none":
        assert "cannot be seen" in diagnosis.verdict
    if kind == "label":
        prior = diagnosis.findings["prior"]
        truth = np.bincount(y, minlength=3) / y.size
        assert np.abs(prior.details["target_prior"] - truth).sum() < 0.12
        assert prior.interval[0] > prior.minimum_effect


def test_hidden_target_labels_change_nothing():
    source, (X, y) = pair("label", 13, n=300)
    hidden = Domain(X, y, labelled=np.zeros(300, dtype=bool))
    shuffled = Domain(X, y[::-1], labelled=np.zeros(300, dtype=bool))
    runs = [diagnose(source, t, random_state=0).to_dict() for t in (hidden, shuffled)]
    assert runs[0] == runs[1]


def test_new_class_is_reported_and_the_rest_compared_on_shared_classes():
    source, target = pair("new class", 14)
    diagnosis = diagnose(source, target, random_state=0)
    assert diagnosis.label_space_differs
    assert diagnosis.kind == "none"
    assert diagnosis.findings["label_space"].details["new"] == [3]
    assert any("3 classes that both sides have" in note for note in diagnosis.notes)


def test_new_class_without_labels_is_not_label_shift():
    source, (X, _) = pair("new class", 14)
    assert diagnose(source, X, random_state=0).kind == "not_label"


def test_regression_concept_and_covariate():
    rng = np.random.default_rng(15)

    def sample(slope, move):
        X = rng.normal(size=(1000, 3))
        X[:, 0] += move
        return X, slope * X[:, 0] + X[:, 1] + 0.5 * rng.normal(size=1000)

    cases = {"concept": (0.2, 0.0), "covariate": (1.0, 0.8), "none": (1.0, 0.0)}
    for kind, target in cases.items():
        # Each verdict is wrong in up to 5% of the draws, so one of four may be.
        found = [
            diagnose(sample(1.0, 0.0), sample(*target), task="regression", random_state=seed).kind
            for seed in range(4)
        ]
        assert found.count(kind) >= 3, (kind, found)


def test_same_seed_same_answer_and_input_untouched():
    (X, y), (T, t) = pair("covariate", 16, n=300)
    before = X.copy(), y.copy(), T.copy(), t.copy()
    first, second = (diagnose((X, y), (T, t), random_state=3).to_dict() for _ in range(2))
    assert first == second
    for was, now in zip(before, (X, y, T, t), strict=True):
        np.testing.assert_array_equal(was, now)


def test_features_point_at_the_columns_that_moved():
    diagnosis = diagnose(*pair("covariate", 17), random_state=0)
    assert {f.feature for f in diagnosis.features[:2]} == {"x0", "x3"}
    assert all(f.status == "differs" for f in diagnosis.features[:2])
    assert diagnosis.features[0].effect >= diagnosis.features[1].effect > 0.1


def _false_alarms(n_pairs, with_labels, n=160, d=4):
    alarms, columns = 0, 0
    for seed in range(n_pairs):
        source, target = pair("none", 10_000 + seed, n=n, d=d)
        diagnosis = diagnose(
            source, target if with_labels else target[0], n_permutations=239, random_state=seed
        )
        alarms += diagnosis.kind != "none" or diagnosis.label_space_differs
        columns += any(f.status == "differs" for f in diagnosis.features)
    return alarms / n_pairs, columns / n_pairs


@pytest.mark.parametrize("with_labels", [True, False])
def test_false_alarms_are_rare(with_labels):
    verdict, columns = _false_alarms(25, with_labels)
    # at a level of 5%, five or more of 25 have a probability of 0.7%
    assert verdict <= 0.16
    assert columns <= 0.16


@pytest.mark.slow
@pytest.mark.parametrize("with_labels", [True, False])
def test_level_of_the_verdict(with_labels):
    verdict, columns = _false_alarms(300, with_labels)
    assert verdict <= 0.075
    assert columns <= 0.075


@pytest.mark.slow
def test_conditional_questions_hold_their_level_when_only_the_other_moved():
    under_covariate, under_label = [], []
    for seed in range(200):
        for kind, question, out in (
            ("covariate", "conditional", under_covariate),
            ("label", "class_conditional", under_label),
        ):
            diagnosis = diagnose(*pair(kind, 20_000 + seed, n=400, d=4), random_state=seed)
            out.append(diagnosis.findings[question].p_value <= 0.05)
    assert np.mean(under_covariate) <= 0.09
    assert np.mean(under_label) <= 0.09


@pytest.mark.slow
def test_label_fit_holds_its_level_under_label_shift():
    p = []
    for seed in range(200):
        source, (X, _) = pair("label", 30_000 + seed, n=500, d=4)
        p.append(diagnose(source, X, random_state=seed).kind)
    assert np.mean(np.array(p) == "not_label") <= 0.09
