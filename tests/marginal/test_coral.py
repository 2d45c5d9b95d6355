"""CORAL against its defining identity and closed forms."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from scipy.linalg import sqrtm
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression

from shiftlab import CORAL, Domain
from shiftlab.marginal.alignment.coral import coral_map
from shiftlab.stats.covariance import shrunk_covariance


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4)) + 3
    target = rng.normal(size=(90, 4)) @ rng.normal(size=(4, 4)) - 1
    return source, target


@pytest.mark.parametrize("center", [False, True])
def test_covariance_becomes_the_targets_exactly(pair, center):
    source, target = pair
    adapter = CORAL(center=center, shrinkage=0.0).fit(source, target)
    moved = adapter.source_.X
    np.testing.assert_allclose(np.cov(moved.T), np.cov(target.T), rtol=1e-9, atol=1e-9)
    mean = target.mean(0) if center else source.mean(0)
    np.testing.assert_allclose(moved.mean(0), mean, atol=1e-10)
    assert adapter.transform(target) is target


def test_weighted_covariance_becomes_the_weighted_target(pair):
    source, target = pair
    rng = np.random.default_rng(1)
    a, b = rng.gamma(1.0, size=60), rng.gamma(1.0, size=90)
    adapter = CORAL(shrinkage=0.0).fit(Domain(source, weight=a), Domain(target, weight=b))
    np.testing.assert_allclose(
        np.cov(adapter.source_.X.T, aweights=a), np.cov(target.T, aweights=b), rtol=1e-8, atol=1e-9
    )
    np.testing.assert_array_equal(adapter.source_.weight, a)


def test_map_is_the_product_of_matrix_roots(pair):
    first, second = (np.cov(x.T) for x in pair)
    expected = np.linalg.inv(sqrtm(first)) @ sqrtm(second)
    np.testing.assert_allclose(coral_map(first, second), expected.real, atol=1e-10)


def test_shrinkage_is_ledoit_wolf(pair):
    X = pair[0]
    mean, covariance, amount = shrunk_covariance(X)
    expected, expected_amount = ledoit_wolf(X)
    assert amount == pytest.approx(expected_amount, rel=1e-10)
    # sklearn divides by n, this by n - 1
    np.testing.assert_allclose(covariance * (len(X) - 1) / len(X), expected, rtol=1e-10)
    np.testing.assert_allclose(mean, X.mean(0))


def test_integer_weights_equal_repeated_rows_in_the_scatter(pair):
    X = pair[0]
    repeats = np.random.default_rng(2).integers(1, 4, size=len(X))
    weighted = shrunk_covariance(X, repeats.astype(float), 0.0)
    repeated = shrunk_covariance(np.repeat(X, repeats, axis=0), None, 0.0)
    np.testing.assert_allclose(weighted[0], repeated[0])
    ratio = weighted[1] / repeated[1]
    np.testing.assert_allclose(ratio, ratio[0, 0])


def test_units_of_columns_do_not_matter(pair):
    source, target = pair
    scale = np.array([1e-6, 1.0, 1e3, 7.0])
    plain = CORAL().fit(source, target).source_.X
    scaled = CORAL().fit(source * scale, target * scale).source_.X
    np.testing.assert_allclose(scaled, plain * scale, rtol=1e-7)


def test_singular_source_matches_where_it_varies():
    rng = np.random.default_rng(3)
    basis = rng.normal(size=(2, 5))
    source, target = rng.normal(size=(30, 2)) @ basis, 3 * rng.normal(size=(30, 2)) @ basis
    moved = CORAL(shrinkage=0.0).fit(source, target).source_.X
    np.testing.assert_allclose(np.cov(moved.T), np.cov(target.T), atol=1e-8)


def test_more_columns_than_rows_stays_finite():
    rng = np.random.default_rng(4)
    adapter = CORAL().fit(rng.normal(size=(10, 50)), 2 * rng.normal(size=(12, 50)))
    assert np.isfinite(adapter.source_.X).all()
    assert adapter.source_shrinkage_ > 0.5


def test_constant_column_stays():
    rng = np.random.default_rng(5)
    source = np.column_stack([rng.normal(size=20), np.full(20, 7.0)])
    moved = CORAL().fit(source, 2 * source).source_.X
    assert np.isfinite(moved).all()


def test_undoes_a_scaling_that_hurt():
    rng = np.random.default_rng(6)
    X, scale = rng.normal(size=(400, 2)), np.array([1.0, 20.0])
    label = X.sum(1) > 0
    plain = LogisticRegression().fit(X, label).score(X * scale, label)
    aligned = CORAL(LogisticRegression()).fit((X, label), X * scale).score(X * scale, label)
    assert plain < 0.85
    assert aligned > plain + 0.1


def test_centring_harms_a_real_shift_of_the_mean():
    rng = np.random.default_rng(7)
    source, target = rng.normal(size=(500, 5)), 0.8 * rng.normal(size=(500, 5))
    target[:, 0] += 1
    truth = [(x[:, 0] + 0.5 * x[:, 1] > 0).astype(int) for x in (source, target)]
    kept, moved = (
        CORAL(LogisticRegression(), center=c)
        .fit((source, truth[0]), target)
        .score(target, truth[1])
        for c in (False, True)
    )
    assert kept > 0.97
    assert moved < kept - 0.2


def test_kinds_of_rows(pair):
    source, target = pair
    dense = CORAL().fit(source, target).source_.X
    assert CORAL().fit(source.astype(np.float32), target).source_.X.dtype == np.float32
    sparse = CORAL().fit(sp.csr_matrix(source), sp.csr_matrix(target))
    np.testing.assert_allclose(sparse.source_.X, dense)
    np.testing.assert_allclose(sparse.transform(sp.csr_matrix(target)), target)
    for library in (pd, pl):
        a = library.DataFrame(dict(zip("abcd", source.T, strict=True)))
        b = library.DataFrame(dict(zip("abcd", target.T, strict=True)))
        adapter = CORAL().fit(a, b)
        assert isinstance(adapter.source_.X, library.DataFrame)
        np.testing.assert_allclose(adapter.source_.X.to_numpy(), dense)
        assert adapter.source_.feature_names == ("a", "b", "c", "d")


def test_images_become_rows():
    images = np.random.default_rng(8).integers(0, 256, size=(20, 3, 3), dtype=np.uint8)
    adapter = CORAL(shrinkage=0.0).fit(images, images)
    np.testing.assert_allclose(adapter.source_.X, images.reshape(20, 9) / 255, atol=1e-5)
    assert adapter.transform(images).shape == (20, 9)


def test_one_row_has_no_covariance():
    with pytest.raises(ValueError, match=r"at least 2 rows on each side.*source has 1"):
        CORAL().fit(np.ones((1, 2)), np.ones((5, 2)))
