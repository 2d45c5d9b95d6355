"""The generalised covariance measure of a vector response, without a learnt direction."""

import numpy as np
import pytest
from scipy.stats import f

from shiftlab.stats.residual import residual_covariance_test


def test_level_with_class_indicators_that_sum_to_one():
    rng = np.random.default_rng(0)
    p = []
    for _ in range(800):
        probability = rng.dirichlet([2.0, 2.0, 2.0], size=250)
        drawn = (probability.cumsum(axis=1) > rng.random((250, 1))).argmax(axis=1)
        propensity = rng.uniform(0.2, 0.8, size=250)
        domain = rng.random(250) < propensity
        p.append(residual_covariance_test(np.eye(3)[drawn] - probability, domain - propensity))
    p = np.array(p)
    assert 0.035 <= (p <= 0.05).mean() <= 0.065
    assert 0.45 <= (p <= 0.5).mean() <= 0.55


def test_one_response_is_the_squared_t_statistic():
    rng = np.random.default_rng(1)
    r, d = rng.normal(size=(2, 60))
    product = r * d
    t = np.sqrt(60) * product.mean() / product.std(ddof=1)
    rows = np.square(d).sum() ** 2 / (d**4).sum()  # that count
    assert residual_covariance_test(r, d) == pytest.approx(f.sf(t**2, 1, rows - 1))


def test_finds_a_class_share_that_moved_and_survives_no_variance():
    rng = np.random.default_rng(2)
    d = rng.integers(0, 2, size=2000) - 0.5
    moved = np.outer(d, [0.2, -0.2]) + rng.normal(0, 0.5, size=(2000, 1)) * [1, -1]
    assert residual_covariance_test(moved, d) < 1e-3
    assert residual_covariance_test(np.zeros((5, 2)), np.ones(5)) == 1.0
