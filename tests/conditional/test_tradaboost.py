"""TrAdaBoost against the formulas of the papers."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from shiftlab import Domain, TrAdaBoost, TrAdaBoostR2, TwoStageTrAdaBoostR2
from shiftlab.conditional.boosting import adjusted_errors, weighted_median
from shiftlab.conditional.two_stage_tradaboost_r2 import boost_target_rows, lowered_source


class FirstColumn(ClassifierMixin, BaseEstimator):
    """Says what the first column says, whatever it is taught."""

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return X[:, 0].astype(int)


def half_wrong(seed, n=400, m=300, k=30):
    """A source of which one half says the opposite, and k labelled target rows."""
    rng = np.random.default_rng(seed)
    X, Xt = rng.normal(size=(n, 6)), rng.normal(size=(m, 6))
    y = ((X[:, :4].sum(axis=1) > 0) ^ (X[:, 5] > 0)).astype(int)
    yt = (Xt[:, :4].sum(axis=1) > 0).astype(int)
    return X, y, Xt, yt, np.arange(m) < k


@pytest.mark.parametrize("k", [2, 3])
def test_one_round_by_hand(k):
    # Source: right, wrong. Target: right, right, right, wrong, so the error is 1/4.
    X = np.array([[0.0], [1.0]])
    Xt = np.array([[0.0], [1.0], [k - 1.0], [0.0]])
    target = Domain(Xt, [0, 1, k - 1, 1])
    model = TrAdaBoost(FirstColumn(), n_estimators=10).fit((X, [0, 0]), target)
    beta = 1 / (1 + np.sqrt(2 * np.log(2) / 10))
    odds = 3.0
    # Each side starts with three of the six.
    expected = np.array([1.5, 1.5 * beta, 0.75, 0.75, 0.75, 0.75 * odds])
    assert_allclose(model.source_.weight, 6 * expected / expected.sum())
    # Half of the target's weight is then on the wrong row, so that boosting ends.
    assert_allclose(model.errors_, [0.25])
    w = model.source_.weight[2:]
    assert_allclose(w[3] / w.sum(), 0.5)


def test_two_classes_are_the_algorithm_of_the_paper():
    X, y, Xt, yt, known = half_wrong(0)
    rounds, n, m = 7, len(X), known.sum()
    stump = DecisionTreeClassifier(max_depth=1, random_state=0)
    rows, labels = np.r_[X, Xt[known]], np.r_[y, yt[known]]
    w = np.r_[np.full(n, 0.5 / n), np.full(m, 0.5 / m)]
    beta = 1 / (1 + np.sqrt(2 * np.log(n) / rounds))
    product = np.ones(len(Xt))
    bound = 1.0
    for t in range(1, rounds + 1):
        p = w / w.sum() * len(w)
        h = stump.fit(rows, labels, sample_weight=p)
        off = np.abs(h.predict(rows) - labels)
        epsilon = np.sum(w[n:] * off[n:]) / np.sum(w[n:])
        beta_t = epsilon / (1 - epsilon)
        w = np.r_[w[:n] * beta ** off[:n], w[n:] * beta_t ** -off[n:]]
        if t >= np.ceil(rounds / 2):
            product *= beta_t ** -h.predict(Xt).astype(float)
            bound *= beta_t**-0.5
    model = TrAdaBoost(stump, n_estimators=rounds)
    model.fit((X, y), Domain(Xt, yt, labelled=known))
    assert len(model.errors_) == rounds
    assert_array_equal(model.predict(Xt), (product >= bound).astype(int))
    assert_allclose(model.source_.weight, w / w.sum() * len(w))
    assert_allclose(model.source_share_, w[:n].sum() / w.sum())


def test_votes_are_shares_and_agree_with_the_answer():
    X, y, Xt, yt, known = half_wrong(1)
    model = TrAdaBoost(DecisionTreeClassifier(max_depth=2, random_state=0))
    model.fit((X, y), Domain(Xt, yt, labelled=known))
    shares = model.predict_proba(Xt)
    assert_allclose(shares.sum(axis=1), 1)
    assert_array_equal(model.predict(Xt), model.classes_[shares.argmax(axis=1)])
    assert_allclose(model.decision_function(Xt), shares[:, 1] - shares[:, 0])


def test_it_helps_where_a_part_of_the_source_is_wrong():
    scores = []
    for seed in range(5):
        X, y, Xt, yt, known = half_wrong(seed, n=800, k=40)
        tree = DecisionTreeClassifier(max_depth=3, random_state=0)
        alone = tree.fit(Xt[known], yt[known]).score(Xt[~known], yt[~known])
        pooled = tree.fit(np.r_[X, Xt[known]], np.r_[y, yt[known]]).score(Xt[~known], yt[~known])
        model = TrAdaBoost(tree).fit((X, y), Domain(Xt, yt, labelled=known))
        assert model.source_share_ < 0.4
        score = model.score(Xt[~known], yt[~known])
        scores.append([score, alone, pooled])
    ours, alone, pooled = np.mean(scores, axis=0)
    assert ours > pooled + 0.15
    assert ours > alone


def test_no_start_is_said():
    # The first column is wrong on every target row.
    with pytest.warns(UserWarning, match="boosting cannot start"):
        model = TrAdaBoost(FirstColumn()).fit(([[0.0], [1.0]], [0, 1]), ([[0.0], [1.0]], [1, 0]))
    assert model.predict(np.array([[1.0]])).tolist() == [1]


@pytest.mark.parametrize(
    ("model", "source", "target", "message"),
    [
        (TrAdaBoost(KNeighborsClassifier(1)), [0, 1], [0, 1], "takes no sample_weight"),
        (TrAdaBoost(LogisticRegression()), ["a", "b"], [0, 1], "are text and those of the target"),
        (TrAdaBoost(LogisticRegression()), [1, 1], [1, 1], "at least 2 classes; got 1"),
        (TrAdaBoostR2(Ridge()), ["a", "b"], ["a", "b"], "needs numbers as y"),
    ],
)
def test_clear_errors(model, source, target, message):
    X = np.array([[0.0], [1.0]])
    with pytest.raises(ValueError, match=message):
        model.fit((X, source), (X, target))


def test_weight_zero_is_no_row():
    X, y, Xt, yt, known = half_wrong(2)
    weight = np.ones(len(X))
    weight[:200] = 0
    tree = DecisionTreeClassifier(max_depth=2, random_state=0)
    target = Domain(Xt, yt, labelled=known)
    zero = TrAdaBoost(tree).fit(Domain(X, y, weight=weight), target).predict(Xt)
    assert_array_equal(zero, TrAdaBoost(tree).fit((X[200:], y[200:]), target).predict(Xt))
    silent = Domain(Xt, yt, labelled=known, weight=np.where(known, 0.0, 1.0))
    with pytest.raises(ValueError, match="labelled target row has weight zero"):
        TrAdaBoost(tree).fit((X, y), silent)


# -- regression ---------------------------------------------------------------------------------


def two_slopes(seed, n=300, m=300, k=10):
    rng = np.random.default_rng(seed)
    X, Xt = rng.normal(size=(n, 5)), rng.normal(size=(m, 5))
    slope, other = np.array([1.0, 1, 1, 0, 0]), np.array([1.0, -1, 0, 1, 0])
    y = np.where(np.arange(n) < n // 2, X @ slope, X @ other)
    return X, y, Xt, Xt @ slope + 0.5 * rng.normal(size=m), np.arange(m) < k


def test_r2_is_the_algorithm_of_the_paper():
    X, y, Xt, yt, known = two_slopes(0)
    rounds, n, m = 6, len(X), known.sum()
    rows, truth = np.r_[X, Xt[known]], np.r_[y, yt[known]]
    w = np.r_[np.full(n, 0.5 / n), np.full(m, 0.5 / m)]
    beta = 1 / (1 + np.sqrt(2 * np.log(n) / rounds))
    predictions, votes = [], []
    for t in range(1, rounds + 1):
        h = Ridge().fit(rows, truth, sample_weight=w * len(w))
        off = np.abs(truth - h.predict(rows))
        e = off / off.max()
        epsilon = np.sum(w[n:] * e[n:]) / np.sum(w[n:])
        beta_t = epsilon / (1 - epsilon)
        w = np.r_[w[:n] * beta ** e[:n], w[n:] * beta_t ** -e[n:]]
        w /= w.sum()
        if t >= np.ceil(rounds / 2):
            predictions.append(h.predict(Xt))
            votes.append(np.log(1 / beta_t))
    model = TrAdaBoostR2(Ridge(), n_estimators=rounds)
    model.fit((X, y), Domain(Xt, yt, labelled=known))
    assert_allclose(model.source_.weight, w * len(w))
    for i in range(20):  # the weighted median, by its definition
        order = np.argsort([p[i] for p in predictions])
        total = 0.0
        for j in order:
            total += votes[j]
            if total >= sum(votes) / 2:
                break
        assert_allclose(model.predict(Xt[i : i + 1]), predictions[j][i])


def test_weighted_median_of_equal_weights_is_the_median():
    values = np.random.default_rng(0).normal(size=(50, 7))
    assert_allclose(weighted_median(values, np.ones(7)), np.median(values, axis=1))


def test_errors_are_shares_of_the_largest():
    assert_allclose(adjusted_errors(np.array([0.0, 2, 3]), np.array([0.0, 1, 5])), [0, 0.5, 1])
    assert_array_equal(adjusted_errors(np.ones(3), np.ones(3)), np.zeros(3))


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.0])
def test_lowered_source_has_the_share_that_is_asked_for(share):
    rng = np.random.default_rng(0)
    weight, error = rng.random(50), rng.random(50)
    weight /= weight.sum()
    moved = lowered_source(weight, error, share)
    assert_allclose(moved.sum(), share, atol=1e-9)
    assert (moved <= weight + 1e-12).all()
    if 0 < share < 0.9:  # one beta for all rows, as the formula says
        beta = (moved / weight) ** (1 / error)
        assert_allclose(beta, beta[0], rtol=1e-4)


def test_target_rows_alone_are_adaboost_r2():
    # With no weight on the source this is Drucker's algorithm on the target rows.
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2)), rng.normal(size=60)
    is_target = np.arange(60) >= 30
    tree = DecisionTreeRegressor(max_depth=2, random_state=0)
    found = boost_target_rows(tree, Domain(X, y), is_target.astype(float), is_target, 4)
    w = np.full(30, 1 / 30)
    for model in found.estimators:
        h = tree.fit(X[30:], y[30:], sample_weight=w * 30)
        assert_allclose(h.predict(X), model.predict(X))
        loss = np.abs(h.predict(X[30:]) - y[30:])
        loss /= loss.max()
        mean = w @ loss
        w = w * (mean / (1 - mean)) ** (1 - loss)
        w /= w.sum()


def test_two_stages_start_pooled_and_end_with_the_target_alone():
    X, y, Xt, yt, known = two_slopes(1)
    model = TwoStageTrAdaBoostR2(Ridge(), n_steps=4, n_estimators=3, random_state=0)
    model.fit((X, y), Domain(Xt, yt, labelled=known))
    assert_allclose(model.target_shares_, np.linspace(10 / 310, 1, 4))
    assert model.best_step_ == np.argmin(model.errors_)
    assert model.source_.weight.mean() == pytest.approx(1)


def test_two_stages_help_and_do_not_harm():
    scores = []
    for seed in range(3):
        X, y, Xt, yt, known = two_slopes(seed, k=20)
        alone = Ridge().fit(Xt[known], yt[known]).score(Xt[~known], yt[~known])
        pooled = Ridge().fit(np.r_[X, Xt[known]], np.r_[y, yt[known]])
        model = TwoStageTrAdaBoostR2(Ridge(), n_steps=5, n_estimators=5, random_state=0)
        model.fit((X, y), Domain(Xt, yt, labelled=known))
        scores.append(
            [model.score(Xt[~known], yt[~known]), alone, pooled.score(Xt[~known], yt[~known])]
        )
    ours, alone, pooled = np.mean(scores, axis=0)
    assert ours > pooled + 0.2
    assert ours > alone - 0.03
