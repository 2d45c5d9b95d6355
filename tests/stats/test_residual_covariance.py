"""The generalised covariance measure of a vector response, without a learnt direction."""

import numpy as np
import pytest
from scipy.stats import f

from shiftlab.stats.residual import merge_rare, residual_covariance_test


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


@pytest.mark.parametrize("shares", ["even", "uneven"])
def test_level_with_many_classes_and_few_rows_on_one_side(shares):
    rng = np.random.default_rng(3)
    k, rows = 20, (2000, 60)
    w = np.ones(k) if shares == "even" else 1 / np.arange(1.0, k + 1)
    d = np.repeat([0.0, 1.0], rows)
    p = []
    for _ in range(400):
        y = np.eye(k)[rng.choice(k, d.size, p=w / w.sum())]
        fold = rng.permutation(d.size) % 2
        r, s = np.empty_like(y), np.empty_like(d)
        for part in (0, 1):
            learn, at = fold != part, fold == part
            r[at], s[at] = y[at] - y[learn].mean(axis=0), d[at] - d[learn].mean()
        expected = y.sum(axis=0) * min(rows) / d.size
        p.append(residual_covariance_test(merge_rare(r, expected), s))
    # without merging and with chi-square it is 20% to 50%
    assert (np.array(p) <= 0.05).mean() <= 0.09
    assert (np.array(p) <= 0.01).mean() <= 0.03


def test_rare_classes_are_added_up_until_they_have_rows():
    r = np.arange(8.0).reshape(2, 4)
    merged = merge_rare(r, [100, 8, 30, 14])
    np.testing.assert_array_equal(merged, np.column_stack([r[:, [1, 3]].sum(1), r[:, 2], r[:, 0]]))
    # what is left over goes to the last group; one group alone says nothing
    np.testing.assert_array_equal(merge_rare(r, [3, 3, 3, 30]), np.zeros((2, 1)))
