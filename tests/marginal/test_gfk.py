"""The geodesic flow kernel against its integral, and its dimension against the measure."""

import numpy as np
import pytest
from scipy.integrate import quad_vec
from scipy.linalg import expm, orth, subspace_angles

from shiftlab import GFK
from shiftlab.marginal.alignment.gfk import geodesic_flow_map, subspace_disagreement


def flow_by_quadrature(first, last):
    """The geodesic by the exponential of the Grassmann manifold's tangent, then quadrature."""
    d, k = first.shape
    basis, _ = np.linalg.qr(first, mode="complete")
    basis[:, :k] = first
    # the target in the frame [first, complement]; the tangent B with exp([0, -B'; B, 0])
    inside, outside = first.T @ last, basis[:, k:].T @ last
    U, tangents, Vt = np.linalg.svd(outside @ np.linalg.inv(inside), full_matrices=False)
    B = U * np.arctan(tangents) @ Vt
    skew = np.block([[np.zeros((k, k)), -B.T], [B, np.zeros((d - k, d - k))]])

    def at(t):
        path = basis @ expm(t * skew)[:, :k]
        return path @ path.T

    np.testing.assert_allclose(at(1.0), last @ last.T, atol=1e-8)
    return quad_vec(at, 0, 1, epsabs=1e-10)[0]


@pytest.mark.parametrize(("d", "k"), [(8, 3), (5, 3), (4, 1)])
def test_kernel_is_the_integral_along_the_geodesic(d, k):
    rng = np.random.default_rng(d)
    first, last = (orth(rng.normal(size=(d, k))) for _ in range(2))
    flow = geodesic_flow_map(first, last)
    np.testing.assert_allclose(flow @ flow.T, flow_by_quadrature(first, last), atol=1e-8)
    assert flow.shape[1] <= min(2 * k, k + d)


def test_known_angles_in_the_plane():
    """For two lines at angle a, G is diagonal in the half-way line and its normal."""
    a = 0.7
    flow = geodesic_flow_map(np.array([[1.0], [0.0]]), np.array([[np.cos(a)], [np.sin(a)]]))
    values = np.linalg.eigvalsh(flow @ flow.T)
    np.testing.assert_allclose(values, [(1 - np.sin(a) / a) / 2, (1 + np.sin(a) / a) / 2])
    middle = np.array([np.cos(a / 2), np.sin(a / 2)])
    np.testing.assert_allclose(middle @ flow @ flow.T @ middle, values[1])


def test_equal_orthogonal_and_full_subspaces():
    eye = np.eye(4)
    np.testing.assert_allclose(geodesic_flow_map(eye[:, :2], eye[:, :2]), eye[:, :2])
    flow = geodesic_flow_map(eye[:, :1], eye[:, 1:2])
    G = np.zeros((4, 4))
    G[:2, :2] = [[1 / 2, 1 / np.pi], [1 / np.pi, 1 / 2]]
    np.testing.assert_allclose(flow @ flow.T, G, atol=1e-12)
    turn = orth(np.random.default_rng(0).normal(size=(4, 4)))
    flow = geodesic_flow_map(eye, turn)
    np.testing.assert_allclose(flow @ flow.T, eye, atol=1e-7)


def test_disagreement_is_half_the_sum_of_sines():
    rng = np.random.default_rng(1)
    source, target, both = (orth(rng.normal(size=(9, 4))) for _ in range(3))
    expected = [
        np.mean([np.sin(subspace_angles(a[:, :k], both[:, :k]).max()) for a in (source, target)])
        for k in (1, 2, 3, 4)
    ]
    found = subspace_disagreement(source, target, both)
    np.testing.assert_allclose(found, expected[: len(found)], atol=1e-7)


def test_dimension_stops_at_the_axis_that_the_other_side_lacks():
    rng = np.random.default_rng(2)
    spread = np.array([9.0, 6.0, 3.0, 0.5, 0.4, 0.3])
    source = rng.normal(size=(4000, 6)) * spread
    target = rng.normal(size=(4000, 6)) * spread[[0, 1, 3, 2, 4, 5]]
    adapter = GFK(scale=False).fit(source, target)
    # The axes of both together agree with one side at most in the third.
    assert adapter.disagreement_[1] < 0.1
    assert adapter.n_components_ >= 3
    same = GFK(scale=False).fit(source, rng.normal(size=(4000, 6)) * spread)
    assert same.n_components_ == 6
    assert (same.disagreement_ < 0.5).all()


def test_mapped_rows_have_the_kernels_inner_products():
    rng = np.random.default_rng(3)
    source, target = rng.normal(size=(40, 7)), rng.normal(size=(50, 7)) + 1
    adapter = GFK(n_components=2, scale=False).fit(source, target)
    G = adapter.flow_ @ adapter.flow_.T
    centred = [X - adapter.mean_ for X in (source, target)]
    np.testing.assert_allclose(
        adapter.source_.X @ adapter.transform(target).T, centred[0] @ G @ centred[1].T, atol=1e-10
    )
    assert adapter.disagreement_ is None


def test_more_columns_than_rows():
    rng = np.random.default_rng(4)
    source, target = rng.normal(size=(12, 90)), rng.normal(size=(30, 90))
    adapter = GFK().fit(source, target)
    assert np.isfinite(adapter.source_.X).all()
    assert adapter.n_components_ <= 11
    with pytest.raises(ValueError, match=r"n_components=12.*only 11"):
        GFK(n_components=12).fit(source, target)
