"""Regularisation towards the source: its two ends, its optimum, and closed forms."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit, softmax
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.svm import LinearSVC

from shiftlab import Domain, SourceRegularized


def sample(seed=0, k=2, n=300, m=80):
    rng = np.random.default_rng(seed)
    X, Xt = rng.normal(size=(n, 3)) * [1, 5, 0.2], rng.normal(size=(m, 3)) * [1, 5, 0.2]
    A = rng.normal(size=(3, k)) / np.array([[1], [5], [0.2]])
    y = (X @ A + rng.gumbel(size=(n, k))).argmax(axis=1)
    yt = (Xt @ -A + rng.gumbel(size=(m, k))).argmax(axis=1)
    return X, y, Xt, yt


@pytest.mark.parametrize("k", [2, 3])
def test_no_strength_is_the_target_alone(k):
    X, y, Xt, yt = sample(k=k)
    model = SourceRegularized(LogisticRegression(), strength=0).fit((X, y), (Xt, yt))
    alone = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(Xt, yt)
    assert_allclose(model.predict_proba(Xt), alone.predict_proba(Xt), atol=1e-4)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("strength", [1e9, 1e300])
def test_a_large_strength_is_the_source_model(k, strength):
    X, y, Xt, yt = sample(k=k)
    source = LogisticRegression().fit(X, y)
    model = SourceRegularized(LogisticRegression(), strength=strength).fit((X, y), (Xt, yt))
    assert_allclose(model.estimator_.coef_, source.coef_, atol=1e-5)
    assert_allclose(model.estimator_.intercept_, source.intercept_, atol=1e-5)
    assert model.distance_ < 1e-5


def test_the_gradient_is_zero_at_the_optimum_for_two_classes():
    X, y, Xt, yt = sample()
    model = SourceRegularized(LogisticRegression(), strength=3.0).fit((X, y), (Xt, yt))
    s = X.std(axis=0)
    w, b = model.estimator_.coef_[0], model.estimator_.intercept_[0]
    w0, b0 = model.source_estimator_.coef_[0], model.source_estimator_.intercept_[0]
    residual = expit(Xt @ w + b) - yt
    # In units of the spread: coefficients times s, columns over s.
    assert_allclose((Xt / s).T @ residual + 3.0 * (w - w0) * s, 0, atol=1e-4)
    assert_allclose(residual.sum() + 3.0 * (b - b0), 0, atol=1e-4)


def test_the_gradient_is_zero_at_the_optimum_for_three_classes():
    X, y, Xt, yt = sample(k=3)
    weight = np.random.default_rng(0).random(80) + 0.5
    model = SourceRegularized(LogisticRegression(), strength=2.0)
    model.fit((X, y), Domain(Xt, yt, weight=weight))
    s = X.std(axis=0)
    W, W0 = model.estimator_.coef_, model.source_estimator_.coef_
    P = softmax(Xt @ W.T + model.estimator_.intercept_, axis=1) - np.eye(3)[yt]
    P *= (weight / weight.mean())[:, None]
    assert_allclose(P.T @ (Xt / s) + 2.0 * (W - W0) * s, 0, atol=1e-4)


@pytest.mark.parametrize("estimator", [LinearRegression(), Ridge(alpha=2.0)])
def test_squared_error_has_a_closed_form(estimator):
    rng = np.random.default_rng(0)
    X, Xt = rng.normal(size=(50, 2)) * [1, 3], rng.normal(size=(20, 2)) * [1, 3]
    y, yt = X @ [1, 2] + 1, Xt @ [2, 1] - 1 + rng.normal(size=20)
    model = SourceRegularized(estimator, strength=4.0).fit((X, y), (Xt, yt))
    source = estimator.fit(X, y)
    scale = np.r_[X.std(axis=0), 1]
    Z = np.column_stack([Xt, np.ones(20)]) / scale
    w0 = np.r_[source.coef_, source.intercept_] * scale
    w = np.linalg.solve(Z.T @ Z + 4 * np.eye(3), Z.T @ yt + 4 * w0) / scale
    assert_allclose(np.r_[model.estimator_.coef_, model.estimator_.intercept_], w)
    assert_allclose(model.predict(Xt), Xt @ w[:2] + w[2])
    alone = SourceRegularized(estimator, strength=0).fit((X, y), (Xt, yt))
    assert_allclose(alone.predict(Xt), LinearRegression().fit(Xt, yt).predict(Xt))


def test_units_of_the_columns_mean_nothing():
    X, y, Xt, yt = sample()
    base = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000)
    plain = SourceRegularized(base).fit((X, y), (Xt, yt)).predict_proba(Xt)
    u = np.array([100.0, 0.1, 7.0])
    other = SourceRegularized(base).fit((X * u, y), (Xt * u, yt)).predict_proba(Xt * u)
    assert_allclose(plain, other, atol=1e-3)


def test_it_helps_where_one_coefficient_changed_and_little_is_known():
    scores = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, Xt = rng.normal(size=(2, 400, 8))
        y, yt = X.sum(axis=1) > 0, Xt @ np.r_[np.ones(7), -1] > 0
        known, base = np.arange(400) < 15, LogisticRegression()
        model = SourceRegularized(base).fit((X, y), Domain(Xt, yt, labelled=known))
        alone = base.fit(Xt[known], yt[known]).score(Xt, yt)
        pooled = base.fit(np.r_[X, Xt[known]], np.r_[y, yt[known]]).score(Xt, yt)
        scores.append([model.score(Xt, yt), alone, pooled])
    ours, alone, pooled = np.mean(scores, axis=0)
    assert ours > alone + 0.02
    assert ours > pooled + 0.02


def test_clear_errors_and_one_class_of_target_labels():
    X, y, Xt, yt = sample()
    with pytest.raises(ValueError, match="the source has no row of class 7"):
        SourceRegularized(LogisticRegression()).fit((X, y), (Xt, np.where(yt == 0, 7, yt)))
    with pytest.raises(ValueError, match="estimator"):
        SourceRegularized(LinearSVC()).fit((X, y), (Xt, yt))
    with pytest.raises(ValueError, match="are numbers and those of the target text"):
        SourceRegularized(Ridge()).fit((X, y), (Xt, np.array(["a", "b"])[yt]))
    only = SourceRegularized(LogisticRegression()).fit((X, y), (Xt[:5], np.zeros(5, dtype=int)))
    assert np.isfinite(only.predict_proba(Xt)).all()


def test_no_minimum_is_said():
    X, y, _, _ = sample()
    Xt = np.array([[0.0, 0, -1], [0, 0, 1]])
    with pytest.warns(UserWarning, match="did not converge in max_iter=3"):
        SourceRegularized(LogisticRegression(), strength=0, max_iter=3).fit(
            (X, 1 - y), (Xt, [1, 0])
        )
