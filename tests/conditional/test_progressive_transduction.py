"""Progressive transduction: the source leaves, the target takes its place."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from shiftlab import Domain, ProgressiveTransduction
from shiftlab.conditional.progressive_transduction import _unsure


def turned(seed, degrees, n=300, gap=2.0):
    rng = np.random.default_rng(seed)
    y, yt = rng.integers(0, 2, size=(2, n))
    X, Xt = 0.7 * rng.normal(size=(2, n, 2))
    angle = np.radians(degrees)
    X += np.outer(2 * y - 1, [gap, 0])
    Xt += np.outer(2 * yt - 1, [gap * np.cos(angle), gap * np.sin(angle)])
    return X, y, Xt, yt


def test_the_surest_source_rows_leave_first():
    X, y, _, _ = turned(0, 0)
    model = LogisticRegression().fit(X, y)
    own = model.predict_proba(X)[np.arange(300), y]
    left = _unsure(model, Domain(X, y), y, np.ones(300, dtype=bool), 0.3)
    for c in (0, 1):
        rows = np.flatnonzero(y == c)
        assert left[rows].sum() == int(0.3 * len(rows))
        assert own[rows][left[rows]].max() <= own[rows][~left[rows]].min()
    later = _unsure(model, Domain(X, y), y, left, 0.1)
    assert (left | ~later).all()
    assert not _unsure(model, Domain(X, y), y, left, 0.0).any()


def test_at_the_end_there_is_the_target_alone():
    X, y, Xt, yt = turned(1, 60)
    known = np.arange(300) < 5
    model = ProgressiveTransduction(LogisticRegression(), n_rounds=6)
    model.fit((X, y), Domain(Xt, yt, labelled=known))
    assert model.n_iter_ > 6
    assert model.source_.n_rows == 300
    assert_array_equal(model.source_.X[:5], Xt[:5])
    assert_array_equal(model.source_.y[:5], yt[:5])
    # The labels have settled: the model agrees with what it was taught.
    assert np.mean(model.predict(model.source_.X[5:]) == model.source_.y[5:]) > 0.99
    assert model.source_accuracy_ == np.mean(model.predict(X) == y)


@pytest.mark.parametrize(
    ("estimator", "least"), [(LogisticRegression(), 0.1), (LinearSVC(C=0.01), 0.05)]
)
def test_it_follows_where_the_source_pulls_the_wrong_way(estimator, least):
    gains = []
    for seed in range(3):
        X, y, Xt, yt = turned(seed, 70)
        model = ProgressiveTransduction(estimator).fit((X, y), Xt)
        gains.append(model.score(Xt, yt) - estimator.fit(X, y).score(Xt, yt))
    assert np.mean(gains) > least


def test_it_harms_where_most_answers_are_wrong_at_the_start():
    X, y, Xt, yt = turned(0, 110)
    before = LogisticRegression().fit(X, y).score(Xt, yt)
    assert ProgressiveTransduction(LogisticRegression()).fit((X, y), Xt).score(Xt, yt) < before


def test_three_classes():
    rng = np.random.default_rng(0)
    centres = np.array([[3, 0], [-3, 3], [-3, -3.0]])
    y = np.tile([0, 1, 2], 80)
    X = centres[y] + rng.normal(size=(240, 2))
    Xt = centres[y] @ np.array([[0.87, 0.5], [-0.5, 0.87]]) + rng.normal(size=(240, 2))
    model = ProgressiveTransduction(LogisticRegression()).fit((X, y), Xt)
    assert model.score(Xt, y) > 0.95


def test_a_class_that_vanishes_ends_it():
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(-3, 1, size=(50, 2)), rng.normal(3, 1, size=(50, 2))])
    with pytest.warns(UserWarning, match="a class would have no row left"):
        model = ProgressiveTransduction(LogisticRegression()).fit(
            (X, np.repeat([0, 1], 50)), X[:50]
        )
    assert model.n_iter_ == 9
    assert model.predict(X[50:]).mean() > 0.9


def test_all_labelled_is_the_target_alone():
    X, y, Xt, yt = turned(0, 0)
    with pytest.warns(UserWarning, match="all target rows have a label"):
        model = ProgressiveTransduction(LogisticRegression()).fit((X, y), (Xt, yt))
    assert_array_equal(model.predict(X), LogisticRegression().fit(Xt, yt).predict(X))
