"""Joint transport: the alternation, its limits, mass, batches."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor

from shiftlab import Domain, JointTransport
from shiftlab.conditional.joint_transport import smoothed_log_loss
from shiftlab.data import make_gaussian_shift
from shiftlab.stats import transport
from shiftlab.stats.kernels import pooled_spread, squared_distances


def moved_groups(seed, n=200, m=200, by=2.5, k=2):
    rng = np.random.default_rng(seed)
    y, yt = np.tile(np.arange(k), n // k), np.tile(np.arange(k), m // k)
    X, Xt = rng.normal(size=(n, 3)), rng.normal(size=(m, 3))
    X[:, 0] += 4 * y
    Xt[:, 0] += 4 * yt + by
    return X, y, Xt, yt


def scaled_cost(X, Xt):
    unit = pooled_spread(X, Xt)
    A, B = (X - Xt.mean(axis=0)) / unit, (Xt - Xt.mean(axis=0)) / unit
    return squared_distances(A, B) / transport.typical_cost(A, B)


def test_a_large_alpha_gives_the_labels_that_transport_brings():
    X, y, Xt, _ = moved_groups(0, 90, 60)
    model = JointTransport(LogisticRegression(), alpha=1e6).fit((X, y), Xt)
    plan = transport.exact(scaled_cost(X, Xt), np.ones(90), np.ones(60)).plan
    shares = plan.T @ np.eye(2)[y] * 60
    got = np.zeros((60, 2))
    for x, label, weight in zip(
        model.source_.X, model.source_.y, model.source_.weight, strict=True
    ):
        got[np.flatnonzero((Xt == x).all(axis=1))[0], label] += weight
    assert_allclose(got / got.sum(axis=1, keepdims=True), shares, atol=1e-3)


def test_a_large_alpha_gives_the_means_that_transport_brings():
    rng = np.random.default_rng(0)
    X, Xt = rng.normal(size=(36, 2)), rng.normal(size=(24, 2)) + 1  # too few to weight
    y = X @ [1.0, -1.0]
    model = JointTransport(DecisionTreeRegressor(random_state=0), alpha=1e6).fit((X, y), Xt)
    plan = transport.exact(scaled_cost(X, Xt), np.ones(36), np.ones(24)).plan
    assert_allclose(model.predict(Xt), plan.T @ y * 24, atol=1e-6)


def test_the_objective_falls_and_is_what_it_says():
    rng = np.random.default_rng(1)
    X, Xt = rng.normal(size=(80, 2)), rng.normal(size=(80, 2)) + np.array([1, 0])
    y = np.sin(2 * X[:, 0]) + X[:, 1]
    # Ridge without a penalty is the exact minimiser, so that each half turn can only lower it.
    model = JointTransport(Ridge(alpha=1e-9), alpha=0.3, max_iter=8).fit((X, y), Xt)
    assert len(model.objective_) >= 3
    assert (np.diff(model.objective_) <= 1e-9).all()
    # A last plan, by hand, from the answers of the last model.
    cost = 0.3 * scaled_cost(X, Xt) + (y[:, None] - model.predict(Xt)) ** 2 / y.var()
    value = np.sum(transport.exact(cost, np.ones(80), np.ones(80)).plan * cost)
    constant = np.mean(y**2) / y.var()
    assert value - constant <= model.objective_[-1] + 1e-9
    assert value - constant > model.objective_[-1] - 0.01


def test_classes_lower_the_objective_too():
    X, y, Xt, _ = moved_groups(2, by=1.5)
    model = JointTransport(LogisticRegression(C=1e4, max_iter=1000)).fit((X, y), Xt)
    assert min(model.objective_) == pytest.approx(model.objective_[-1], abs=1e-3)
    assert model.objective_[-1] <= model.objective_[0]
    assert model.marginal_error_ < 1e-9


def test_known_labels_are_what_they_are():
    X, y, Xt, yt = moved_groups(3)
    known = np.arange(200) < 20
    wrong = np.where(known, 1 - yt, yt)
    model = JointTransport(LogisticRegression()).fit((X, y), Domain(Xt, wrong, labelled=known))
    for i in np.flatnonzero(known):
        rows = (Xt[i] == model.source_.X).all(axis=1)
        assert model.source_.y[rows].tolist() == [wrong[i]]


def test_batches_give_every_target_row_its_mass():
    X, y, Xt, yt = moved_groups(4, 900, 700)
    model = JointTransport(LogisticRegression(), batch_size=200, random_state=0).fit((X, y), Xt)
    assert model.marginal_error_ < 1e-9
    assert model.score(Xt, yt) > 0.9
    assert len(np.unique(model.source_.X, axis=0)) == 700
    full = JointTransport(LogisticRegression(), batch_size=900).fit((X, y), Xt)
    assert np.mean(full.predict(Xt) == model.predict(Xt)) > 0.97


def test_it_helps_where_groups_moved():
    gains = []
    for seed in range(3):
        X, y, Xt, yt = moved_groups(seed)
        model = JointTransport(LogisticRegression()).fit((X, y), Xt)
        gains.append(model.score(Xt, yt) - LogisticRegression().fit(X, y).score(Xt, yt))
        assert not model.weighted_
    assert np.mean(gains) > 0.2


def test_shares_that_moved_alone_are_moved_first():
    """Without weights the plan lost 21 points here: each class had its share in the source."""
    gains = []
    for seed in range(3):
        source, target = make_gaussian_shift("label", random_state=seed)
        model = JointTransport(LogisticRegression(), random_state=0).fit(source, target.X)
        assert model.weighted_
        plain = LogisticRegression().fit(source.X, source.y)
        gains.append(model.score(target.X, target.y) - plain.score(target.X, target.y))
    assert min(gains) > 0.03
    source, target = make_gaussian_shift("location_scale", random_state=0)
    assert not JointTransport(LogisticRegression()).fit(source, target.X).weighted_


def test_a_regression_whose_y_moved_is_weighted_first():
    rng = np.random.default_rng(7)
    y, yt = 2 * rng.random(500), 2 * rng.beta(6, 1.5, 500)
    X, Xt = (np.column_stack([v, np.sin(3 * v)]) + 0.3 * rng.normal(size=(500, 2)) for v in (y, yt))
    model = JointTransport(Ridge(), random_state=0).fit((X, y), Xt)
    assert model.weighted_
    assert model.score(Xt, yt) > Ridge().fit(X, y).score(Xt, yt)
    # a plain plan hands the target the mean of the source
    assert abs(model.predict(Xt).mean() - yt.mean()) < 0.3 * abs(y.mean() - yt.mean())


def test_certain_and_wrong_models_give_no_infinite_cost():
    certain = np.array([[1.0, 0.0, 0.0]])
    assert_allclose(smoothed_log_loss(certain).max(), np.log(3 / 0.05))
    X, y, Xt, _ = moved_groups(5, 40, 40)
    model = JointTransport(DummyClassifier(strategy="most_frequent")).fit((X, y), Xt)
    assert np.isfinite(model.objective_).all()
    assert np.isfinite(model.predict_proba(Xt)).all()


def test_weights_are_mass():
    X, y, Xt, _ = moved_groups(6, 60, 60)
    weight = np.where(np.arange(60) < 10, 0.0, 1.0)
    silent = JointTransport(LogisticRegression(), random_state=0).fit(
        Domain(X, y, weight=weight), Domain(Xt, weight=weight)
    )
    without = JointTransport(LogisticRegression(), random_state=0).fit((X[10:], y[10:]), Xt[10:])
    # Silent target rows still count for the columns' units, so compare what is taught.
    assert not (silent.source_.X[:, None] == Xt[:10]).all(axis=2).any()
    assert_array_equal(silent.predict(Xt), without.predict(Xt))


def test_no_probabilities_is_one_clear_error():
    X, y, Xt, _ = moved_groups(0)
    with pytest.raises(ValueError, match="LinearSVC has no predict_proba"):
        JointTransport(LinearSVC()).fit((X, y), Xt)


@pytest.mark.slow
def test_fifty_thousand_rows_a_side():
    X, y, Xt, yt = moved_groups(0, 50_000, 50_000)
    model = JointTransport(LogisticRegression(), max_iter=2, random_state=0).fit((X, y), Xt)
    assert model.score(Xt, yt) > 0.95
