"""Kernels against naive loops and identities."""

import numpy as np
import pytest

from shiftlab.stats.kernels import (
    NystroemMap,
    gaussian_kernel,
    median_distance,
    pooled_spread,
    squared_distances,
)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 3)), rng.normal(size=(7, 3))


def test_distances_and_kernel_are_the_naive_loops(rows):
    X, Y = rows
    distances = np.array([[sum((a - b) ** 2) for b in Y] for a in X])
    np.testing.assert_allclose(squared_distances(X, Y), distances, atol=1e-12)
    np.testing.assert_allclose(gaussian_kernel(X, Y, 0.7), np.exp(-distances / (2 * 0.49)))


def test_distance_to_itself_is_never_negative():
    X = np.full((5, 4), 1e3) + np.arange(5)[:, None] * 1e-9
    assert squared_distances(X, X).min() >= 0


def test_single_precision_stays(rows):
    X, Y = (r.astype(np.float32) for r in rows)
    assert gaussian_kernel(X, Y, 1.0).dtype == np.float32


def test_nystroem_is_exact_where_one_row_is_a_landmark(rows):
    X, landmarks = rows
    phi = NystroemMap(landmarks, 1.3)
    np.testing.assert_allclose(
        phi(X) @ phi(landmarks).T, gaussian_kernel(X, landmarks, 1.3), atol=1e-8
    )


def test_nystroem_takes_repeated_landmarks(rows):
    X, landmarks = rows
    phi = NystroemMap(np.vstack([landmarks, landmarks]), 1.3)
    assert phi.root.shape[1] == len(landmarks)
    np.testing.assert_allclose(phi(X) @ phi(X).T, (p := NystroemMap(landmarks, 1.3)(X)) @ p.T)


def test_median_distance_is_near_the_median_of_all_pairs():
    X = np.random.default_rng(0).normal(size=(300, 5))
    every = np.sqrt(squared_distances(X, X)[np.triu_indices(300, 1)])
    assert median_distance(X, np.random.RandomState(0)) == pytest.approx(np.median(every), rel=0.05)
    assert median_distance(np.ones((4, 2)), np.random.RandomState(0)) == 1.0


def test_spread_ignores_the_shift_and_constant_columns():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5000, 2)), rng.normal(7.0, 3.0, size=(5000, 2))
    a[:, 1] = b[:, 1] = 0.1
    spread = pooled_spread(a, b)
    assert spread[0] == pytest.approx(np.sqrt((1 + 9) / 2), rel=0.05)
    assert spread[1] == 1.0
