"""Several sources: pooled where they agree, named where they contradict each other."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from shiftlab import (
    Domain,
    LabelMapping,
    OpenSet,
    PartialAdaptation,
    PriorCorrection,
    TargetShift,
    Universal,
)
from shiftlab.conditional.contradiction import Contradiction, contradictions

CENTRES = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 4.0]])
NAMES = np.array(["a", "b", "c", "d"])


def draw(seed, prior, n=300, means=(0, 1, 2, 3)):
    """Rows whose class i lies at the centre ``means[i]``."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(len(prior), n, p=prior)
    return CENTRES[list(means)][codes] + rng.normal(size=(n, 2)), NAMES[codes]


SOURCES = [
    Domain(*draw(1, [0.8, 0.2, 0.0, 0.0]), name="north"),
    Domain(*draw(2, [0.0, 0.4, 0.6, 0.0]), name="south"),
]

ADAPTERS = [
    PriorCorrection(LogisticRegression(), random_state=0),
    TargetShift(LogisticRegression(), random_state=0),
    PartialAdaptation(LogisticRegression()),
    OpenSet(LogisticRegression(), random_state=0),
    Universal(LogisticRegression(), random_state=0),
]


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda a: type(a).__name__)
def test_sources_with_different_classes_are_pooled(adapter):
    """No source knows all three classes; together they do, and no warning is given."""
    X, y = draw(3, [0.4, 0.3, 0.3, 0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = adapter.fit(SOURCES, X)
        pooled = adapter.fit(Domain.concat(SOURCES), X)
    assert model.score(X, y) > 0.95
    np.testing.assert_array_equal(model.predict(X), pooled.predict(X))
    alone = LogisticRegression().fit(SOURCES[0].X, SOURCES[0].y)
    assert alone.score(X, y) < 0.75


def test_pooled_sources_learn_one_mapping():
    """Both sources' labels become the target's, learnt from a few of its rows."""
    X, y = draw(4, [0.4, 0.3, 0.3, 0.0])
    groups = np.where(y == "a", "left", "right")
    target = Domain(X, groups, labelled=np.arange(len(X)) < 40)
    model = LabelMapping(LogisticRegression()).fit(SOURCES, target)
    assert model.mapping_ == {"a": "left", "b": "right", "c": "right"}
    assert model.score(X, groups) > 0.9


def test_an_unknown_class_of_the_target_is_rejected_with_pooled_sources():
    X, y = draw(5, [0.3, 0.2, 0.2, 0.3], n=900)
    model = OpenSet(LogisticRegression(), random_state=0).fit(SOURCES, X)
    assert np.mean(model.predict(X[y == "d"]) == "unknown") > 0.7
    assert np.mean(model.predict(X[y != "d"]) == y[y != "d"]) > 0.9


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda a: type(a).__name__)
def test_contradicting_sources_are_named(adapter):
    agreed, _ = draw(6, [0.3, 0.3, 0.4, 0.0]), None
    swapped = draw(7, [0.3, 0.3, 0.4, 0.0], means=(1, 0, 2, 3))
    sources = [Domain(*agreed, name="north"), Domain(*swapped, name="south")]
    with pytest.warns(UserWarning, match=r"sources contradict.*north calls 'a' .*south has 'b'"):
        adapter.fit(sources, draw(8, [0.3, 0.3, 0.4, 0.0])[0])


def test_a_shift_between_sources_is_no_contradiction():
    """Sources that lie apart by less than their classes do, and shares that differ."""
    for seed in range(20):
        X, y = draw(20 + seed, [0.7, 0.1, 0.1, 0.1])
        Z, z = draw(60 + seed, [0.1, 0.1, 0.1, 0.7])
        rows = np.vstack([X, Z + np.array([1.5, -1.0])])
        codes = np.searchsorted(NAMES, np.append(y, z))
        assert contradictions(rows, codes, np.repeat([0, 1], 300)) == []


def test_sparse_rows_and_constant_columns():
    X, y = draw(9, [0.5, 0.5, 0.0, 0.0])
    Z, z = draw(10, [0.5, 0.5, 0.0, 0.0], means=(1, 0, 2, 3))
    rows = np.hstack([np.vstack([X, Z]), np.ones((600, 1))])
    codes, group = np.searchsorted(NAMES, np.append(y, z)), np.repeat([0, 1], 300)
    expected = [Contradiction(0, 1, 0, 1), Contradiction(0, 1, 1, 0)]
    assert contradictions(rows, codes, group) == expected
    assert contradictions(sp.csr_matrix(rows), codes, group) == expected
