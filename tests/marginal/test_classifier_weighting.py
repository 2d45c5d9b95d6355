"""ClassifierWeighting against analytic density ratios."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import multivariate_normal, spearmanr
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import LinearSVC

from shiftlab import ClassifierWeighting, Domain
from shiftlab.stats.weights import scale_to_mean_one


def gaussians(d, n, seed):
    """Two Gaussian samples of different mean and covariance, and the log ratio at source rows."""
    rng = np.random.default_rng(seed)
    root = np.eye(d) + 0.3 * rng.normal(size=(d, d)) / np.sqrt(d)
    mean, covariance = np.full(d, 0.8 / np.sqrt(d)), 0.7 * root @ root.T
    source, target = rng.normal(size=(n, d)), rng.multivariate_normal(mean, covariance, size=n)
    truth = multivariate_normal(mean, covariance).logpdf(source)
    return source, target, truth - multivariate_normal(np.zeros(d)).logpdf(source)


def test_rank_correlation_with_the_analytic_ratio():
    source, target, truth = gaussians(5, 5000, seed=0)
    adapter = ClassifierWeighting(random_state=0).fit(source, target)
    assert spearmanr(truth, adapter.weights_).statistic > 0.95
    assert np.corrcoef(truth, np.log(adapter.weights_))[0, 1] > 0.95
    # not only in order: the right size too
    ratio = np.exp(truth) / np.exp(truth).mean()
    assert np.mean((adapter.weights_ - ratio) ** 2) < 0.1 * np.var(ratio)
    assert adapter.weights_.mean() == pytest.approx(1.0, abs=1e-12)
    assert adapter.classifier_ == "quadratic"
    w = adapter.weights_
    assert adapter.effective_sample_size_ == pytest.approx(w.sum() ** 2 / (w**2).sum())
    assert adapter.max_share_ == pytest.approx(w.max() / w.sum())
    assert spearmanr(truth, adapter.weigh(source)).statistic > 0.95


def test_ratio_is_neither_inverted_nor_hurt_by_unequal_sizes():
    rng = np.random.default_rng(1)
    source, target = rng.normal(size=(2000, 1)), rng.normal(1.0, 1.0, size=(400, 1))
    adapter = ClassifierWeighting(random_state=0).fit(source, target)
    truth = np.exp(source[:, 0] - 0.5)
    assert spearmanr(truth, adapter.weights_).statistic > 0.99
    weighted_mean = np.average(source[:, 0], weights=adapter.weights_)
    assert weighted_mean == pytest.approx(1.0, abs=0.15)


def test_same_distribution_gives_weights_near_one():
    rng = np.random.default_rng(2)
    adapter = ClassifierWeighting(random_state=0).fit(
        rng.normal(size=(1000, 3)), rng.normal(size=(1500, 3))
    )
    np.testing.assert_allclose(adapter.weights_, 1.0, atol=0.5)
    assert adapter.effective_sample_size_ > 950


def test_misspecified_regression_improves():
    """Shimodaira's setting: a line fitted to a cubic where the target has its rows."""
    rng = np.random.default_rng(3)

    def truth(x):
        return -x + x**3

    source, target = rng.normal(0.5, 0.5, size=(1500, 1)), rng.normal(0.0, 0.3, size=(1500, 1))
    y = truth(source[:, 0]) + rng.normal(0, 0.3, size=1500)

    def error(model):
        return np.mean((model.predict(target) - truth(target[:, 0])) ** 2)

    weighted = ClassifierWeighting(LinearRegression(), random_state=0).fit((source, y), target)
    plain, best = LinearRegression().fit(source, y), LinearRegression()
    best.fit(target, truth(target[:, 0]))
    assert error(weighted) < 0.3 * error(plain)
    assert error(weighted) < error(best) + 0.01


def test_clip_bounds_the_ratio_and_keeps_the_mean():
    source, target, _ = gaussians(2, 600, seed=4)
    free = ClassifierWeighting(random_state=0).fit(source, target)
    bound = ClassifierWeighting(clip=1.5, random_state=0).fit(source, target)
    assert free.weights_.max() > 2
    assert bound.weights_.max() <= 1.5 + 1e-12
    assert bound.weights_.mean() == pytest.approx(1.0, abs=1e-12)
    assert bound.weigh(target).max() <= 1.5
    level = ClassifierWeighting(clip=1.0, random_state=0).fit(source, target)
    np.testing.assert_allclose(level.weights_, 1.0)


