"""The Monge map between Gaussians against its closed forms and against exact transport."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.linear_model import LogisticRegression

from shiftlab import CORAL, LinearTransport, OptimalTransport
from shiftlab.marginal.alignment.linear_transport import monge_map


def covariance(rng, d):
    root = rng.normal(size=(d, d))
    return root @ root.T


@pytest.mark.parametrize("seed", range(5))
def test_monge_map_is_symmetric_positive_and_transports_the_covariance(seed):
    rng = np.random.default_rng(seed)
    source, target = covariance(rng, 4), covariance(rng, 4)
    A = monge_map(source, target)
    np.testing.assert_array_equal(A, A.T)
    assert np.linalg.eigvalsh(A).min() > 0
    np.testing.assert_allclose(A @ source @ A.T, target, atol=1e-9)
    root = sqrtm(source).real
    inverse = np.linalg.inv(root)
    expected = inverse @ sqrtm(root @ target @ root).real @ inverse
    np.testing.assert_allclose(A, expected, atol=1e-8)


def test_one_column_and_commuting_covariances():
    assert monge_map(np.array([[4.0]]), np.array([[9.0]])).item() == pytest.approx(1.5)
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    a, b = np.array([1.0, 4.0, 9.0]), np.array([25.0, 1.0, 0.25])
    A = monge_map((basis * a) @ basis.T, (basis * b) @ basis.T)
    np.testing.assert_allclose(A, (basis * np.sqrt(b / a)) @ basis.T, atol=1e-12)


def test_it_moves_rows_less_than_coral():
    """Of all linear maps with A C_S A' = C_T the Monge map costs least."""
    rng = np.random.default_rng(1)
    source, target = rng.normal(size=(400, 3)), rng.normal(size=(400, 3)) @ rng.normal(size=(3, 3))
    unit = np.sqrt((source.var(0) + target.var(0)) / 2)
    costs = [
        np.square((kind(shrinkage=0.0).fit(source, target).source_.X - source) / unit).sum()
        for kind in (LinearTransport, CORAL)
    ]
    assert costs[0] < costs[1]


@pytest.mark.parametrize("center", [False, True])
def test_moments_become_the_targets(center):
    rng = np.random.default_rng(2)
    source, target = (
        rng.normal(size=(60, 4)) + 3,
        rng.normal(size=(90, 4)) @ rng.normal(size=(4, 4)),
    )
    moved = LinearTransport(center=center, shrinkage=0.0).fit(source, target).source_.X
    np.testing.assert_allclose(np.cov(moved.T), np.cov(target.T), atol=1e-9)
    mean = target.mean(0) if center else source.mean(0)
    np.testing.assert_allclose(moved.mean(0), mean, atol=1e-10)


def test_exact_transport_of_gaussian_samples_comes_near_it():
    errors = []
    for n in (100, 1600):
        rng = np.random.default_rng(3)
        source = rng.normal(size=(n, 2))
        target = rng.normal(size=(n, 2)) @ np.array([[1.5, 0.0], [0.6, 0.7]]) + [2, -1]
        linear = LinearTransport(center=True, shrinkage=0.0).fit(source, target).source_.X
        exact = OptimalTransport(method="exact").fit(source, target).source_.X
        errors.append(np.square(linear - exact).mean() / target.var(0).mean())
    assert errors[1] < 0.03
    assert errors[1] < errors[0] / 2


def test_fewer_rows_than_columns_is_finite():
    rng = np.random.default_rng(4)
    source, target = rng.normal(size=(10, 60)), 3 * rng.normal(size=(12, 60))
    for shrinkage in ("auto", 0.0):
        adapter = LinearTransport(shrinkage=shrinkage).fit(source, target)
        assert np.isfinite(adapter.source_.X).all()
    assert LinearTransport().fit(source, target).source_shrinkage_ > 0.5


def test_centring_harms_a_real_shift_of_the_mean():
    rng = np.random.default_rng(7)
    source, target = rng.normal(size=(500, 5)), 0.8 * rng.normal(size=(500, 5))
    target[:, 0] += 1
    truth = [(x[:, 0] + 0.5 * x[:, 1] > 0).astype(int) for x in (source, target)]
    kept, moved = (
        LinearTransport(LogisticRegression(), center=c)
        .fit((source, truth[0]), target)
        .score(target, truth[1])
        for c in (False, True)
    )
    assert kept > 0.97
    assert moved < kept - 0.2


def test_messages_name_this_adapter():
    with pytest.raises(ValueError, match="LinearTransport needs at least 2 rows"):
        LinearTransport().fit(np.ones((1, 2)), np.ones((5, 2)))
