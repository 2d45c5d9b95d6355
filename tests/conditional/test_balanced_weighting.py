"""Balanced weighting: the weights, the choice of gamma, and its two ends."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier

from shiftlab import BalancedWeighting, Domain
from shiftlab.conditional.balanced_weighting import side_weights


def sample(seed, slope, n=300, m=300, k=40):
    rng = np.random.default_rng(seed)
    X, Xt = rng.normal(size=(n, 4)), rng.normal(size=(m, 4))
    y = X @ slope + 0.5 * rng.normal(size=n) > 0
    yt = Xt @ [1.0, 1, 0, 0] + 0.5 * rng.normal(size=m) > 0
    return X, y.astype(int), Xt, yt.astype(int), np.arange(m) < k


SAME, OTHER = np.array([1.0, 1, 0, 0]), np.array([1.0, -1, 1, 0])


def test_weights_have_the_share_and_mean_one():
    rng = np.random.default_rng(0)
    base, is_target = rng.random(40) + 0.1, np.arange(40) >= 30
    weight = side_weights(base, is_target, 0.7)
    assert_allclose(weight.mean(), 1)
    assert_allclose(weight[is_target].sum() / weight.sum(), 0.7)
    assert_allclose(weight[is_target] / base[is_target], (weight / base)[-1])
    pooled = base[is_target].sum() / base.sum()
    assert_allclose(side_weights(base, is_target, pooled), base / base.mean())


def test_the_ends_are_source_alone_target_alone_and_pooled():
    X, y, Xt, yt, known = sample(0, OTHER)
    target = Domain(Xt, yt, labelled=known)
    for gamma, rows, labels in (
        (0.0, X, y),
        (1.0, Xt[known], yt[known]),
        (40 / 340, np.r_[X, Xt[known]], np.r_[y, yt[known]]),
    ):
        model = BalancedWeighting(LogisticRegression(), gamma=gamma).fit((X, y), target)
        assert model.gamma_ == gamma
        plain = LogisticRegression(tol=1e-8).fit(rows, labels)
        assert_allclose(model.estimator_.coef_, plain.coef_, atol=1e-3)


def test_auto_pools_where_nothing_differs_and_leaves_out_a_source_that_is_wrong():
    chosen = []
    for slope in (SAME, OTHER):
        X, y, Xt, yt, known = sample(1, slope, k=90)
        model = BalancedWeighting(LogisticRegression(), random_state=0)
        model.fit((X, y), Domain(Xt, yt, labelled=known))
        assert len(model.losses_) == len(model.gammas_) == 8
        assert np.isfinite(model.losses_).all()
        chosen.append(model.gamma_)
    assert chosen[0] == pytest.approx(90 / 390)
    assert chosen[1] >= 0.9


def test_a_source_of_no_help_is_said():
    X, y, Xt, yt, known = sample(2, -SAME, k=200)
    with pytest.warns(UserWarning, match="it does not help here"):
        BalancedWeighting(LogisticRegression(), random_state=0).fit(
            (X, y), Domain(Xt, yt, labelled=known)
        )


def test_few_labels_are_pooled_and_it_is_said():
    X, y, Xt, yt, _ = sample(3, OTHER)
    with pytest.warns(UserWarning, match="fewer than 10 cannot choose gamma"):
        model = BalancedWeighting(LogisticRegression()).fit(
            (X, y), Domain(Xt, yt, labelled=np.arange(300) < 9)
        )
    assert model.gamma_ == pytest.approx(9 / 309)


def test_regression_by_its_normal_equations():
    rng = np.random.default_rng(0)
    X, Xt = rng.normal(size=(50, 2)), rng.normal(size=(12, 2))
    y, yt = X @ [1.0, 2], Xt @ [1.0, -2]
    model = BalancedWeighting(Ridge(alpha=1.0, fit_intercept=False), gamma=0.6).fit(
        (X, y), (Xt, yt)
    )
    A = 0.4 / 50 * X.T @ X + 0.6 / 12 * Xt.T @ Xt + np.eye(2) / 62
    b = 0.4 / 50 * X.T @ y + 0.6 / 12 * Xt.T @ yt
    assert_allclose(model.estimator_.coef_, np.linalg.solve(A, b))
    auto = BalancedWeighting(Ridge(), random_state=0).fit((X, y), (Xt, yt))
    assert auto.gamma_ >= 0.9


def test_a_class_that_only_one_side_has():
    X, y, Xt, yt, known = sample(4, SAME)
    yt = np.where(Xt[:, 2] > 1, 2, yt)
    model = BalancedWeighting(LogisticRegression(), random_state=0)
    model.fit((X, y), Domain(Xt, yt, labelled=known))
    assert model.classes_.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="takes no sample_weight"):
        BalancedWeighting(KNeighborsClassifier(1)).fit((X, y), (Xt, yt))
