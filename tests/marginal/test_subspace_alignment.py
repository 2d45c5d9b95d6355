"""Subspace alignment and principal axes against their identities."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from shiftlab import Domain, SubspaceAlignment
from shiftlab.marginal.alignment.subspaces import principal_axes


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)) + 3
    target = rng.normal(size=(90, 5)) @ rng.normal(size=(5, 5)) - 1
    return source, target


@pytest.mark.parametrize("shape", [(60, 5), (8, 30)], ids=["tall", "wide"])
def test_axes_are_those_of_pca(shape):
    X = np.random.default_rng(1).normal(size=shape) * np.arange(1, shape[1] + 1) + 7
    axes = principal_axes(X, np.ones(len(X)), "test")
    expected = PCA().fit(X).components_[: axes.shape[1]].T
    assert axes.shape[1] == min(shape[1], len(X) - 1)
    np.testing.assert_allclose(np.abs(np.sum(axes * expected, axis=0)), 1, atol=1e-9)
    np.testing.assert_allclose(axes.T @ axes, np.eye(axes.shape[1]), atol=1e-9)


def test_integer_weights_are_repeated_rows(pair):
    X = pair[0]
    repeats = np.random.default_rng(2).integers(1, 4, size=len(X))
    weighted = principal_axes(X, repeats.astype(float), "test")
    repeated = principal_axes(np.repeat(X, repeats, axis=0), np.ones(repeats.sum()), "test")
    np.testing.assert_allclose(np.abs(np.sum(weighted * repeated, axis=0)), 1, atol=1e-9)


@pytest.mark.parametrize("center", [False, True])
def test_the_map_is_the_papers(pair, center):
    source, target = pair
    adapter = SubspaceAlignment(n_components=3, center=center, scale=False).fit(source, target)
    P_source, P_target = (PCA(3).fit(X).components_.T for X in pair)
    mean = np.vstack(pair).mean(axis=0)
    shifts = (source.mean(0), target.mean(0)) if center else (mean, mean)
    mapped = (source - shifts[0]) @ P_source @ P_source.T @ P_target
    signs = np.sign(np.sum(adapter.target_axes_ * P_target, axis=0))
    np.testing.assert_allclose(adapter.source_.X * signs, mapped, atol=1e-9)
    np.testing.assert_allclose(
        adapter.transform(target) * signs, (target - shifts[1]) @ P_target, atol=1e-9
    )
    # M is the least-squares solution of P_S M = P_T
    M, *_ = np.linalg.lstsq(adapter.source_axes_, adapter.target_axes_, rcond=None)
    np.testing.assert_allclose(adapter.alignment_, M, atol=1e-10)


def test_equal_samples_need_no_turn(pair):
    X = pair[0]
    adapter = SubspaceAlignment(n_components=3).fit(X, X)
    np.testing.assert_allclose(adapter.alignment_, np.eye(3), atol=1e-10)
    np.testing.assert_allclose(adapter.source_.X, adapter.transform(X), atol=1e-10)


def test_with_all_axes_around_one_mean_both_sides_are_turned_alike(pair):
    source, target = pair
    adapter = SubspaceAlignment(scale=False).fit(source, target)
    mean = np.vstack(pair).mean(axis=0)
    both = np.vstack([adapter.source_.X, adapter.transform(target)])
    np.testing.assert_allclose(both @ adapter.target_axes_.T, np.vstack(pair) - mean, atol=1e-9)


def test_units_of_columns_do_not_matter(pair):
    source, target = pair
    scale = np.array([1e-6, 1.0, 1e3, 7.0, 1e4])
    plain = SubspaceAlignment(n_components=2).fit(source, target)
    scaled = SubspaceAlignment(n_components=2).fit(source * scale, target * scale)
    np.testing.assert_allclose(scaled.source_.X, plain.source_.X, rtol=1e-6, atol=1e-9)


def test_default_fits_small_samples_and_asking_for_more_says_so():
    rng = np.random.default_rng(3)
    source, target = rng.normal(size=(9, 50)), rng.normal(size=(70, 50))
    assert SubspaceAlignment().fit(source, target).n_components_ == 8
    with pytest.raises(ValueError, match=r"n_components=9.*only 8"):
        SubspaceAlignment(n_components=9).fit(source, target)
    with pytest.raises(ValueError, match=r"at least 2 on each side.*the source has 1"):
        SubspaceAlignment().fit(source[:1], target)


def test_rows_of_any_kind_come_out_as_an_array(pair):
    source, target = pair
    dense = SubspaceAlignment(n_components=2).fit(source, target)
    for kind in (sp.csr_matrix, lambda X: pd.DataFrame(X, columns=list("abcde"))):
        adapter = SubspaceAlignment(n_components=2).fit(kind(source), kind(target))
        np.testing.assert_allclose(adapter.source_.X, dense.source_.X)
        np.testing.assert_allclose(adapter.transform(kind(target)), dense.transform(target))
    weighted = SubspaceAlignment(n_components=2).fit(
        Domain(source, weight=np.full(60, 3.0)), target
    )
    np.testing.assert_allclose(weighted.source_.X, dense.source_.X)


def test_centring_harms_a_real_shift_of_the_mean():
    rng = np.random.default_rng(7)
    source, target = rng.normal(size=(500, 5)), 0.8 * rng.normal(size=(500, 5))
    target[:, 0] += 1
    truth = [(x[:, 0] + 0.5 * x[:, 1] > 0).astype(int) for x in (source, target)]
    kept, moved = (
        SubspaceAlignment(LogisticRegression(), center=c)
        .fit((source, truth[0]), target)
        .score(target, truth[1])
        for c in (False, True)
    )
    assert kept > 0.97
    assert moved < kept - 0.2
