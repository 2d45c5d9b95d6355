"""Partial, open-set and universal adaptation, and the scores they are judged by."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from shiftlab import Domain, OpenSet, PartialAdaptation, PriorCorrection, Universal
from shiftlab.label_space.metrics import open_set_scores
from shiftlab.label_space.open_set import (
    ClassDistance,
    held_out_distances,
    unknown_label_for,
    unknown_share,
)
from shiftlab.label_space.widened import WidenedClassifier

CENTRES = np.array([[0, 0, 0], [5, 0, 0], [0, 5, 0], [0, 0, 5], [5, 5, 0.0]])

NUMBERS = np.arange(5)


def draw(seed, labels, moved=0.0):
    rng = np.random.default_rng(seed)
    return CENTRES[labels] + moved + rng.normal(size=(len(labels), 3))


# -- metrics ------------------------------------------------------------------------------------


def test_scores_by_hand():
    truth = [0, 0, 0, 0, 1, 1, 7, 8]
    predicted = [0, 0, 0, 1, 1, -1, -1, 0]
    scores = open_set_scores(truth, predicted, known=[0, 1, 2])
    assert scores.os_star == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert scores.unk == pytest.approx(1 / 2)
    assert scores.h_score == pytest.approx(2 * 0.625 * 0.5 / 1.125)
    assert scores.os == pytest.approx((3 / 4 + 1 / 2 + 1 / 2) / 3)


def test_rejecting_all_or_none_has_no_h_score():
    truth = np.array(["a", "b", "x", "y"])
    assert open_set_scores(truth, ["unknown"] * 4, ["a", "b"]).h_score == 0
    assert open_set_scores(truth, ["a", "b", "a", "b"], ["a", "b"]).h_score == 0
    assert open_set_scores(truth, ["a", "b", "?", "??"], ["a", "b"]).h_score == 1


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        ([0, 1], [0, 1], "y_true has none of an unknown class"),
        ([5, 6], [0, 1], "y_true has none of a known class"),
        ([0, 5], [0, 1, 1], "vectors of one length"),
    ],
)
def test_scores_that_cannot_be_had(truth, predicted, message):
    with pytest.raises(ValueError, match=message):
        open_set_scores(truth, predicted, known=[0, 1])


# -- open set -----------------------------------------------------------------------------------


def test_distance_by_a_loop():
    rng = np.random.default_rng(0)
    X, codes = rng.normal(size=(40, 3)) * [1, 2, 3], rng.integers(0, 2, 40)
    measure = ClassDistance(X, codes)
    means = [X[codes == c].mean(axis=0) for c in (0, 1)]
    spread = np.sqrt(np.mean([(x - means[c]) ** 2 for x, c in zip(X, codes, strict=True)], axis=0))
    for x in X[:10]:
        expected = min(np.linalg.norm((x - mean) / spread) for mean in means)
        assert_allclose(measure(x[None])[0], expected)


def test_held_out_distances_are_those_of_new_rows():
    y = np.repeat([0, 1], 150)
    X = draw(0, y)
    held = held_out_distances(X, y, 5, np.random.RandomState(0))
    new = ClassDistance(X, y)(draw(1, np.repeat([0, 1], 2000)))
    assert len(held) == 300
    assert_allclose(np.quantile(held, [0.5, 0.9]), np.quantile(new, [0.5, 0.9]), rtol=0.1)


def test_the_share_is_a_lower_bound_and_not_far_below():
    rng = np.random.default_rng(0)
    below = 0
    for _ in range(200):
        known = rng.chisquare(3, 400)
        share = rng.random() * 0.6
        unknown = rng.random(500) < share
        target = np.where(unknown, rng.chisquare(3, 500) + 12, rng.chisquare(3, 500))
        found = unknown_share(known, target)
        below += found <= unknown.mean()
        assert found >= unknown.mean() - 0.25
    assert below >= 195  # the bound is wider than the 5% that it promises


def test_nothing_unknown_is_rejected_where_nothing_is():
    rejected = []
    for seed in range(20):
        y = np.tile([0, 1, 2], 60)
        model = OpenSet(LogisticRegression(), random_state=0)
        model.fit((draw(seed, y), y), draw(100 + seed, y))
        rejected.append(model.unknown_share_ > 0)
        if not rejected[-1]:
            assert (model.unknown_probability(draw(0, y)) == 0).all()
    assert np.mean(rejected) <= 0.1


def open_pair(seed, names=NUMBERS):
    y, yt = np.tile([0, 1, 2], 100), np.tile([0, 1, 2, 3, 4], 80)
    return draw(seed, y), names[y], draw(50 + seed, yt), names[yt]


def test_unknown_rows_are_found_and_beat_a_threshold_on_the_confidence():
    ours, confidence = [], []
    for seed in range(3):
        X, y, Xt, yt = open_pair(seed)
        model = OpenSet(LogisticRegression(), random_state=0).fit((X, y), Xt)
        assert 0.2 < model.unknown_share_ < 0.4
        ours.append(open_set_scores(yt, model.predict(Xt), [0, 1, 2]).h_score)
        plain = LogisticRegression().fit(X, y)
        low = np.quantile(plain.predict_proba(X).max(axis=1), 0.05)
        sure = plain.predict_proba(Xt).max(axis=1) >= low
        confidence.append(
            open_set_scores(yt, np.where(sure, plain.predict(Xt), -1), [0, 1, 2]).h_score
        )
    assert np.mean(ours) > 0.9
    assert np.mean(ours) > np.mean(confidence) + 0.05


@pytest.mark.parametrize(
    ("names", "unknown"),
    [
        (np.array(["a", "b", "c", "d", "e"]), "unknown"),
        (np.array(["unknown", "b", "c", "d", "e"]), "unknown_"),
        (np.arange(5) - 1, -2),
        (np.arange(5.0), -1.0),
        (np.arange(5).astype(np.uint8), None),
    ],
)
def test_unknown_fits_the_kind_of_the_labels(names, unknown):
    X, y, Xt, _ = open_pair(0, names)
    if unknown is None:
        y, unknown = y.astype(np.int64), -1
    model = OpenSet(LogisticRegression(), random_state=0).fit((X, y), Xt)
    assert model.unknown_label_ == unknown
    assert model.classes_.tolist() == sorted(names[:3].tolist())
    predicted = model.predict(Xt)
    assert set(predicted.tolist()) == {unknown, *names[:3].tolist()}
    assert np.asarray(predicted).dtype.kind == y.dtype.kind
    # Columns are the known classes, given that the row is of one; the rest is said apart.
    p, q = model.predict_proba(Xt), model.unknown_probability(Xt)
    assert p.shape == (400, 3)
    assert_allclose(p.sum(axis=1), 1)
    inner = model.estimator_.classifier.predict_proba(Xt)
    assert_allclose(np.sort(np.column_stack([p * (1 - q)[:, None], q])), np.sort(inner), atol=1e-9)
    assert_array_equal(predicted == unknown, q >= (p * (1 - q)[:, None]).max(axis=1))
    given = OpenSet(LogisticRegression(), unknown_label="?" if y.dtype.kind == "U" else 99)
    assert (given.fit((X, y), Xt).predict(Xt) == given.unknown_label).any()


@pytest.mark.parametrize(
    ("names", "unknown", "message"),
    [
        (np.arange(5), 1, "a number that is none of the labels"),
        (np.arange(5), "strange", "must be a number"),
        (np.array(list("abcde")), 7, "must be text"),
    ],
)
def test_unknown_labels_that_do_not_fit(names, unknown, message):
    X, y, Xt, _ = open_pair(0, names)
    with pytest.raises(ValueError, match=message):
        OpenSet(LogisticRegression(), unknown_label=unknown).fit((X, y), Xt)


def test_booleans_have_no_third_value():
    X, y, Xt, _ = open_pair(0)
    with pytest.raises(ValueError, match="no third value"):
        OpenSet(LogisticRegression()).fit((X[y < 2], y[y < 2] == 1), Xt)
    with pytest.raises(ValueError, match="no third value"):
        unknown_label_for(np.array([True, False]))


def test_without_probabilities_and_with_one_row_classes():
    X, y, Xt, yt = open_pair(1)
    model = OpenSet(LinearSVC(), random_state=0).fit((X, y), Xt)
    assert open_set_scores(yt, model.predict(Xt), [0, 1, 2]).h_score > 0.85
    assert set(model.unknown_probability(Xt).tolist()) == {0.0, 1.0}
    assert model.decision_function(Xt).shape == (400, 3)
    one = np.append(y, 9)
    model = OpenSet(LogisticRegression(), random_state=0)
    model.fit((np.vstack([X, [[0, 0, -9]]]), one), Xt)
    assert model.classes_.tolist() == [0, 1, 2, 9]
    with pytest.raises(ValueError, match="a class with at least 2"):
        OpenSet(LogisticRegression()).fit((X[:2], [0, 1]), Xt)


# -- partial ------------------------------------------------------------------------------------


def partial_pair(seed):
    y, yt = np.tile(np.arange(5), 80), np.tile([1, 3], 100)
    return draw(seed, y), y, draw(50 + seed, yt, moved=1.2), yt


def test_missing_classes_are_left_out_and_columns_stay():
    for seed in range(3):
        X, y, Xt, _ = partial_pair(seed)
        model = PartialAdaptation(LogisticRegression()).fit((X, y), Xt)
        assert {1, 3} <= set(model.kept_classes_.tolist())
        assert len(model.kept_classes_) <= 3
        assert set(model.source_.y.tolist()) == set(model.kept_classes_.tolist())
        assert model.classes_.tolist() == [0, 1, 2, 3, 4]
        p = model.predict_proba(Xt)
        assert (p[:, ~np.isin(model.classes_, model.kept_classes_)] == 0).all()
        assert_allclose(p.sum(axis=1), 1)
        assert_array_equal(model.predict(Xt), model.classes_[p.argmax(axis=1)])
        assert_array_equal(
            model.predict(Xt), model.classes_[model.decision_function(Xt).argmax(axis=1)]
        )


def test_leaving_out_helps_where_rows_are_taken_for_missing_classes():
    gains = []
    for seed in range(5):
        y, yt = np.tile(np.arange(4), 80), np.tile([0, 2], 100)
        square = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0], [2, 2, 0]])
        noise = np.random.default_rng(seed).normal(size=(len(y) + len(yt), 3))
        X, Xt = square[y] + noise[: len(y)], square[yt] + noise[len(y) :]
        model = PartialAdaptation(LogisticRegression()).fit((X, y), Xt)
        gains.append(model.score(Xt, yt) - LogisticRegression().fit(X, y).score(Xt, yt))
    assert np.mean(gains) > 0.05


def test_all_classes_are_kept_where_all_are_there():
    y = np.tile(np.arange(5), 80)
    X, Xt = draw(0, y), draw(1, y)
    model = PartialAdaptation(LogisticRegression()).fit((X, y), Xt)
    assert model.kept_classes_.tolist() == [0, 1, 2, 3, 4]
    assert_allclose(model.class_ratios_, 1, atol=0.15)
    assert_array_equal(model.predict(Xt), LogisticRegression().fit(X, y).predict(Xt))


def test_one_class_in_the_target_keeps_two():
    X, y, _, _ = partial_pair(0)
    with pytest.warns(UserWarning, match="one class only, 3"):
        model = PartialAdaptation(LogisticRegression()).fit((X, y), draw(9, np.full(100, 3)))
    assert 3 in model.kept_classes_
    assert len(model.kept_classes_) == 2
    with pytest.raises(ValueError, match="no predict_proba"):
        PartialAdaptation(LinearSVC()).fit((X, y), X)


def test_a_widened_classifier_of_two_classes():
    X, y, Xt, _ = partial_pair(1)
    inner = LogisticRegression().fit(X[y < 2], y[y < 2])
    wide = WidenedClassifier(inner, np.arange(4))
    assert_allclose(wide.predict_proba(Xt)[:, :2], inner.predict_proba(Xt))
    assert_array_equal(wide.decision_function(Xt).argmax(axis=1), inner.predict(Xt))
    assert not hasattr(WidenedClassifier(LinearSVC().fit(X, y), np.arange(9)), "predict_proba")
    assert hasattr(WidenedClassifier(KNeighborsClassifier().fit(X, y), np.arange(9)), "predict")


def test_prior_correction_follows():
    from shiftlab import make_pipeline

    X, y, Xt, yt = partial_pair(2)
    model = make_pipeline(
        PartialAdaptation(LogisticRegression()).set_params(threshold=0.0), LogisticRegression()
    )
    with pytest.raises(ValueError, match="has an estimator but is not the last step"):
        model.fit((X, y), Xt)
    assert PriorCorrection(LogisticRegression(), random_state=0).fit((X, y), Xt).score(Xt, yt) > 0.5


# -- universal ----------------------------------------------------------------------------------


def test_both_sides_have_classes_of_their_own():
    names = np.array(["a", "b", "c", "d", "e"])
    for seed in range(2):
        y, yt = np.tile([0, 1, 2, 3], 100), np.tile([0, 1, 4], 120)
        X, Xt = draw(seed, y), draw(50 + seed, yt)
        model = Universal(LogisticRegression(), random_state=0).fit((X, names[y]), Xt)
        assert model.kept_classes_.tolist() == ["a", "b"]
        assert model.classes_.tolist() == ["a", "b", "c", "d"]
        assert set(model.predict(Xt).tolist()) == {"a", "b", "unknown"}
        p = model.predict_proba(Xt)
        assert (p[:, 2:] == 0).all()
        assert_allclose(p.sum(axis=1), 1)
        assert (model.unknown_probability(Xt)[yt == 4] > 0.5).mean() > 0.9
        assert open_set_scores(names[yt], model.predict(Xt), ["a", "b"]).h_score > 0.95


def test_a_class_that_was_left_out_does_not_lend_its_label():
    y, yt = np.tile([0, 1, 2, 3], 100), np.tile([1, 2, 4], 120)
    labels = np.array([-1, 5, 6, 7, 8])
    model = Universal(LogisticRegression(), random_state=0)
    model.fit((draw(0, y), labels[y]), Domain(draw(1, yt)))
    assert model.kept_classes_.tolist() == [5, 6]
    assert model.unknown_label_ == -2
