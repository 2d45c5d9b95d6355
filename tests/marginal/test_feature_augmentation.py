"""EasyAdapt against its definition and its kernel."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression, Ridge

from shiftlab import Domain, FeatureAugmentation
from shiftlab.marginal.alignment.feature_augmentation import augment

pytestmark = pytest.mark.filterwarnings("ignore:FeatureAugmentation has no labelled")


def test_against_a_naive_construction():
    rng = np.random.default_rng(0)
    X, part = rng.normal(size=(20, 3)), rng.integers(3, size=20)
    expected = []
    for x, k in zip(X, part, strict=True):
        row = [*x]
        for place in range(3):
            row += [*x] if place == k else [0, 0, 0]
        expected.append(row)
    np.testing.assert_array_equal(augment(X, part, 3), expected)
    sparse = augment(sp.csr_matrix(X), part, 3)
    assert sparse.format == "csr"
    np.testing.assert_array_equal(sparse.toarray(), expected)


def test_the_kernel_is_doubled_inside_a_part():
    rng = np.random.default_rng(1)
    X, part = rng.normal(size=(15, 4)), rng.integers(2, size=15)
    augmented = augment(X, part, 2)
    same = part[:, None] == part
    np.testing.assert_allclose(augmented @ augmented.T, (1 + same) * (X @ X.T))


def test_ridge_on_it_is_a_kernel_ridge_with_that_kernel():
    rng = np.random.default_rng(2)
    source, target = rng.normal(size=(30, 3)), rng.normal(size=(12, 3))
    y, y_target = rng.normal(size=30), rng.normal(size=12)
    known = Domain(target, y_target, labelled=np.arange(12) < 5)
    model = FeatureAugmentation(Ridge(alpha=0.7, fit_intercept=False)).fit((source, y), known)
    X, part = np.vstack([source, target[:5]]), np.repeat([0, 1], [30, 5])
    K = (1 + (part[:, None] == part)) * (X @ X.T)
    dual = np.linalg.solve(K + 0.7 * np.eye(35), np.concatenate([y, y_target[:5]]))
    expected = (1 + (part == 1)) * (target @ X.T) @ dual
    np.testing.assert_allclose(model.predict(target), expected, atol=1e-8)


def test_several_sources_have_a_place_each_and_keep_their_weights():
    rng = np.random.default_rng(3)
    a = Domain(rng.normal(size=(4, 2)), [0, 1, 0, 1], name="shop", weight=[1, 2, 3, 4])
    b = Domain(rng.normal(size=(3, 2)), [0, 1, 1], name="mill")
    target = Domain(rng.normal(size=(5, 2)), [0, 1, 0, 1, 0], labelled=np.isin(range(5), [0, 4]))
    adapter = FeatureAugmentation().fit([a, b], target)
    assert adapter.parts_ == ("mill", "shop")
    source = adapter.source_
    zero = [np.zeros_like(d.X) for d in (a, b, target.take([0, 4]))]
    expected = np.vstack(
        [
            np.hstack([a.X, zero[0], a.X, zero[0]]),
            np.hstack([b.X, b.X, zero[1], zero[1]]),
            np.hstack([target.X[[0, 4]], zero[2], zero[2], target.X[[0, 4]]]),
        ]
    )
    np.testing.assert_array_equal(source.X, expected)
    assert source.weight.tolist() == [1, 2, 3, 4, 1, 1, 1, 1, 1]
    assert source.y.tolist() == [0, 1, 0, 1, 0, 1, 1, 0, 0]


def test_frames_name_every_copy():
    for library in (pd, pl):
        source = library.DataFrame({"x": [1.0, 2.0], "z": [0.5, 0.0]})
        adapter = FeatureAugmentation().fit((source, [0, 1]), Domain(source, [0, 1]))
        names = ["common:x", "common:z", "source:x", "source:z", "target:x", "target:z"]
        assert list(adapter.source_.X.columns) == names
        assert isinstance(adapter.transform(source), library.DataFrame)
        np.testing.assert_array_equal(
            adapter.transform(source).to_numpy()[0], [1, 0.5, 0, 0, 1, 0.5]
        )


def test_it_helps_where_a_column_changed_its_sign_and_few_labels_are_known():
    gains = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        source, target = rng.normal(size=(500, 5)), rng.normal(size=(540, 5))
        y = (source.sum(1) > 0).astype(int)
        y_target = (target @ [-1, 1, 1, 1, 1] > 0).astype(int)
        known, rest = Domain(target, y_target, labelled=np.arange(540) < 40), slice(40, None)
        ours = FeatureAugmentation(LogisticRegression()).fit((source, y), known)
        alone = LogisticRegression().fit(source, y)
        gains.append(
            ours.score(target[rest], y_target[rest]) - alone.score(target[rest], y_target[rest])
        )
    assert np.mean(gains) > 0.15


def test_no_labelled_target_row_is_said():
    X, y = np.eye(4), [0, 1, 0, 1]
    with pytest.warns(UserWarning, match="no labelled target row"):
        FeatureAugmentation().fit((X, y), X)


def test_without_target_labels_one_source_predicts_as_a_model_of_its_own():
    """Both copies hold the same, so inner products double: the penalty is halved, and no more."""
    rng = np.random.default_rng(11)
    X, Xt = rng.normal(size=(80, 3)), rng.normal(1.0, 1.0, size=(50, 3))
    y = (X @ [1.0, -1.0, 0.5] + rng.normal(size=80) > 0).astype(int)
    with pytest.warns(UserWarning, match="no labelled target row"):
        adapter = FeatureAugmentation(LogisticRegression(C=0.5, tol=1e-10)).fit((X, y), Xt)
    alone = LogisticRegression(C=1.0, tol=1e-10).fit(X, y)
    np.testing.assert_allclose(
        adapter.predict_proba(Xt), alone.predict_proba(Xt), rtol=1e-4, atol=1e-6
    )


def test_without_target_labels_several_sources_are_averaged():
    rng = np.random.default_rng(12)
    first, second = rng.normal(size=(30, 2)), rng.normal(size=(40, 2))
    Xt = rng.normal(size=(10, 2))
    with pytest.warns(UserWarning, match="no labelled target row"):
        adapter = FeatureAugmentation().fit([(first, np.ones(30)), (second, np.zeros(40))], Xt)
    expected = np.hstack([Xt, Xt / 2, Xt / 2, np.zeros_like(Xt)])
    np.testing.assert_allclose(adapter.transform(Xt), expected)
