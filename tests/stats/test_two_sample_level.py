"""Level and power of the two-sample tests, by simulation with fixed seeds."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from shiftlab.stats import (
    auc_interval,
    benjamini_hochberg,
    categorical_test,
    classifier_two_sample_test,
    continuous_test,
    detectable_auc,
    holm,
    missingness_test,
    rank_permutation_test,
)


def test_rank_statistic_is_the_auc_and_ties_count_half():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, size=80).astype(float)
    target = rng.random(80) < 0.4
    auc, _ = rank_permutation_test(scores, target, n_permutations=19, rng=rng)
    assert auc == pytest.approx(roc_auc_score(target, scores))


def test_strata_take_out_a_difference_between_them():
    rng = np.random.default_rng(1)
    strata = np.repeat([0, 1], 300)
    target = rng.random(600) < np.where(strata == 0, 0.2, 0.8)
    scores = 5.0 * strata + rng.normal(size=600)
    plain = rank_permutation_test(scores, target, n_permutations=199, rng=rng)
    inside = rank_permutation_test(scores, target, strata=strata, n_permutations=199, rng=rng)
    assert plain[1] == pytest.approx(1 / 200)
    assert inside[1] > 0.05
    with pytest.raises(ValueError, match="both domains"):
        rank_permutation_test(scores, strata == 1, strata=strata, n_permutations=19, rng=rng)


def test_auc_interval_covers_the_true_auc():
    rng = np.random.default_rng(2)
    truth = float(norm.cdf(1 / np.sqrt(2)))
    hits = 0
    for _ in range(600):
        a, b = rng.normal(size=40), rng.normal(1.0, 1.0, size=60)
        low, high = auc_interval(float((a[:, None] < b).mean()), 40, 60)
        hits += low <= truth <= high
    assert hits / 600 >= 0.93
    assert auc_interval(1.0, 20, 20)[0] < 0.99
    assert auc_interval(0.0, 20, 20)[1] > 0.01


def _pair(rng, shift=0.0, n=60):
    return rng.normal(size=(n, 3)), rng.normal(shift, 1.0, size=(n, 3))


def test_single_split_holds_its_level():
    rng = np.random.default_rng(3)
    model = LogisticRegression(C=1.0, max_iter=50)
    p = [
        classifier_two_sample_test(
            *_pair(rng), estimator=model, n_permutations=99, random_state=i
        ).p_value
        for i in range(400)
    ]
    # 400 draws at 5%: the standard error is 1.1 points
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.08


def test_permuting_under_cross_fitted_scores_rejects_too_often():
    """Why there is one split: under the null the two folds' statistics are nearly one number.

    With the difference of means as the classifier each fold's statistic is the product of the
    two folds' mean differences, so their sum has twice the variance that permuting gives it.
    """
    rng = np.random.default_rng(4)
    target = np.tile([False, True], 30)
    fold = np.repeat([0, 1], 30)
    crossed, single = [], []
    for _ in range(1500):
        X = rng.normal(size=(60, 3))
        scores = np.empty(60)
        for k in (0, 1):
            learn = X[fold != k], target[fold != k]
            direction = learn[0][learn[1]].mean(axis=0) - learn[0][~learn[1]].mean(axis=0)
            scores[fold == k] = X[fold == k] @ direction
        crossed.append(
            rank_permutation_test(scores, target, strata=fold, n_permutations=99, rng=rng)[1]
        )
        one = fold == 0
        single.append(
            rank_permutation_test(scores[one], target[one], n_permutations=99, rng=rng)[1]
        )
    levels = [float(np.mean(np.array(p) <= 0.05)) for p in (crossed, single)]
    assert levels[0] > 0.07
    assert 0.035 <= levels[1] <= 0.065


def test_default_learner_finds_mean_variance_and_correlation():
    rng = np.random.default_rng(5)
    n = 400
    base = rng.normal(size=(n, 3))
    correlated = rng.multivariate_normal(np.zeros(3), [[1, 0.6, 0], [0.6, 1, 0], [0, 0, 1]], size=n)
    for moved in (
        rng.normal([0.5, 0.0, 0.0], size=(n, 3)),
        1.6 * rng.normal(size=(n, 3)),
        correlated,
    ):
        result = classifier_two_sample_test(base, moved, random_state=0)
        assert result.p_value <= 0.01
        assert result.interval[0] <= result.auc <= result.interval[1]


def test_detectable_auc_is_found_with_the_stated_power():
    rng = np.random.default_rng(6)
    size = detectable_auc(80, 80)
    shift = np.sqrt(2) * norm.ppf(size)
    found = 0
    for _ in range(300):
        scores = np.concatenate([rng.normal(size=80), rng.normal(shift, 1.0, size=80)])
        found += (
            rank_permutation_test(
                scores, np.repeat([False, True], 80), n_permutations=199, rng=rng
            )[1]
            <= 0.05
        )
    assert 0.72 <= found / 300 <= 0.88


def test_two_sample_test_refuses_bad_shapes():
    with pytest.raises(ValueError, match="equal columns"):
        classifier_two_sample_test(np.zeros((9, 2)), np.zeros((9, 3)))
    with pytest.raises(ValueError, match="at least 4 rows"):
        classifier_two_sample_test(np.zeros((9, 2)), np.zeros((2, 2)))


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_corrections_keep_order_skip_nan_and_match_a_naive_loop(correct):
    p = np.array([0.04, np.nan, 0.001, 0.2, 0.013])
    adjusted = correct(p)
    assert np.isnan(adjusted[1])
    given = np.sort(p[~np.isnan(p)])
    m = given.size
    if correct is holm:
        naive = [max(min(1, (m - j) * given[j]) for j in range(i + 1)) for i in range(m)]
    else:
        naive = [min(min(1, m * given[j] / (j + 1)) for j in range(i, m)) for i in range(m)]
    np.testing.assert_allclose(np.sort(adjusted[~np.isnan(p)]), naive)


def test_holm_controls_the_family_wise_error_under_the_null():
    p = np.random.default_rng(7).random((4000, 5))
    any_rejected = np.mean([(holm(row) <= 0.05).any() for row in p])
    assert 0.038 <= any_rejected <= 0.06


def test_column_tests_hold_their_level_and_see_new_categories():
    rng = np.random.default_rng(8)
    rejected = np.zeros(4)
    for _ in range(400):
        rejected[0] += continuous_test(rng.normal(size=80), rng.normal(size=90)).p_value <= 0.05
        a, b = rng.multinomial(80, [0.5, 0.3, 0.2]), rng.multinomial(90, [0.5, 0.3, 0.2])
        rejected[1] += categorical_test(a, b, rng=rng).p_value <= 0.05
        a, b = rng.multinomial(80, [0.96, 0.04]), rng.multinomial(90, [0.96, 0.04])
        rejected[2] += categorical_test(a, b, rng=rng).p_value <= 0.05
        a, b = rng.random(80) < 0.1, rng.random(90) < 0.1
        rejected[3] += missingness_test(a, b).p_value <= 0.05
    assert (rejected / 400 <= 0.075).all()
    assert rejected[1] / 400 >= 0.02
    new = categorical_test([200, 200, 0], [150, 150, 100], rng=rng)
    assert new.p_value < 1e-6
    assert new.effect == pytest.approx(0.25)


def test_many_rare_categories_hold_the_level():
    rng = np.random.default_rng(9)
    p = [
        categorical_test(
            np.bincount(rng.integers(0, 300, 200), minlength=300),
            np.bincount(rng.integers(0, 300, 200), minlength=300),
            rng=rng,
        ).p_value
        for _ in range(60)
    ]
    assert np.mean(np.array(p) <= 0.05) <= 0.12
    assert 0.35 <= np.mean(p) <= 0.65
