"""Instance pruning: which rows go, the choice of how many, and its two ends."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.neighbors import KNeighborsClassifier

from shiftlab import Domain, InstancePruning
from shiftlab.conditional.held_out import dealt_folds
from shiftlab.conditional.instance_pruning import contradiction


def sample(seed, wrong=0.0, n=400, m=600, k=60):
    """The sign of the first of five columns, a share of the source's labels wrong."""
    rng = np.random.default_rng(seed)
    X, Xt = rng.normal(size=(n, 5)), rng.normal(size=(m, 5))
    opposite = rng.random(n) < wrong
    y, yt = (X[:, 0] > 0) ^ opposite, Xt[:, 0] > 0
    names = np.array(["z", "a"])
    return X, names[y.astype(int)], Xt, names[yt.astype(int)], np.arange(m) < k, opposite


def test_contradiction_is_the_loop():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), size=30)
    codes = rng.integers(-1, 4, size=30)
    loop = [0.0 if c < 0 else np.log(max(row) / row[c]) for row, c in zip(p, codes, strict=True)]
    assert_allclose(contradiction(p, codes), loop)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_what_goes_is_what_the_target_contradicts_most(share):
    X, y, Xt, yt, known, _ = sample(1, wrong=0.3)
    model = InstancePruning(LogisticRegression(), prune=share).fit(
        (X, y), Domain(Xt, yt, labelled=known)
    )
    alone = LogisticRegression().fit(Xt[known], yt[known])
    own = alone.predict_proba(X)[np.arange(len(y)), np.searchsorted(["a", "z"], y)]
    contradicted = np.flatnonzero(alone.predict(X) != y)
    worst = contradicted[np.argsort(own[contradicted])][: round(share * len(contradicted))]
    assert_array_equal(np.flatnonzero(model.pruned_), np.sort(worst))
    kept = np.setdiff1d(np.arange(len(y)), worst)
    plain = LogisticRegression().fit(np.r_[X[kept], Xt[known]], np.r_[y[kept], yt[known]])
    assert_allclose(model.estimator_.coef_, plain.coef_)


def test_wrong_rows_are_found_and_the_rest_is_kept():
    X, y, Xt, yt, known, opposite = sample(2, wrong=0.3)
    model = InstancePruning(KNeighborsClassifier(9), random_state=0)
    model.fit((X, y), Domain(Xt, yt, labelled=known))
    assert model.prune_ >= 0.5
    assert np.mean(opposite[model.pruned_]) > 0.6
    assert np.mean(model.pruned_[opposite]) > 0.6
    hidden = ~known
    base = KNeighborsClassifier(9)
    alone = base.fit(Xt[known], yt[known]).score(Xt[hidden], yt[hidden])
    pooled = base.fit(np.r_[X, Xt[known]], np.r_[y, yt[known]]).score(Xt[hidden], yt[hidden])
    assert model.score(Xt[hidden], yt[hidden]) > max(alone, pooled) + 0.02


def test_auto_pools_where_nothing_differs():
    X, y, Xt, yt, known, _ = sample(3)
    model = InstancePruning(LogisticRegression(), random_state=0)
    model.fit((X, y), Domain(Xt, yt, labelled=known))
    assert model.prune_ == 0
    assert not model.pruned_.any()
    assert len(model.losses_) == 6
    plain = LogisticRegression().fit(np.r_[X, Xt[known]], np.r_[y, yt[known]])
    assert_allclose(model.estimator_.coef_, plain.coef_)


def test_a_source_of_no_help_is_left_out_and_it_is_said():
    X, y, Xt, yt, known, _ = sample(4, wrong=1.0, k=200)
    model = InstancePruning(LogisticRegression(), random_state=0)
    with pytest.warns(UserWarning, match="it does not help here"):
        model.fit((X, y), Domain(Xt, yt, labelled=known))
    assert np.isinf(model.prune_)
    assert model.pruned_.all()
    plain = LogisticRegression().fit(Xt[known], yt[known])
    assert_allclose(model.estimator_.coef_, plain.coef_)


def test_the_losses_are_those_of_a_loop_over_folds():
    X, y, Xt, yt, known, _ = sample(5, wrong=0.3, k=30)
    model = InstancePruning(LogisticRegression(), cv=3, random_state=7)
    model.fit((X, y), Domain(Xt, yt, labelled=known))
    Z, z = Xt[known], yt[known]
    fold = dealt_folds(z, 3, np.random.RandomState(7))
    pooled, alone = np.zeros(30), np.zeros(30)
    for k in range(3):
        train, test = fold != k, np.flatnonzero(fold == k)
        for loss, rows in ((pooled, np.r_[X, Z[train]]), (alone, Z[train])):
            labels = z[train] if loss is alone else np.r_[y, z[train]]
            p = LogisticRegression().fit(rows, labels).predict_proba(Z[test])
            loss[test] = -np.log(p[np.arange(len(test)), np.searchsorted(["a", "z"], z[test])])
    assert_allclose(model.losses_[[0, -1]], [pooled.mean(), alone.mean()])


def test_folds_have_the_share_of_each_class():
    y = np.repeat(["a", "b"], [20, 10])
    fold = dealt_folds(y, 5, np.random.RandomState(0))
    assert_array_equal(np.bincount(fold[y == "a"]), 4)
    assert_array_equal(np.bincount(fold[y == "b"]), 2)


def test_a_class_that_the_target_labels_lack_is_not_pruned():
    X, y, Xt, yt, known, _ = sample(6, wrong=0.3)
    y = np.where(X[:, 2] > 1, "m", y)
    model = InstancePruning(LogisticRegression(), prune=1.0)
    model.fit((X, y), Domain(Xt, yt, labelled=known))
    assert not model.pruned_[y == "m"].any()
    assert model.classes_.tolist() == ["a", "m", "z"]


def test_what_it_cannot_do_is_said():
    X, y, Xt, yt, known, _ = sample(7)
    with pytest.warns(UserWarning, match="has 9 labelled target rows; fewer than 10"):
        few = InstancePruning(LogisticRegression()).fit(
            (X, y), Domain(Xt, yt, labelled=np.arange(len(yt)) < 9)
        )
    assert few.prune_ == 0
    one = known & (yt == "a")
    with pytest.raises(ValueError, match="at least 2 classes; got 1 class, 'a'"):
        InstancePruning(LogisticRegression()).fit((X, y), Domain(Xt, yt, labelled=one))
    with pytest.raises(ValueError, match="Perceptron has no predict_proba"):
        InstancePruning(Perceptron()).fit((X, y), Domain(Xt, yt, labelled=known))
