"""Residual product test, label fit and mixture moments: truth known by construction."""

import numpy as np
import pytest

from shiftlab.stats.label_fit import label_fit_test, mixture_moments
from shiftlab.stats.residual import residual_product_test


def test_residual_product_is_standard_normal_under_independence_with_estimated_means():
    rng = np.random.default_rng(0)
    statistics = []
    for _ in range(600):
        x = rng.normal(size=(2, 200))
        propensity = 1 / (1 + np.exp(-x))
        d = (rng.random((2, 200)) < propensity).astype(float)
        y = np.sin(x) + rng.normal(size=(2, 200))
        # regressions on the first half, test on the second
        basis = [np.vander(row, 4) for row in x]
        fit_y = np.linalg.lstsq(basis[0], y[0], rcond=None)[0]
        fit_d = np.linalg.lstsq(basis[0], d[0], rcond=None)[0]
        direction = np.cos(x[1])
        result = residual_product_test(y[1] - basis[1] @ fit_y, d[1] - basis[1] @ fit_d, direction)
        statistics.append(result.statistic)
    assert abs(np.mean(statistics)) < 0.15
    assert 0.9 < np.std(statistics) < 1.1
    assert 0.025 <= np.mean(np.array(statistics) > 1.645) <= 0.08


def test_plain_direction_misses_what_a_learnt_one_finds():
    rng = np.random.default_rng(1)
    n = 3000
    x, d = rng.normal(size=n), rng.integers(0, 2, size=n)
    noise = rng.normal(size=n)
    residual = (d - 0.5) * np.sign(x) * 0.3 + noise
    assert residual_product_test(residual, d - 0.5, np.ones(n)).p_value > 0.01
    found = residual_product_test(residual, d - 0.5, np.sign(x))
    assert found.p_value < 1e-6
    assert found.effect == pytest.approx(0.3, abs=3 * found.standard_error)


def test_residual_product_refuses_and_survives():
    with pytest.raises(ValueError, match="same shape"):
        residual_product_test(np.zeros(5), np.zeros(5), np.zeros(4))
    assert residual_product_test(np.zeros(5), np.ones(5), np.ones(5)).p_value == 1.0


def _sample(rng, n, prior, spread=1.0):
    codes = rng.choice(3, size=n, p=prior)
    return codes, rng.normal(np.array([-2.0, 0.0, 2.0])[codes], spread)


def _predict(x):
    p = np.exp(-0.5 * (x[:, None] - np.array([-1.5, 0.2, 2.2])) ** 2) + 0.02  # wrong on purpose
    return p / p.sum(axis=1, keepdims=True)


def _score(x):
    return 1 / (1 + np.exp(-(np.abs(x) - 2.5)))


def test_label_fit_holds_its_level_under_label_shift_with_a_wrong_model():
    rng = np.random.default_rng(2)
    rejected, priors = [], []
    for _ in range(600):
        codes, x = _sample(rng, 250, [0.4, 0.3, 0.3])
        _, t = _sample(rng, 250, [0.1, 0.3, 0.6])
        rejected.append(
            label_fit_test(_score(x), _predict(x), codes, _score(t), _predict(t)).p_value <= 0.05
        )
        moments = mixture_moments(_predict(x), codes, _predict(t))
        priors.append((moments.prior - [0.1, 0.3, 0.6]) / moments.standard_error)
    assert 0.025 <= np.mean(rejected) <= 0.085
    # the standard errors are right: about 95% of the estimates within 1.96 of them
    assert 0.92 <= np.mean(np.abs(priors) < 1.96) <= 0.98


def test_label_fit_rejects_a_change_inside_the_classes():
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(50):
        codes, x = _sample(rng, 500, [0.4, 0.3, 0.3])
        _, t = _sample(rng, 500, [0.1, 0.3, 0.6], spread=1.8)
        found += (
            label_fit_test(_score(x), _predict(x), codes, _score(t), _predict(t)).p_value <= 0.05
        )
    assert found >= 45


def test_mixture_moments_reports_predictions_that_cannot_tell_classes_apart():
    blind = np.full((40, 2), 0.5)
    moments = mixture_moments(blind, np.repeat([0, 1], 20), blind)
    assert moments.condition > 1e6
    with pytest.raises(ValueError, match="at least 2 source rows"):
        mixture_moments(blind[:3], [0, 0, 1], blind)
