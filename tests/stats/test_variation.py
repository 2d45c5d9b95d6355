"""The interval of a total variation: it covers at every number of classes, and starts at 0."""

import itertools

import numpy as np
import pytest

from shiftlab.stats.variation import (
    covariance_noise,
    multinomial_noise,
    total_variation_interval,
)


def _moved(p, distance):
    """Take from some classes and give to others, in proportion to their shares."""
    sign = np.where(np.arange(p.size) % 2 == 0, 1.0, -1.0)
    up, down = p * (sign > 0), p * (sign < 0)
    return p + distance * (up / up.sum() - down / down.sum())


def _intervals(rng, p, q, n, m, reps):
    for _ in range(reps):
        a, b = rng.multinomial(n, p) / n, rng.multinomial(m, q) / m
        yield total_variation_interval(b - a, *multinomial_noise(a, n, b, m))


@pytest.mark.parametrize("k", [2, 3, 10, 20])
@pytest.mark.parametrize("rows", [(300, 300), (2000, 2000), (2000, 60)])
def test_interval_covers(k, rows):
    rng = np.random.default_rng(k)
    for p in (np.full(k, 1 / k), (1 / np.arange(1.0, k + 1)) / (1 / np.arange(1.0, k + 1)).sum()):
        for distance in (0.0, 0.05, 0.2):
            found = list(_intervals(rng, p, _moved(p, distance), *rows, 150))
            covered = np.mean([i.low <= distance <= i.high for i in found])
            # 95% less three standard errors of 150 draws
            assert covered >= 0.90, (k, rows, distance)
            if distance == 0.0:
                assert np.mean([i.low == 0.0 for i in found]) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("k", [2, 3, 10, 20])
def test_interval_covers_in_many_draws(k):
    rng = np.random.default_rng(100 + k)
    p = np.full(k, 1 / k)
    for n in (300, 2000):
        for distance in (0.0, 0.05, 0.2):
            found = list(_intervals(rng, p, _moved(p, distance), n, n, 2000))
            assert np.mean([i.low <= distance <= i.high for i in found]) >= 0.935


def test_what_chance_gives_is_the_mean_of_the_estimate_at_equal_shares():
    rng = np.random.default_rng(0)
    p = np.array([0.5, 0.3, 0.15, 0.05])
    a, b = (rng.multinomial(500, p, size=4000) / 500 for _ in range(2))
    mean = 0.5 * np.abs(a - b).sum(axis=1).mean()
    noise = multinomial_noise(p, 500, p, 500)
    chance = total_variation_interval(np.zeros(4), *noise).by_chance
    assert chance == pytest.approx(mean, rel=0.02)


def test_spread_is_the_largest_over_all_sets_of_classes():
    rng = np.random.default_rng(1)
    for k in (2, 3, 6):
        p, q = rng.dirichlet(np.ones(k), size=2)
        covariance = sum((np.diag(s) - np.outer(s, s)) / n for s, n in ((p, 300), (q, 80)))
        signs = np.array(list(itertools.product((-0.5, 0.5), repeat=k)))
        largest = np.sqrt(np.einsum("ai,ij,aj->a", signs, covariance, signs).max())
        variance, spread = multinomial_noise(p, 300, q, 80)
        np.testing.assert_allclose(variance, np.diag(covariance))
        np.testing.assert_allclose(covariance_noise(covariance)[0], variance)
        # both are bounds, and not far off
        for bound in (spread, covariance_noise(covariance)[1]):
            assert largest - 1e-12 <= bound <= 1.5 * largest


def test_without_noise_the_interval_is_the_estimate_and_shapes_are_checked():
    assert total_variation_interval([0.2, -0.2], np.zeros(2), 0.0)[:2] == (0.2, 0.2)
    with pytest.raises(ValueError, match="of one size"):
        total_variation_interval([0.2, -0.2], np.zeros(3), 0.1)
