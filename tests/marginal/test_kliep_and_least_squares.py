"""KLIEP, uLSIF and RuLSIF against duality, brute force and optimality conditions."""

import numpy as np
import pytest

from shiftlab import KLIEP, RULSIF, ULSIF, Domain
from shiftlab.marginal.weighting.kliep import kliep_mixture
from shiftlab.marginal.weighting.ulsif import left_out_coefficients, non_negative_coefficients
from shiftlab.stats.kernels import gaussian_kernel


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return rng.normal(size=(200, 2)), rng.normal(0.8, 0.6, size=(150, 2))


@pytest.fixture
def ratios(pair):
    source, target = pair
    kernels = gaussian_kernel(target, target[:40], 0.5)
    return kernels / gaussian_kernel(source, target[:40], 0.5).mean(axis=0)


@pytest.mark.parametrize("weighted", [False, True])
def test_kliep_optimum_by_its_conditions(ratios, weighted):
    rng = np.random.default_rng(1)
    share = rng.gamma(1.0, size=len(ratios)) if weighted else np.ones(len(ratios))
    share /= share.sum()
    found = kliep_mixture(ratios, share, tol=1e-8)
    assert found.converged
    assert found.mixture.sum() == pytest.approx(1.0)
    assert (found.mixture >= 0).all()
    gradient = share @ (ratios / (ratios @ found.mixture)[:, None])
    used = found.mixture > 1e-6
    np.testing.assert_allclose(gradient[used], 1.0, atol=1e-4)
    assert gradient.max() <= 1 + 2e-8


def test_kliep_is_the_limit_of_expectation_maximisation(ratios):
    mixture = np.full(ratios.shape[1], 1 / ratios.shape[1])
    for _ in range(20_000):
        mixture = mixture * (ratios / (ratios @ mixture)[:, None]).mean(axis=0)
    slow = np.log(ratios @ mixture).mean()
    fast = np.log(ratios @ kliep_mixture(ratios).mixture).mean()
    assert fast >= slow - 1e-9
    assert fast == pytest.approx(slow, abs=1e-3)


def test_kliep_gap_bounds_what_is_missing(ratios):
    best = np.log(ratios @ kliep_mixture(ratios, tol=1e-10).mixture).mean()
    for steps in (1, 2, 5):
        found = kliep_mixture(ratios, max_iter=steps)
        height = np.log(ratios @ found.mixture).mean()
        assert best - height <= found.gap + 1e-9 or steps < 3  # the gap is of the step before
    assert not kliep_mixture(ratios, max_iter=2).converged


def test_kliep_weights_have_mean_one_before_any_scaling(pair):
    source, target = pair
    adapter = KLIEP(flatten=1.0, random_state=0).fit(source, target)
    log_values = adapter._log_values(adapter._rows(Domain(source)))
    assert np.exp(log_values).mean() == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(np.exp(log_values), adapter.weights_, rtol=1e-5)
    assert adapter.gap_ <= 1e-6
    assert adapter.log_likelihood_ > 0.3


def test_kliep_mostly_needs_no_weights_where_nothing_differs():
    rng = np.random.default_rng(2)
    worth, uniform = [], 0
    for _ in range(20):
        adapter = KLIEP(random_state=0).fit(rng.normal(size=(300, 4)), rng.normal(size=(300, 4)))
        worth.append(adapter.effective_sample_size_ / 300)
        if adapter.bandwidth_ == np.inf:
            uniform += 1
            np.testing.assert_allclose(adapter.weights_, 1.0, rtol=1e-12)
    assert uniform >= 8
    assert min(worth) > 0.8


def test_log_likelihood_is_the_divergence_of_the_gaussians():
    """For the true ratio it estimates KL(target, source): here 1/2 (m^2 + s^2 - 1 - log s^2)."""
    rng = np.random.default_rng(3)
    source, target = rng.normal(size=(5000, 1)), rng.normal(1.0, 0.7, size=(5000, 1))
    adapter = KLIEP(random_state=0).fit(source, target)
    assert adapter.log_likelihood_ == pytest.approx(0.5 * (1 + 0.49 - 1 - np.log(0.49)), abs=0.05)


