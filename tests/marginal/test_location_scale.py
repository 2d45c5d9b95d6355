"""Location and scale: gradient, planted changes, and what must not move."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.linear_model import LogisticRegression, Ridge

from shiftlab import Domain, LocationScale
from shiftlab.marginal.alignment.location_scale import Problem, fourier_features
from shiftlab.stats.kernels import gaussian_kernel


def random_problem(k=3, n=40, d=4, D=30, seed=0):
    rng = np.random.default_rng(seed)
    member = (rng.integers(k, size=n) == np.arange(k)[:, None]) * rng.gamma(1.0, size=n)
    return Problem(
        X=rng.normal(size=(n, d)),
        member=member / member.sum(axis=1, keepdims=True),
        mean=rng.normal(size=d),
        frequencies=rng.normal(size=(d, D)),
        embedding=rng.normal(size=2 * D) / 8,
        prior=rng.normal(size=(2, 1, d)),
        pull=0.3,
    )


@pytest.mark.parametrize("k", [1, 3])
def test_gradient_is_the_finite_difference(k):
    problem = random_problem(k)
    rng = np.random.default_rng(1)
    for _ in range(3):
        at = 0.4 * rng.normal(size=2 * k * 4 + k)
        numeric = approx_fprime(at, lambda p: problem(p)[0], 1e-7)
        np.testing.assert_allclose(problem(at)[1], numeric, atol=2e-6)


def test_value_is_the_squared_distance_of_naive_embeddings():
    problem = random_problem()
    at = 0.4 * np.random.default_rng(2).normal(size=2 * 3 * 4 + 3)
    moves, shares = at[:24].reshape(2, 3, 4), np.exp(at[24:]) / np.exp(at[24:]).sum()
    mean = np.zeros(60)
    for c in range(3):
        for i in range(40):
            x = np.exp(moves[0, c]) * problem.X[i] + problem.mean + moves[1, c]
            angle = x @ problem.frequencies
            features = np.concatenate([np.cos(angle), np.sin(angle)]) / np.sqrt(30)
            mean += shares[c] * problem.member[c, i] * features
    common = moves.mean(axis=1)
    penalty = np.square(moves - common[:, None]).sum()
    penalty += 0.1 * 3 * np.square(common - problem.prior[:, 0]).sum()
    expected = np.square(mean - problem.embedding).sum() + 0.3 * penalty
    assert problem(at)[0] == pytest.approx(expected)


def test_features_approximate_the_kernel_of_their_frequencies():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(20, 3))
    phi = fourier_features(X, rng.normal(size=(3, 40_000)) / 1.5)
    np.testing.assert_allclose(phi @ phi.T, gaussian_kernel(X, X, 1.5), atol=0.03)


def test_a_planted_change_is_undone():
    rng = np.random.default_rng(4)
    scale, shift = np.array([3.0, 0.2, 1.0, 1.0]), np.array([0.0, -5.0, 2.0, 0.0])
    source, again = rng.gamma(2.0, size=(2, 2000, 4))
    target = again * scale + shift
    adapter = LocationScale(random_state=0).fit(source, target)
    np.testing.assert_allclose(adapter.scale_, scale, rtol=0.06)
    np.testing.assert_allclose(adapter.shift_, shift, atol=0.15)
    np.testing.assert_allclose(
        adapter.source_.X, source * adapter.scale_ + adapter.shift_, rtol=1e-12
    )
    assert adapter.mmd_[1] < adapter.mmd_[0] / 50


def test_outliers_upset_moments_more_than_the_kernel():
    rng = np.random.default_rng(5)
    source = rng.normal(size=(1000, 2))
    target = 2 * rng.normal(size=(1000, 2)) + 1
    target[:20] = 60.0
    adapter = LocationScale(random_state=0).fit(source, target)
    matched = target.std(0) / source.std(0)
    assert (np.abs(adapter.scale_ - 2) < 0.3 * np.abs(matched - 2)).all()


def test_units_of_columns_do_not_matter():
    rng = np.random.default_rng(6)
    source, target = rng.normal(size=(200, 3)), 2 * rng.normal(size=(150, 3)) + 1
    unit = np.array([1e-4, 1.0, 1e5])
    plain = LocationScale(random_state=0).fit(source, target).source_.X
    scaled = LocationScale(random_state=0).fit(source * unit, target * unit).source_.X
    np.testing.assert_allclose(scaled, plain * unit, rtol=1e-3, atol=1e-6)


def two_classes(rng, n, share):
    y = (rng.random(n) < share).astype(int)
    return rng.normal(size=(n, 5)) + np.outer(2 * y - 1, [1, 1, 0, 0, 0]), y


def test_a_mere_label_shift_moves_shares_and_not_rows():
    before, after = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        (X, y), (target, hidden) = two_classes(rng, 500, 0.5), two_classes(rng, 500, 0.1)
        model = LocationScale(LogisticRegression(), per_class=True, random_state=0)
        model.fit((X, y), target)
        assert model.prior_[1] < 0.25
        before.append(LogisticRegression().fit(X, y).score(target, hidden))
        after.append(model.score(target, hidden))
        ratio = model.source_.weight[y == 1].sum() / model.source_.weight.sum()
        assert ratio == pytest.approx(model.prior_[1])
    assert np.mean(after) > np.mean(before) + 0.02


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_classes_that_moved_apart_are_followed(share):
    scale = np.array([[1.5, 0.7, 1, 1, 1], [0.7, 1.2, 1, 2, 1]])
    shift = np.array([[1, 0, 0, 0, 0], [-0.5, 0.5, 1, 0, 0]])
    accuracy = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        (X, y), (Z, hidden) = two_classes(rng, 1000, 0.5), two_classes(rng, 1000, share)
        target = Z * scale[hidden] + shift[hidden]
        model = LocationScale(LogisticRegression(), per_class=True, random_state=0)
        model.fit((X, y), target)
        assert np.abs(model.scale_ - scale).mean() < 0.2
        assert np.abs(model.shift_ - shift).mean() < 0.3
        assert model.prior_[1] == pytest.approx(share, abs=0.15)
        alone = LogisticRegression().fit(X, y).score(target, hidden)
        accuracy.append([alone, model.score(target, hidden)])
    assert np.diff(np.mean(accuracy, axis=0)).item() > 0.04


def test_weights_of_both_sides_count():
    rng = np.random.default_rng(7)
    source, target = rng.normal(size=(300, 2)), rng.normal(size=(300, 2))
    target[:150] += 8
    weight = np.repeat([0.0, 1.0], 150)
    adapter = LocationScale(random_state=0).fit(source, Domain(target, weight=weight))
    np.testing.assert_allclose(adapter.shift_, 0, atol=0.3)


def test_constant_columns_and_single_rows_stay_finite():
    source = np.column_stack([np.random.default_rng(8).normal(size=20), np.full(20, 7.0)])
    for pair in ((source, source + 1), (source, source[:1]), (source[:1], source)):
        adapter = LocationScale(random_state=0).fit(*pair)
        assert np.isfinite(adapter.source_.X).all()
        assert (adapter.scale_ > 0).all()


def test_rows_without_label_or_weight_are_left_out_per_class():
    X = np.random.default_rng(9).normal(size=(40, 2))
    known = np.arange(40) % 4 != 0
    source = Domain(X, np.tile([0, 1], 20), labelled=known, weight=np.repeat([0.0, 1.0], 20))
    adapter = LocationScale(per_class=True, random_state=0).fit(source, X)
    assert adapter.source_.n_rows == known[20:].sum()
    assert adapter.scale_.shape == adapter.shift_.shape == (2, 2)
    adapter.set_params(per_class=False).fit(source, X)
    assert not hasattr(adapter, "prior_")
    assert adapter.scale_.shape == (2,)


def test_per_class_needs_classes():
    X = np.random.default_rng(10).normal(size=(30, 2))
    with pytest.raises(ValueError, match=r"needs class labels on the source; got continuous"):
        LocationScale(Ridge(), per_class=True).fit((X, X[:, 0]), X)
