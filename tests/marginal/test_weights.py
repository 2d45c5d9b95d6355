"""What holds for every importance weight, against analytic density ratios."""

import warnings

import numpy as np
import pytest
from scipy.stats import multivariate_normal, spearmanr
from sklearn.linear_model import LinearRegression, LogisticRegression

from shiftlab import (
    KLIEP,
    KMM,
    RULSIF,
    ULSIF,
    ClassifierWeighting,
    Domain,
    GaussianWeighting,
    KernelDensityWeighting,
    NearestNeighborWeighting,
)
from shiftlab.marginal.weighting.base import bend
from shiftlab.stats.weights import effective_sample_size, support_overlap

WEIGHTS = [
    KMM,
    KLIEP,
    ULSIF,
    RULSIF,
    ClassifierWeighting,
    KernelDensityWeighting,
    GaussianWeighting,
    NearestNeighborWeighting,
]
every_weight = pytest.mark.parametrize("kind", WEIGHTS, ids=lambda kind: kind.__name__)


def gaussians(d, n, seed=0):
    """N(0, I) and a narrower Gaussian whose first columns moved; the log ratio at source rows."""
    rng = np.random.default_rng(seed)
    mean = np.where(np.arange(d) < max(1, d // 4), 0.5, 0.0)
    source, target = rng.normal(size=(n, d)), mean + 0.8 * rng.normal(size=(n, d))
    truth = multivariate_normal(mean, 0.64 * np.eye(d)).logpdf(source)
    return source, target, truth - multivariate_normal(np.zeros(d)).logpdf(source)


# What each reached (seed 0), less a margin: kernels thin out in 20 columns.
@pytest.mark.parametrize(
    ("kind", "linear", "log"),
    [
        (KMM, (0.97, 0.94, 0.70), (0.88, 0.85, 0.80)),
        (KLIEP, (0.97, 0.97, 0.75), (0.96, 0.96, 0.90)),
        (ULSIF, (0.97, 0.95, 0.68), (0.97, 0.96, 0.89)),
        (RULSIF, (0.97, 0.95, 0.68), (0.97, 0.96, 0.89)),
        (ClassifierWeighting, (0.98, 0.95, 0.72), (0.98, 0.95, 0.88)),
        (KernelDensityWeighting, (0.96, 0.88, 0.60), (0.96, 0.88, 0.83)),
        (GaussianWeighting, (0.99, 0.99, 0.97), (0.99, 0.99, 0.97)),
        (NearestNeighborWeighting, (0.93, 0.85, 0.85), (0.78, 0.83, 0.85)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_close_to_the_analytic_ratio(kind, linear, log):
    for d, least, least_log in zip((1, 5, 20), linear, log, strict=True):
        source, target, truth = gaussians(d, 2000)
        weights = kind(flatten=1.0, random_state=0).fit(source, target).weights_
        assert weights.mean() == pytest.approx(1.0, abs=1e-9)
        assert np.corrcoef(weights, np.exp(truth))[0, 1] > least, d
        floor = np.log(np.maximum(weights, 1e-2))
        assert np.corrcoef(floor, np.maximum(truth, np.log(1e-2)))[0, 1] > least_log, d


@every_weight
def test_the_truth_is_not_inverted_nor_hurt_by_unequal_sizes(kind):
    rng = np.random.default_rng(1)
    source, target = rng.normal(size=(1500, 1)), rng.normal(1.0, 0.9, size=(300, 1))
    adapter = kind(flatten=1.0, random_state=0).fit(source, target)
    truth = multivariate_normal(1.0, 0.81).logpdf(source) - multivariate_normal(0, 1).logpdf(source)
    assert spearmanr(truth, adapter.weights_).statistic > 0.9
    assert np.average(source[:, 0], weights=adapter.weights_) == pytest.approx(1.0, abs=0.3)


@every_weight
def test_shimodairas_misspecified_regression(kind):
    """A line fitted to a cubic: the weighted one comes near the best line for the target."""
    rng = np.random.default_rng(3)

    def truth(x):
        return -x + x**3

    source, target = rng.normal(0.5, 0.5, size=(1500, 1)), rng.normal(0.0, 0.3, size=(1500, 1))
    y = truth(source[:, 0]) + rng.normal(0, 0.3, size=1500)

    def error(model):
        return np.mean((model.predict(target) - truth(target[:, 0])) ** 2)

    weighted = kind(LinearRegression(), random_state=0).fit((source, y), target)
    plain = LinearRegression().fit(source, y)
    best = LinearRegression().fit(target, truth(target[:, 0]))
    assert error(weighted) < 0.3 * error(plain)
    rough = kind in (KMM, NearestNeighborWeighting)
    assert error(weighted) < error(best) + (0.04 if rough else 0.005)


@every_weight
def test_nothing_differs(kind):
    rng = np.random.default_rng(2)
    adapter = kind(random_state=0).fit(rng.normal(size=(800, 3)), rng.normal(size=(800, 3)))
    assert adapter.effective_sample_size_ > 0.85 * 800
    assert adapter.overlap_ > 0.95


@every_weight
def test_far_apart_is_finite_and_says_how_far(kind):
    rng = np.random.default_rng(4)
    source, target = rng.normal(size=(200, 50)), rng.normal(5.0, 1.0, size=(200, 50))
    with pytest.warns(UserWarning, match=r"hardly overlap.*0\.0% of the target's rows"):
        adapter = kind(random_state=0).fit(source, target)
    assert adapter.overlap_ == 0.0
    assert np.isfinite(adapter.weights_).all()
    assert adapter.weights_.mean() == pytest.approx(1.0)
    assert (adapter.weights_ >= 0).all()
    assert np.isfinite(adapter.weigh(np.vstack([source, target, 1e6 * source]))).all()


@every_weight
def test_units_of_columns_do_not_matter(kind):
    source, target, _ = gaussians(3, 300)
    unit = np.array([1e-4, 1.0, 1e5])
    plain = kind(random_state=0).fit(source, target).weights_
    scaled = kind(random_state=0).fit(source * unit + 7, target * unit + 7).weights_
    np.testing.assert_allclose(scaled, plain, rtol=1e-3, atol=1e-4)


@every_weight
def test_new_rows_are_weighed_on_the_same_scale(kind):
    source, target, _ = gaussians(2, 600)
    adapter = kind(clip=3.0, flatten=0.8, random_state=0).fit(source, target)
    again = adapter.weigh(source)
    assert again.max() <= 3.0 + 1e-9
    # leave-one-out or cross-fitted weights differ a little for rows that were seen
    assert np.corrcoef(again, adapter.weights_)[0, 1] > 0.95
    assert again.mean() == pytest.approx(1.0, abs=0.1)
    if kind in (KMM, KLIEP, ULSIF, RULSIF, GaussianWeighting):
        np.testing.assert_allclose(again, adapter.weights_, rtol=1e-6, atol=1e-8)


@every_weight
def test_reports_agree_with_the_weights(kind):
    source, target, _ = gaussians(2, 400)
    adapter = kind(clip=2.0, random_state=0).fit(source, target)
    w = adapter.weights_
    assert w.max() <= 2.0 + 1e-9
    assert adapter.effective_sample_size_ == pytest.approx(w.sum() ** 2 / (w**2).sum())
    assert adapter.max_share_ == pytest.approx(w.max() / w.sum())
    np.testing.assert_array_equal(adapter.source_.weight, w)


@every_weight
def test_flatten_is_an_exponent_and_zero_makes_all_weights_one(kind):
    source, target, _ = gaussians(2, 400)
    whole, half, none = (
        kind(flatten=exponent, random_state=0).fit(source, target).weights_
        for exponent in (1.0, 0.5, 0.0)
    )
    expected = np.sqrt(whole)
    np.testing.assert_allclose(half, expected / expected.mean(), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(none, 1.0)


@every_weight
def test_many_columns_keep_the_weights_gentle(kind):
    """60 columns and 300 rows leave nothing to spend on uneven weights."""
    source, target, _ = gaussians(60, 300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapter = kind(random_state=0).fit(source, target)
    assert adapter.effective_sample_size_ >= 0.95 * 300 - 1e-3
    assert 0 <= adapter.flatten_ <= 1


def test_gentle_exponent_is_the_largest_allowed():
    source, target, _ = gaussians(20, 1000)
    adapter = GaussianWeighting(random_state=0).fit(source, target)
    assert 0 < adapter.flatten_ < 1
    assert adapter.effective_sample_size_ == pytest.approx(200, rel=1e-3)  # ten for each column


@every_weight
def test_source_weights_are_brought_to_the_target(kind):
    """Rows of a wide density, weighted to a narrow one, and then to the target."""
    rng = np.random.default_rng(6)
    source, target = rng.normal(0, 1.5, size=(2000, 1)), rng.normal(0.5, 1.0, size=(2000, 1))
    x = source[:, 0]
    own = np.exp(-(x**2) / 2 + x**2 / (2 * 1.5**2))  # N(0, 1.5) to N(0, 1)
    adapter = kind(random_state=0).fit(Domain(source, weight=own), target)
    assert adapter.weights_.mean() == pytest.approx(1.0)
    assert np.average(x, weights=adapter.weights_) == pytest.approx(0.5, abs=0.15)
    spread = np.sqrt(np.average((x - 0.5) ** 2, weights=adapter.weights_))
    assert spread == pytest.approx(1.0, abs=0.15)


@every_weight
def test_rows_without_weight_change_nothing_but_their_own(kind):
    source, target, _ = gaussians(2, 300)
    own = np.ones(300)
    own[:20] = 0.0
    adapter = kind(random_state=0).fit(Domain(source, weight=own), target)
    assert (adapter.weights_[:20] == 0).all()
    assert adapter.weights_.mean() == pytest.approx(1.0)


@every_weight
def test_equal_rows_and_constant_columns(kind):
    rng = np.random.default_rng(7)
    source, target = rng.integers(0, 3, size=(200, 3)), rng.integers(1, 4, size=(150, 3))
    source[:, 2] = target[:, 2] = 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapter = kind(random_state=0).fit(source.astype(float), target.astype(float))
    assert np.isfinite(adapter.weights_).all()
    same = np.zeros((50, 2))
    assert np.allclose(kind(random_state=0).fit(same, same).weights_, 1.0)


@every_weight
def test_more_columns_than_rows_go_through_components(kind):
    rng = np.random.default_rng(8)
    basis = rng.normal(size=(3, 400))
    source, target = rng.normal(size=(150, 3)) @ basis, rng.normal(0.8, 1, size=(150, 3)) @ basis
    source, target = (X + 0.1 * rng.normal(size=X.shape) for X in (source, target))
    adapter = kind(flatten=1.0, random_state=0).fit(source, target)
    moved = target.mean(axis=0) - source.mean(axis=0)
    left = target.mean(axis=0) - np.average(source, axis=0, weights=adapter.weights_)
    assert np.linalg.norm(left) < 0.8 * np.linalg.norm(moved)


def test_bend_is_the_relative_ratio():
    ratio = np.array([1e-300, 0.2, 1.0, 50.0, 1e300])
    for share in (0.1, 0.5):
        expected = ratio / (share * ratio + 1 - share)
        np.testing.assert_allclose(np.exp(bend(np.log(ratio), share, 1.0)), expected, rtol=1e-9)
    assert bend(np.array([-np.inf, 0.0]), 0.1, 0.0).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("kind", [KLIEP, GaussianWeighting, ClassifierWeighting])
def test_relative_weights_are_bounded(kind):
    source, target, _ = gaussians(5, 500)
    weights = kind(relative=0.25, flatten=1.0, random_state=0).fit(source, target).weights_
    plain = kind(flatten=1.0, random_state=0).fit(source, target).weights_
    expected = plain / (0.25 * plain + 0.75)
    np.testing.assert_allclose(weights, expected / expected.mean(), rtol=1e-6)


def test_overlap_is_a_share_of_the_target():
    rng = np.random.default_rng(9)
    source = rng.normal(size=(500, 2))
    target = rng.normal(size=(500, 2))
    target[:200] += 30
    assert support_overlap(source, target) == pytest.approx(0.6, abs=0.03)


def test_weights_need_an_estimator_that_takes_them():
    from sklearn.neighbors import KNeighborsClassifier

    source, target, _ = gaussians(2, 100)
    y = (source[:, 0] > 0).astype(int)
    with pytest.raises(ValueError, match="takes no sample_weight"):
        KMM(KNeighborsClassifier(), random_state=0).fit((source, y), target)
    model = KMM(LogisticRegression(), random_state=0).fit((source, y), target)
    assert effective_sample_size(model.weights_) > 10
