"""Kernel mean matching against its optimality conditions."""

import numpy as np
import pytest

from shiftlab import KMM, Domain
from shiftlab.marginal.weighting.kmm import kernel_mean_matching, project_to_mean_one
from shiftlab.stats.kernels import NystroemMap, gaussian_kernel


def problem(seed, n=80):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(n, 2)), rng.normal(0.7, 0.6, size=(60, 2))
    share = rng.gamma(2.0, size=n) if seed % 2 else np.ones(n)
    return source, target, share / share.sum()


@pytest.mark.parametrize("bound", [1.5, 4.0, np.inf])
@pytest.mark.parametrize("penalty", [1e-1, 1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("seed", [0, 1])
def test_karush_kuhn_tucker(seed, penalty, bound):
    """The gradient is level where the weight is free, and points outwards at the bounds."""
    source, target, share = problem(seed)
    phi = NystroemMap(source, 1.0)
    found = kernel_mean_matching(
        phi(source), phi(target).mean(axis=0), share, penalty, bound, tol=1e-10
    )
    beta = found.weights
    assert found.converged
    assert beta.min() >= 0
    assert beta.max() <= bound
    assert share @ beta == pytest.approx(1.0, abs=1e-10)
    K = gaussian_kernel(source, source, 1.0)
    kappa = gaussian_kernel(source, target, 1.0).mean(axis=1)
    # per unit of share: derivative of the objective by beta_i
    gradient = K @ (share * beta) - kappa + penalty * (beta - 1)
    free = (beta > 1e-9) & (beta < bound - 1e-9)
    level = gradient[free].mean()
    assert np.abs(gradient[free] - level).max() < 1e-6
    assert (gradient[beta <= 1e-9] >= level - 1e-6).all()
    assert (gradient[beta >= bound - 1e-9] <= level + 1e-6).all()


def test_no_feasible_point_is_better():
    source, target, share = problem(0)
    phi = NystroemMap(source, 1.0)
    F, mean = phi(source), phi(target).mean(axis=0)

    def height(beta):
        return 0.5 * np.sum(((share * beta) @ F - mean) ** 2) + 5e-4 * share @ (beta - 1) ** 2

    best = kernel_mean_matching(F, mean, share, 1e-3, 5.0).weights
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(50):
            other, _ = project_to_mean_one(best + scale * rng.normal(size=len(best)), share, 5.0)
            assert height(other) >= height(best) - 1e-12


@pytest.mark.parametrize("bound", [1.0, 1.2, 3.0, np.inf])
def test_projection_solves_its_equation(bound):
    rng = np.random.default_rng(0)
    for scale in (1e-6, 1.0, 1e6):
        values = scale * rng.normal(size=200)
        share = rng.gamma(0.5, size=200)
        share[:10] = 0
        share /= share.sum()
        beta, shift = project_to_mean_one(values, share, bound)
        np.testing.assert_allclose(beta, np.clip(values - shift, 0, bound))
        assert share @ beta == pytest.approx(1.0, abs=1e-9 * max(1.0, scale))


def test_penalty_to_zero_is_plain_matching_and_to_infinity_is_uniform():
    source, target, share = problem(0)
    phi = NystroemMap(source, 1.0)
    F, mean = phi(source), phi(target).mean(axis=0)
    distance = [
        np.sum(((share * kernel_mean_matching(F, mean, share, p).weights) @ F - mean) ** 2)
        for p in (1e6, 1e-1, 1e-3, 1e-6)
    ]
    assert distance == sorted(distance, reverse=True)
    np.testing.assert_allclose(kernel_mean_matching(F, mean, share, 1e9).weights, 1.0, atol=1e-6)


def test_landmarks_come_close_to_the_exact_kernel():
    rng = np.random.default_rng(2)
    source, target = rng.normal(size=(1000, 5)), rng.normal(0.4, 0.8, size=(800, 5))
    settings = {"bandwidth": 1.0, "penalty": 1e-3, "flatten": 1.0, "random_state": 0}
    exact = KMM(**settings).fit(source, target)
    many = np.vstack([source, source[:1]])  # one row more than the exact kernel is used for
    approximate = KMM(**settings).fit(many, target)
    assert np.corrcoef(exact.weights_, approximate.weights_[:1000])[0, 1] > 0.999


@pytest.mark.parametrize("n", [1003, 2007, 5001])
def test_every_row_is_covered_whatever_n_is(n):
    rng = np.random.default_rng(3)
    source, target = rng.normal(size=(n, 2)), rng.normal(0.2, 1.0, size=(500, 2))
    weights = KMM(bandwidth=1.0, penalty=0.1, random_state=0).fit(source, target).weights_
    assert weights.shape == (n,)
    assert (weights > 0).all()
    # rows are not treated by their place
    assert weights[-7:].mean() == pytest.approx(1.0, abs=0.5)


def test_moment_residual_says_how_much_is_left():
    rng = np.random.default_rng(4)
    source = rng.normal(size=(1000, 2))
    near = KMM(random_state=0).fit(source, rng.normal(0.6, 0.8, size=(1000, 2)))
    assert near.residual_ < 0.2
    same = KMM(random_state=0).fit(source, rng.normal(size=(1000, 2)))
    assert same.effective_sample_size_ > 900


def test_bound_of_one_leaves_no_choice():
    source, target, _ = problem(0)
    np.testing.assert_allclose(
        KMM(clip=1.0, bandwidth=1.0, penalty=1e-3).fit(source, target).weights_, 1.0
    )


def test_integer_weights_equal_repeated_rows():
    source, target, _ = problem(0)
    repeats = np.random.default_rng(5).integers(1, 4, size=len(source))
    settings = {"bandwidth": 1.0, "penalty": 1e-2, "flatten": 1.0, "random_state": 0}
    weighted = KMM(**settings).fit(Domain(source, weight=repeats.astype(float)), target)
    repeated = KMM(**settings).fit(np.repeat(source, repeats, axis=0), target)
    # the units of the columns are taken without weights, so compare as kernels of one scale
    first = np.concatenate([[0], np.cumsum(repeats)[:-1]])
    ratio = weighted.weights_ / repeats / (weighted.weights_ / repeats).max()
    expected = repeated.weights_[first] / repeated.weights_[first].max()
    assert np.corrcoef(ratio, expected)[0, 1] > 0.99
