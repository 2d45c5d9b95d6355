"""Power of a comparison at equal X: closed forms, limits, and a simulation of the formula."""

import numpy as np
import pytest
from scipy.stats import norm

from shiftlab.stats.power import (
    class_variance,
    conditional_information,
    conditional_power,
    detectable_change,
    direction_cost,
)
from shiftlab.stats.residual import residual_product_test


def test_information_at_equal_x_is_that_of_two_means():
    assert conditional_information([0.5], [0.5, 0.5], 40, 120) == pytest.approx(40 * 120 / 160)


def test_information_counts_only_the_support_and_agrees_with_the_integral():
    assert conditional_information([0.5, 0.01], [0.5, 0.99], 100, 100, (0.05, 0.95)) == 25.0
    # two normal densities: n_S n_T p_S p_T / (n_S p_S + n_T p_T) integrated on a grid
    grid = np.linspace(-8, 9, 20001)
    p, q = norm.pdf(grid), norm.pdf(grid, 1.0)
    expected = np.trapezoid(200 * p * 50 * q / (200 * p + 50 * q), grid)
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=40_000), rng.normal(1.0, 1.0, size=40_000)
    b = [norm.pdf(v, 1.0) / (norm.pdf(v) + norm.pdf(v, 1.0)) for v in (x, t)]
    assert conditional_information(*b, 200, 50) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("b", [[], [[0.5]], [1.2], [np.nan]])
def test_information_refuses_what_is_no_probability(b):
    with pytest.raises(ValueError, match="between 0 and 1"):
        conditional_information(b, [0.5], 10, 10)


def test_variance_is_the_most_along_a_direction_for_two_classes_and_zero_for_sure_ones():
    # for two classes the direction is (1, -1) / sqrt 2 and the variance 2 p (1 - p)
    assert class_variance([[0.3, 0.7]] * 4) == pytest.approx(2 * 0.3 * 0.7)
    assert class_variance(np.eye(3)) == 0.0
    p = np.random.default_rng(1).dirichlet([0.3] * 4, size=200)
    v = 1 - (p**2).sum(axis=1)
    most = [np.linalg.eigvalsh(np.diag(row) - np.outer(row, row))[-1] for row in p]
    assert (v >= most).all()
    assert class_variance(p) == pytest.approx(np.average(v, weights=v))


def test_known_direction_gives_the_textbook_power_and_detectable_is_its_inverse():
    s = 0.2 * np.sqrt(100 / 0.5)
    assert conditional_power(0.2, 100, 0.5, 0.0, alpha=0.01) == pytest.approx(
        norm.cdf(s - norm.ppf(0.99))
    )
    for cost in (0.0, 7.0, 80.0):
        change = detectable_change(150, 0.4, cost, alpha=0.00625, power=0.8)
        assert conditional_power(change, 150, 0.4, cost, alpha=0.00625) == pytest.approx(0.8)
    assert detectable_change(0.0, 0.4, 5.0) == np.inf
    assert conditional_power(0.0, 100, 0.5, 0.0, alpha=0.01) == pytest.approx(0.01)
    with pytest.raises(ValueError, match="must not be negative"):
        conditional_power(-0.1, 100, 0.5, 1.0)


def test_power_rises_with_effect_and_information_and_falls_with_variance_and_cost():
    base = conditional_power(0.2, 200, 0.4, 20)
    assert conditional_power(0.25, 200, 0.4, 20) > base
    assert conditional_power(0.2, 250, 0.4, 20) > base
    assert conditional_power(0.2, 200, 0.5, 20) < base
    assert conditional_power(0.2, 200, 0.4, 30) < base
    # squares and products only up to 15 columns
    assert direction_cost(3) < direction_cost(6) < direction_cost(15) > direction_cost(16)


def test_formula_holds_for_a_direction_learnt_by_least_squares_on_m_terms():
    # here the cost is exactly the number of terms, so nothing is calibrated
    rng = np.random.default_rng(2)
    n, m, alpha = 150, 12, 0.05
    change = np.zeros(m)
    change[0] = 0.45
    found, reps = 0, 800
    for _ in range(reps):
        X = rng.normal(size=(2, 2 * n, m))
        d = np.repeat([0.0, 1.0], n)
        noise = rng.normal(size=(2, 2 * n))
        y = noise + (d - 0.5) * (X @ change)
        slopes = [np.linalg.lstsq(X[0][d == k], y[0][d == k], rcond=None)[0] for k in (0, 1)]
        h = X[1] @ (slopes[1] - slopes[0])
        found += residual_product_test(y[1], d - 0.5, h).p_value <= alpha
    information = conditional_information([0.5], [0.5], n, n)
    predicted = conditional_power(0.45, information, 1.0 + 0.45**2 / 4, m, alpha=alpha)
    assert 0.5 < predicted < 0.95
    assert found / reps == pytest.approx(predicted, abs=0.06)
