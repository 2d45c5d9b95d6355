"""Kernel two-sample test: level, power, invariance, and the discrepancy against its definition."""

import numpy as np
import pytest

from shiftlab.stats.mmd import BANDWIDTHS, kernel_two_sample_test, normal_scores


def _p(X, is_target, seed, **given):
    rng = np.random.default_rng(seed)
    return kernel_two_sample_test(X, is_target, n_permutations=99, rng=rng, **given).p_value


def test_level_is_exact_with_and_without_strata():
    rng = np.random.default_rng(0)
    p = []
    for seed in range(400):
        X = rng.standard_t(2, size=(90, 3))
        X[rng.random(X.shape) < 0.1] = np.nan
        strata = rng.integers(3, size=90)
        # the domain depends on the stratum: only the stratified test may ignore that
        is_target = rng.random(90) < 0.3 + 0.2 * strata
        X[:, 0] += strata
        p.append(_p(X, is_target, seed, strata=strata))
    p = np.array(p)
    # 400 uniform p-values: two standard errors are 0.022 at .05 and 0.04 at .2
    assert 0.025 <= (p <= 0.05).mean() <= 0.08
    assert 0.15 <= (p <= 0.2).mean() <= 0.25


@pytest.mark.parametrize("change", ["mean", "spread", "correlation", "bumps"])
def test_power_against_changes_of_different_smoothness(change):
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=(300, 2)), rng.normal(size=(300, 2))
        if change == "mean":
            b[:, 0] += 0.4
        elif change == "spread":
            b *= 1.4
        elif change == "correlation":
            b[:, 1] = 0.6 * b[:, 0] + 0.8 * b[:, 1]
        else:
            b[:, 0] += 0.9 * np.where(rng.random(300) < 0.5, -1, 1)
        found += _p(np.vstack([a, b]), np.repeat([False, True], 300), seed) <= 0.05
    assert found >= 17


def test_any_increasing_map_of_a_column_changes_nothing():
    rng = np.random.default_rng(1)
    X, is_target = rng.normal(size=(80, 2)), np.arange(80) < 30
    plain = kernel_two_sample_test(X, is_target, rng=np.random.default_rng(2))
    bent = kernel_two_sample_test(np.exp(3 * X), is_target, rng=np.random.default_rng(2))
    assert plain == bent


def test_discrepancy_is_the_unbiased_estimate_of_its_definition():
    rng = np.random.default_rng(3)
    X, is_target = rng.normal(size=(500, 2)), np.arange(500) < 200
    X[is_target] += 0.7
    Z = normal_scores(X)
    gaps = np.linalg.norm(Z[:, None] - Z[None], axis=2)
    kernel = np.exp(-0.5 * (gaps / np.median(gaps[gaps > 0])) ** 2)
    np.fill_diagonal(kernel, 0.0)
    t, s = is_target, ~is_target
    naive = (
        kernel[np.ix_(t, t)].sum() / (200 * 199)
        + kernel[np.ix_(s, s)].sum() / (300 * 299)
        - 2 * kernel[np.ix_(t, s)].mean()
    )
    assert 1.0 in BANDWIDTHS
    draws = [
        kernel_two_sample_test(X, t, n_permutations=19, rng=np.random.default_rng(i)).mmd
        for i in range(40)
    ]
    # random frequencies and a sampled median distance: right on average
    assert np.mean(draws) == pytest.approx(naive, rel=0.08)


def test_normal_scores_of_missing_and_constant_columns():
    scores = normal_scores([[1.0, 5.0, np.nan], [2.0, 5.0, np.nan], [np.nan, 5.0, 3.0]])
    assert scores[2, 0] == 0.0
    assert (scores[:, 1] == 0).all()
    assert np.isfinite(scores).all()


def test_strata_without_both_sides_are_refused():
    with pytest.raises(ValueError, match="both domains"):
        _p(np.zeros((4, 1)), [True, True, False, False], 0, strata=[0, 0, 1, 1])


def test_rare_values_are_ties_and_not_differences():
    p = []
    for seed in range(100):
        X = np.zeros((300, 1))
        X[np.random.default_rng(seed).integers(300)] = 1.0
        p.append(_p(X, np.arange(300) >= 150, seed))
    # one odd row falls on either side with probability 1/2, which is no evidence
    assert np.mean(np.array(p) <= 0.05) == 0.0