@pytest.mark.parametrize("relative", [0.0, 0.1, 0.7])
def test_leave_one_out_is_brute_force(relative):
    rng = np.random.default_rng(4)
    S, T = rng.random((25, 6)), rng.random((25, 6))
    share = np.full(25, 1 / 25)
    fast = left_out_coefficients(S, T, share, share, 0.05, relative)
    for i in range(25):
        s, t = np.delete(S, i, axis=0), np.delete(T, i, axis=0)
        H = relative * t.T @ t / 24 + (1 - relative) * s.T @ s / 24
        slow = np.linalg.solve(H + 0.05 * np.eye(6), t.mean(axis=0))
        np.testing.assert_allclose(fast[i], slow, rtol=1e-9)


def test_leave_one_out_with_weights_is_brute_force_without_scaling():
    rng = np.random.default_rng(5)
    S, T = rng.random((15, 4)), rng.random((15, 4))
    a, b = (w / w.sum() for w in rng.gamma(1.0, size=(2, 15)))
    fast = left_out_coefficients(S, T, a, b, 0.1, 0.3)
    for i in range(15):
        p, q = a.copy(), b.copy()
        p[i] = q[i] = 0
        H = 0.3 * (T * q[:, None]).T @ T + 0.7 * (S * p[:, None]).T @ S
        slow = np.linalg.solve(H + 0.1 * (14 / 15) * np.eye(4), q @ T)
        np.testing.assert_allclose(fast[i], slow, rtol=1e-9)


def test_non_negative_coefficients_by_their_conditions():
    rng = np.random.default_rng(6)
    A = rng.normal(size=(50, 12))
    H, h = A.T @ A / 50, rng.normal(size=12)
    alpha = non_negative_coefficients(H, h, 0.01)
    gradient = (H + 0.01 * np.eye(12)) @ alpha - h
    assert (alpha >= 0).all()
    assert (alpha == 0).any()
    np.testing.assert_allclose(gradient[alpha > 0], 0, atol=1e-9)
    assert (gradient[alpha == 0] >= -1e-9).all()


def test_non_negative_is_the_linear_solution_where_that_is_non_negative():
    rng = np.random.default_rng(7)
    A = rng.random((50, 5))
    H = A.T @ A / 50
    h = (H + 0.1 * np.eye(5)) @ rng.random(5)
    np.testing.assert_allclose(
        non_negative_coefficients(H, h, 0.1), np.linalg.solve(H + 0.1 * np.eye(5), h), atol=1e-10
    )


@pytest.mark.parametrize("kind", [ULSIF, RULSIF])
def test_blocks_change_nothing(kind, pair, monkeypatch):
    from shiftlab.marginal.weighting import kernel_model, ulsif

    source, target = pair
    whole = kind(random_state=0).fit(source, target).weights_
    monkeypatch.setattr(ulsif, "BLOCK", 7)
    monkeypatch.setattr(kernel_model, "BLOCK", 7)
    np.testing.assert_allclose(kind(random_state=0).fit(source, target).weights_, whole, rtol=1e-9)


def test_relative_ratio_is_estimated_as_such():
    """Before scaling its values stay near the bound 1 / relative and its mean is known."""
    rng = np.random.default_rng(8)
    source, target = rng.normal(size=(3000, 1)), rng.normal(1.5, 0.5, size=(3000, 1))
    adapter = RULSIF(relative=0.5, flatten=1.0, random_state=0).fit(source, target)
    log_p = -((source[:, 0] - 1.5) ** 2) / 0.5 - np.log(0.5)
    ratio = np.exp(log_p + source[:, 0] ** 2 / 2)
    truth = ratio / (0.5 * ratio + 0.5)
    values = np.exp(adapter._log_values(adapter._rows(Domain(source))))
    assert values.max() < 2.2
    assert np.mean((values - truth) ** 2) < 0.02 * np.var(truth)


def test_rulsif_without_a_share_of_the_target_is_ulsif(pair):
    source, target = pair
    np.testing.assert_array_equal(
        RULSIF(relative=0.0, random_state=0).fit(source, target).weights_,
        ULSIF(random_state=0).fit(source, target).weights_,
    )


@pytest.mark.parametrize("kind", [KLIEP, ULSIF, RULSIF])
def test_settings_that_are_given_are_used(kind, pair):
    adapter = kind(bandwidth=0.7, n_centres=9, random_state=0).fit(*pair)
    assert adapter.bandwidth_ == 0.7
    assert adapter.coefficients_.shape == (9,)
