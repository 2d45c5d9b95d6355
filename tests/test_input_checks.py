import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import shiftlab
from shiftlab import CORAL, Domain
from shiftlab.supervised import fit_estimator, weight_keyword
from shiftlab.validation import (
    available_memory,
    check_columns,
    check_memory,
    flatten_images,
    numeric_rows,
    read_source,
)


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (Ridge(), "sample_weight"),
        (KNeighborsClassifier(), None),
        (make_pipeline(PCA(), Ridge()), "ridge__sample_weight"),
        (make_pipeline(PCA(), KNeighborsClassifier()), None),
        (GridSearchCV(LogisticRegression(), {"C": [1]}), "sample_weight"),
        (GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1]}), None),
        (CalibratedClassifierCV(LogisticRegression()), "sample_weight"),
        (CalibratedClassifierCV(KNeighborsClassifier()), None),
        (BaggingClassifier(KNeighborsClassifier()), None),
        (
            make_pipeline(StandardScaler(), GridSearchCV(Ridge(), {"alpha": [1]})),
            "gridsearchcv__sample_weight",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_weights_find_their_way_or_are_known_to_have_none(estimator, expected):
    assert weight_keyword(estimator) == expected


@pytest.mark.parametrize(
    "estimator",
    [
        Ridge(),
        make_pipeline(StandardScaler(), Ridge()),
        GridSearchCV(Ridge(), {"alpha": [1.0]}, cv=2),
    ],
    ids=["plain", "pipeline", "search"],
)
def test_weights_change_the_fit(estimator):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    y = X[:, 0] ** 2
    plain = fit_estimator(estimator, Domain(X, y))
    weighted = fit_estimator(estimator, Domain(X, y, weight=np.where(X[:, 0] > 0, 9.0, 0.1)))
    assert np.abs(plain.predict(X) - weighted.predict(X)).max() > 0.1


def test_only_labelled_rows_are_trained_on():
    X = np.arange(20.0).reshape(10, 2)
    labelled = np.arange(10) < 6
    y = np.arange(10.0)
    fitted = fit_estimator(Ridge(), Domain(X, y, labelled=labelled))
    assert_allclose(fitted.coef_, Ridge().fit(X[:6], y[:6]).coef_)


def test_a_list_is_several_sources_or_the_rows_of_one():
    X = np.arange(8.0).reshape(4, 2)
    assert read_source([(X, [0, 1, 0, 1]), (X, [1, 1, 0, 0])]).group.tolist() == [0] * 4 + [1] * 4
    assert read_source([pd.DataFrame(X), pd.DataFrame(X)]).n_rows == 8
    assert read_source(X.tolist()).shape == (4, 2)


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_numbers_of_a_frame(library):
    frame = library({"a": [1, 2, 3], "b": [0.5, None, 2.0], "c": [True, False, True]})
    rows = numeric_rows(Domain(frame), "here", missing=True)
    assert_array_equal(rows, [[1, 0.5, 1], [2, np.nan, 0], [3, 2, 1]])
    with pytest.raises(ValueError, match="here: X contains NaN in 'b'; impute first"):
        numeric_rows(Domain(frame), "here")
    with pytest.raises(ValueError, match="columns 'city' of X hold no numbers; encode"):
        numeric_rows(Domain(library({"city": ["Ulm", "Rom"], "a": [1, 2]})), "here")


def test_integer_column_names():
    frame = pd.DataFrame(np.arange(6.0).reshape(3, 2))
    assert_array_equal(numeric_rows(Domain(frame), "here"), frame.to_numpy())


def test_rows_stay_what_they_are_where_they_can():
    X = np.ones((3, 2), dtype=np.float32)
    assert numeric_rows(Domain(X), "here") is X
    csr = sp.csr_matrix(X)
    assert numeric_rows(Domain(csr), "here", sparse=True) is csr
    assert_array_equal(numeric_rows(Domain(csr), "here"), X)
    assert numeric_rows(Domain(np.ones((3, 2), dtype=int)), "here").dtype == np.float64


def test_a_sum_that_overflows_is_not_taken_for_infinity():
    X = np.full((4, 1), 1e308)
    assert numeric_rows(Domain(X), "here") is X
    X = np.full((4, 1), 3e38, dtype=np.float32)
    assert numeric_rows(Domain(X), "here") is X


def test_images_become_rows_in_zero_to_one():
    images = np.array([[[0, 255], [51, 102]]], dtype=np.uint8)
    assert_allclose(flatten_images(images), [[0, 1, 0.2, 0.4]])


@pytest.mark.parametrize(
    ("got", "message"),
    [
        (pd.DataFrame({"a": [1.0], "c": [1.0]}), "lacks columns 'b' and has 'c'"),
        (pd.DataFrame({"b": [1.0], "a": [1.0]}), "in another order"),
        (np.ones((1, 2)), "is a data frame but target is an array"),
    ],
)
def test_columns_that_differ_are_named(got, message):
    expected = Domain(pd.DataFrame({"a": [1.0], "b": [1.0]}), name="shop")
    with pytest.raises(ValueError, match=message):
        check_columns(expected, Domain(got), "CORAL")


def test_a_column_that_may_be_the_label_is_pointed_out():
    source = pd.DataFrame({"a": [1.0, 2.0], "bought": [0, 1]})
    with pytest.raises(ValueError, match=r"Domain.of\(source, label='bought'\)"):
        CORAL().fit(source, source[["a"]])


def test_labels_in_the_place_of_the_target_are_noticed():
    X, y = np.arange(12.0).reshape(6, 2), [0, 1, 0, 1, 0, 1]
    with pytest.raises(ValueError, match=r"did you mean fit\(\(X, y\), target\)"):
        CORAL(LogisticRegression()).fit(X, y)
    with pytest.raises(ValueError, match=r"did you mean fit\(\(X, y\), target\)"):
        CORAL(LogisticRegression()).fit(X, np.array(["a", "b"] * 3))


def test_images_of_another_size_are_named():
    small, large = np.zeros((2, 8, 8), np.uint8), np.zeros((2, 9, 9), np.uint8)
    with pytest.raises(ValueError, match=r"\(8, 8\) but those of target \(9, 9\)"):
        CORAL().fit(small, large)


def test_memory_is_asked_for_before_it_is_taken():
    assert 1e6 < available_memory() < 1e15
    check_memory(1.0, "a byte")
    with pytest.raises(MemoryError, match=r"the map needs about 1000000000\.0 GB, and"):
        check_memory(1e18, "the map")
    wide = sp.csr_matrix((200_000, 10_000_000))
    with pytest.raises(MemoryError, match=r"CORAL on 10000000 columns .* needs about"):
        CORAL().fit(wide, wide)


@pytest.mark.parametrize("kind", ["KMM", "KLIEP", "CORAL", "LinearTransport", "TCA"])
def test_values_whose_squares_overflow_are_refused(kind):
    adapter = getattr(shiftlab, kind)()
    X = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match="above 1e\\+150"):
        adapter.fit(1e200 * X, X)


@pytest.mark.parametrize("kind", ["KMM", "ULSIF", "GaussianWeighting", "CORAL"])
def test_one_row_with_weight_is_one_row(kind):
    X = np.random.default_rng(0).normal(size=(20, 2))
    weight = np.zeros(20)
    weight[3] = 1.0
    with pytest.raises(ValueError, match="2 rows with weight on each side; the source has 1"):
        getattr(shiftlab, kind)().fit(shiftlab.Domain(X, weight=weight), X)
