"""Ranks against a naive count, critical differences against the published table."""

import numpy as np
import pytest

from shiftlab.stats.ranks import cliques, critical_difference, mean_ranks


def test_ranks_are_the_naive_count():
    scores = np.random.default_rng(0).integers(0, 5, size=(12, 6)) / 5
    naive = [
        np.mean([1 + np.sum(row > row[j]) + (np.sum(row == row[j]) - 1) / 2 for row in scores])
        for j in range(6)
    ]
    assert mean_ranks(scores) == pytest.approx(naive)
    assert mean_ranks(scores).sum() == pytest.approx(21)


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_critical_differences_are_those_of_the_published_table(k, q):
    """Demsar (2006), table 5(a), alpha = 0.05."""
    assert critical_difference(k, 7) == pytest.approx(q * np.sqrt(k * (k + 1) / 42), rel=5e-4)


def test_few_false_differences_among_equal_methods():
    rng = np.random.default_rng(0)
    difference = critical_difference(5, 20)
    found = [np.ptp(mean_ranks(rng.normal(size=(20, 5)))) >= difference for _ in range(500)]
    assert np.mean(found) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 500)


def test_cliques_are_all_largest_runs():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = np.sort(rng.uniform(1, 8, size=7))
        runs = {(i, j) for i in range(7) for j in range(i + 1, 7) if values[j] - values[i] < 1.5}
        largest = {
            r for r in runs if not any(s != r and s[0] <= r[0] and r[1] <= s[1] for s in runs)
        }
        assert set(cliques(values, 1.5)) == largest
