"""Self-training: the curriculum, the stop, and where it helps and harms."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from shiftlab import Domain, SelfTraining
from shiftlab.conditional.self_training import class_margins, surest_of_each_class


def turned(seed, degrees, n=400):
    rng = np.random.default_rng(seed)
    y, yt = rng.integers(0, 2, size=(2, n))
    X, Xt = 0.7 * rng.normal(size=(2, n, 2))
    X += np.outer(2 * y - 1, [2, 0])
    angle = np.radians(degrees)
    Xt += np.outer(2 * yt - 1, [2 * np.cos(angle), 2 * np.sin(angle)])
    return X, y, Xt, yt


def test_the_same_share_of_every_class_by_a_loop():
    rng = np.random.default_rng(0)
    codes, margin = rng.integers(0, 3, 100), rng.random(100)
    chosen = set(surest_of_each_class(codes, margin, 0.3).tolist())
    for c in range(3):
        rows = np.flatnonzero(codes == c)
        inside = [i for i in rows if i in chosen]
        assert len(inside) == np.ceil(0.3 * len(rows))
        outside = [i for i in rows if i not in chosen]
        assert min(margin[inside]) >= max(margin[outside])


def test_margins_are_the_two_largest_scores():
    X, y, Xt, _ = turned(0, 0, 60)
    y = np.where(X[:, 1] > 0.5, 2, y)
    model = LogisticRegression().fit(X, y)
    codes, margin = class_margins(model, Xt)
    p = np.sort(model.predict_proba(Xt), axis=1)
    assert_allclose(margin, p[:, -1] - p[:, -2])
    assert_array_equal(model.classes_[codes], model.predict(Xt))
    two = LinearSVC().fit(X, y > 0)
    codes, margin = class_margins(two, Xt)
    assert_array_equal(two.classes_[codes], two.predict(Xt))
    assert_allclose(margin, 2 * np.abs(two.decision_function(Xt)))


def test_the_last_model_is_trained_on_what_source_says():
    X, y, Xt, yt = turned(1, 60)
    known = np.arange(400) < 5
    model = SelfTraining(LogisticRegression(), random_state=0)
    model.fit((X, y), Domain(Xt, yt, labelled=known))
    n = 400 + 5 + len(model.pseudo_rows_)
    assert model.source_.n_rows == n
    assert_array_equal(model.source_.y[400:405], yt[:5])
    assert_array_equal(model.source_.X[405:], Xt[model.pseudo_rows_])
    assert not known[model.pseudo_rows_].any()
    again = LogisticRegression().fit(model.source_.X, model.source_.y)
    assert_allclose(again.coef_, model.estimator_.coef_)
    # A fifth of the unlabelled rows is never trained on.
    assert len(model.pseudo_rows_) <= np.ceil(0.8 * 395)


def test_the_share_grows_and_training_ends_when_the_agreement_does_not_rise():
    X, y, Xt, _ = turned(2, 0)
    model = SelfTraining(LogisticRegression(), random_state=0, max_iter=10).fit((X, y), Xt)
    assert_allclose(model.shares_, np.linspace(0.2, 0.8, 5))
    # Nothing moves, so that every agreement is 1 and the first full round is the last.
    assert model.agreement_ == [1.0] * 5
    model = SelfTraining(LogisticRegression(), random_state=0, max_iter=3).fit((X, y), Xt)
    assert model.shares_ == [0.8, 0.8]


class LosesAClass(ClassifierMixin, BaseEstimator):
    """Right at first, and blind for class 1 once there are more rows than at first."""

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        self.blind_ = len(X) > 50
        return self

    def predict_proba(self, X):
        p = np.full(len(X), 0.1) if self.blind_ else 1 / (1 + np.exp(-X[:, 0]))
        return np.column_stack([1 - p, p])

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def test_a_lost_class_ends_it_and_the_model_before_is_kept():
    X, y, Xt, yt = turned(3, 0, 50)
    with pytest.warns(UserWarning, match="class 1 was given to no held-out row"):
        model = SelfTraining(LosesAClass(), random_state=0).fit((X, y), Xt)
    assert model.best_round_ == 0
    assert model.source_.n_rows == 50
    assert model.score(Xt, yt) > 0.9


def test_it_helps_where_classes_stay_apart_and_harms_where_most_are_wrong():
    gains = {}
    for degrees in (0, 70, 110):
        gains[degrees] = []
        for seed in range(5):
            X, y, Xt, yt = turned(seed, degrees)
            alone = LogisticRegression().fit(X, y).score(Xt, yt)
            model = SelfTraining(LogisticRegression(), random_state=0).fit((X, y), Xt)
            gains[degrees].append(model.score(Xt, yt) - alone)
    assert np.mean(gains[70]) > 0.04
    assert np.mean(gains[110]) < -0.04
    assert abs(np.mean(gains[0])) < 0.01


def test_clear_error_and_too_few_rows_to_learn_from():
    X, y, Xt, yt = turned(0, 0, 50)
    with pytest.raises(ValueError, match=r"stop must be at least start=0\.9; got 0\.5"):
        SelfTraining(LogisticRegression(), start=0.9, stop=0.5).fit((X, y), Xt)
    with pytest.warns(UserWarning, match="0 target rows are without a label"):
        model = SelfTraining(LogisticRegression()).fit((X, y), (Xt, yt))
    pooled = LogisticRegression().fit(np.r_[X, Xt], np.r_[y, yt])
    assert_allclose(model.estimator_.coef_, pooled.coef_)