@pytest.mark.parametrize("clip", [1.0, 1.01, 1.3, 2.0, 7.0, 100.0, None])
def test_scaling_solves_its_equation(clip):
    rng = np.random.default_rng(5)
    for weight in (None, rng.integers(0, 3, size=50).astype(float)):
        ratio = np.exp(3 * rng.normal(size=50))
        scaled, factor = scale_to_mean_one(ratio, weight, clip)
        share = np.full(50, 0.02) if weight is None else weight / weight.sum()
        assert share @ scaled == pytest.approx(1.0, abs=1e-9)
        expected = factor * ratio if clip is None else np.minimum(factor * ratio, clip)
        np.testing.assert_allclose(scaled, expected, rtol=1e-9)


def test_source_weights_multiply_and_are_brought_to_the_target():
    """A source drawn from a wide density and weighted to a narrow one is that narrow one."""
    rng = np.random.default_rng(6)
    source, target = rng.normal(0, 1.5, size=(3000, 1)), rng.normal(0.5, 1.0, size=(3000, 1))
    x = source[:, 0]
    own = np.exp(-(x**2) / 2 + x**2 / (2 * 1.5**2))  # N(0, 1.5) to N(0, 1)
    adapter = ClassifierWeighting(random_state=0).fit(Domain(source, weight=own), target)
    ratio = adapter.weights_ / own
    near = np.abs(x) < 2
    slope = np.polyfit(x[near], np.log(ratio[near]), 2)
    assert slope[1] == pytest.approx(0.5, abs=0.15)  # log ratio of N(.5, 1) to N(0, 1)
    assert slope[0] == pytest.approx(0.0, abs=0.1)
    assert np.average(x, weights=adapter.weights_) == pytest.approx(0.5, abs=0.1)
    assert adapter.weights_.mean() == pytest.approx(1.0)


def test_far_apart_supports_warn_and_stay_finite():
    rng = np.random.default_rng(7)
    source, target = rng.normal(size=(200, 20)), rng.normal(size=(200, 20)) + 5
    adapter = ClassifierWeighting(random_state=0)
    with pytest.warns(UserWarning, match=r"hardly overlap.*worth \d+\.\d of its 200 rows"):
        adapter.fit(source, target)
    assert np.isfinite(adapter.weights_).all()
    assert adapter.domain_auc_ > 0.99


def test_given_classifier_is_used_and_needs_probabilities():
    source, target, truth = gaussians(2, 800, seed=8)
    forest = RandomForestClassifier(n_estimators=50, min_samples_leaf=20, random_state=0)
    adapter = ClassifierWeighting(classifier=forest, random_state=0).fit(source, target)
    assert adapter.classifier_ == "RandomForestClassifier"
    assert spearmanr(truth, adapter.weights_).statistic > 0.8
    assert not hasattr(forest, "estimators_")
    with pytest.raises(ValueError, match="CalibratedClassifierCV"):
        ClassifierWeighting(classifier=LinearSVC()).fit(source, target)


def test_calibration_tames_an_overconfident_classifier():
    source, target, truth = gaussians(3, 1500, seed=9)
    forest = RandomForestClassifier(n_estimators=30, random_state=0)
    ratio = np.exp(truth) / np.exp(truth).mean()

    def error(calibration):
        adapter = ClassifierWeighting(classifier=forest, calibration=calibration, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.mean((adapter.fit(source, target).weights_ - ratio) ** 2)

    assert error("auto") < 0.5 * error("none")


def test_sparse_and_images_are_told_apart():
    rng = np.random.default_rng(10)
    dense = rng.poisson(0.2, size=(300, 150)).astype(float)
    shifted = rng.poisson(np.where(np.arange(150) < 20, 0.4, 0.2), size=(300, 150)).astype(float)
    adapter = ClassifierWeighting(random_state=0).fit(sp.csr_matrix(dense), sp.csr_matrix(shifted))
    assert adapter.source_.is_sparse
    counts = dense[:, :20].sum(1)
    assert spearmanr(counts, adapter.weights_).statistic > 0.3
    images = rng.integers(0, 200, size=(150, 12, 12), dtype=np.uint8)
    brighter = np.clip(images[:75].astype(int) + 20, 0, 255).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapter = ClassifierWeighting(random_state=0).fit(images, brighter)
    assert adapter.source_.X is images
    assert spearmanr(images.mean((1, 2)), adapter.weights_).statistic > 0.3


def test_deterministic_and_blind_to_labels():
    source, target, _ = gaussians(2, 300, seed=11)
    y = np.repeat([0, 1], 150)
    fits = [
        ClassifierWeighting(LogisticRegression(), random_state=3).fit((source, labels), other)
        for labels, other in ((y, target), (y[::-1], (target, y)), (y, (target, y[::-1])))
    ]
    for other in fits[1:]:
        np.testing.assert_array_equal(fits[0].weights_, other.weights_)


def test_too_few_rows():
    with pytest.raises(ValueError, match="at least 2 rows on each side; the target has 1"):
        ClassifierWeighting().fit(np.ones((4, 2)), np.ones((1, 2)))
