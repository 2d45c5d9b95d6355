"""Permutation importance: closed forms, planted columns, columns that belong together."""

import time

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from shiftlab.diagnosis.columns import Column
from shiftlab.diagnosis.findings import FeatureShift
from shiftlab.diagnosis.importance import (
    add_importance,
    domain_importance,
    most_different,
    score_drop,
    task_importance,
)
from shiftlab.diagnosis.sample import encode
from shiftlab.stats import BlendedClassifier, BlendedRegressor


def test_drop_of_a_known_linear_score_is_twice_the_variance_of_the_part():
    # E(y - f(x'))^2 with x' shuffled is 2 b^2 var(x)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 3))
    slope = np.array([1.0, 0.5, 0.0])
    y = X @ slope
    drop = score_drop(lambda Z: -np.mean((y - Z @ slope) ** 2), X, [0, 1, 2], 3, rng, repeats=20)
    np.testing.assert_allclose(drop, 2 * slope**2, rtol=0.06)
    assert drop[2] == 0.0


def test_matrix_columns_of_one_column_are_shuffled_together_and_the_rest_stays():
    rng = np.random.default_rng(1)
    X = np.column_stack([np.arange(50.0), np.arange(50.0), rng.normal(size=50)])
    seen = []

    def score(Z):
        seen.append(Z.copy())
        return 0.0

    drop = score_drop(score, X, [1, 1, 3], 5, rng, repeats=2, only=[0, 1, 2])
    assert len(seen) == 3  # once as it is, column 1 twice; column 3 was not asked for
    for Z in seen[1:]:
        np.testing.assert_array_equal(Z[:, 0], Z[:, 1])
        assert sorted(Z[:, 0]) == X[:, 0].tolist()
        assert not np.array_equal(Z[:, 0], X[:, 0])
        np.testing.assert_array_equal(Z[:, 2], X[:, 2])
    assert drop[:3].tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(drop[3:]).all()
    with pytest.raises(ValueError, match="3 matrix columns, got 2"):
        score_drop(score, X, [0, 1], 2, rng, repeats=1)


def test_planted_columns_come_out_through_encoding_with_missing_values():
    rng = np.random.default_rng(2)
    n = 800
    moved = np.concatenate([rng.normal(size=n), rng.normal(1, 1, n)])
    moved[rng.random(2 * n) < 0.1] = np.nan
    kind = rng.integers(0, 3, 2 * n).astype(float)
    noise = rng.normal(size=2 * n)
    y = (kind == 2).astype(int)
    columns = [
        Column("moved", "number", moved[:n], moved[n:]),
        Column("kind", "category", kind[:n], kind[n:], ("a", "b", "c"), "text"),
        Column("constant", "number", np.ones(n), np.ones(n)),
        Column("noise", "number", noise[:n], noise[n:]),
    ]
    xs, xt, owners, _ = encode(columns, 0)
    X, is_target = np.vstack([xs, xt]), np.arange(2 * n) >= n
    learn = np.arange(2 * n) % 2 == 0
    domain = BlendedClassifier(random_state=0).fit(X[learn], is_target[learn])
    task = BlendedClassifier(random_state=0).fit(X[learn], y[learn])
    a = domain_importance(domain, X[~learn], is_target[~learn], owners, 4, rng)
    b = task_importance(task, X[~learn], y[~learn], owners, 4, rng, "classification")
    assert a.argmax() == 0
    assert a[0] > 0.15 > 0.03 > np.abs(a[1:]).max()
    assert b.argmax() == 1
    assert b[1] > 0.9 > 0.03 > np.abs(np.delete(b, 1)).max()
    assert a[2] == b[2] == 0.0


def test_auc_is_the_usual_one():
    class Given:
        def predict_proba(self, X):
            return np.column_stack([1 - X[:, 0], X[:, 0]])

    rng = np.random.default_rng(3)
    X, is_target = np.round(rng.random((300, 1)), 1), rng.random(300) < 0.3
    # shuffling leaves an AUC of a half on average
    drop = np.mean([domain_importance(Given(), X, is_target, [0], 1, rng)[0] for _ in range(60)])
    assert drop == pytest.approx(roc_auc_score(is_target, X[:, 0]) - 0.5, abs=0.01)


def test_regression_unknown_classes_and_rare_classes():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(900, 2))
    y = 2 * X[:, 0] + rng.normal(size=900)
    model = BlendedRegressor(random_state=0).fit(X[:450], y[:450])
    drop = task_importance(model, X[450:], y[450:], [0, 1], 2, rng, "regression")
    # twice the explained share of the variance, 2 * 4 / 5
    assert drop[0] == pytest.approx(1.6, abs=0.2)
    # a class of 4% that the model never puts first still shows which column it hangs on
    rare = (rng.random(900) < 0.08 * (X[:, 0] > 0)).astype(int)
    classifier = BlendedClassifier(random_state=0).fit(X[:450], rare[:450])
    drop = task_importance(classifier, X[450:], rare[450:], [0, 1], 2, rng, "classification")
    assert drop[0] > 0.02
    assert drop[0] > drop[1]
    with_new = np.where(X[450:, 1] > 1.5, 7, rare[450:])  # a class that the model does not know
    assert np.isfinite(
        task_importance(classifier, X[450:], with_new, [0, 1], 2, rng, "classification")
    ).all()


def test_none_where_it_cannot_be_measured():
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(40, 2)), np.repeat([0, 1], 20)
    model = BlendedClassifier(random_state=0).fit(X, y)
    assert domain_importance(model, X, y == 1, [], 2, rng) is None
    assert domain_importance(model, X, np.ones(40, dtype=bool), [0, 1], 2, rng) is None
    assert task_importance(model, X, y, [], 2, rng, "classification") is None
    assert task_importance(model, X, np.zeros(40), [0, 1], 2, rng, "classification") is None


def test_records_get_their_importance_by_name():
    records = [FeatureShift(name, "differs", "t", effect=0.5) for name in ("b", "a", "gone")]
    filled = add_importance(records, ["a", "b"], np.array([0.1, np.nan]), None)
    assert [r.domain_importance for r in filled] == [None, 0.1, None]
    assert [r.task_importance for r in filled] == [None, None, None]
    assert [r.effect for r in filled] == [0.5, 0.5, 0.5]
    assert records[1].domain_importance is None


def test_wide_data_measures_the_fifty_that_differ_most_and_says_so():
    names = [f"x{i}" for i in range(300)]
    records = [FeatureShift(f"x{i}", "no_evidence", "t") for i in reversed(range(300))]
    only, note = most_different(records, names)
    assert only == list(range(299, 249, -1))
    assert note.startswith("Importance was measured for the 50 columns that differ most")
    assert most_different(records, names[:200]) == (None, "")


@pytest.mark.slow
@pytest.mark.parametrize(("d", "limit"), [(10, 0.5), (200, 5.0)])
def test_both_importances_are_quick(d, limit):
    rng = np.random.default_rng(6)
    X, y = rng.normal(size=(1500, d)), rng.integers(0, 2, 1500)
    model = BlendedClassifier(random_state=0).fit(X, y)
    owners = list(range(d))
    start = time.process_time()
    with threadpool_limits(1):  # waiting threads would be counted
        domain_importance(model, X, y == 1, owners, d, rng)
        task_importance(model, X, y, owners, d, rng, "classification")
    assert time.process_time() - start < limit
