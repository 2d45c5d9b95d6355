"""SER and STRUT on trees made by hand, and where they help."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from shiftlab import Domain, TransferForest
from shiftlab.conditional.transfer_forest import (
    Node,
    _divergence,
    expand_and_reduce,
    move_thresholds,
)

RNG = np.random.RandomState(0)


def stump(left=(10.0, 0.0), right=(0.0, 10.0), threshold=0.5):
    """Column 0 up to the threshold goes left."""
    counts = np.add(left, right)
    return Node(counts, 0, threshold, Node(np.array(left)), Node(np.array(right)))


def test_a_tree_is_read_as_it_is():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3)).astype(np.float32)
    y = rng.integers(0, 3, 80)
    tree = DecisionTreeClassifier(max_depth=4, random_state=0).fit(X, y)
    root = Node.of(tree, 5, np.array([0, 2, 4]))
    assert_allclose(root.probabilities(X)[:, [0, 2, 4]], tree.predict_proba(X))
    assert_allclose(root.counts, np.bincount(y * 2, minlength=5))


def test_expansion_grows_a_leaf_that_is_wrong():
    # Left of 0.5 the target has both classes, apart in column 1; nothing is on the right.
    root = stump()
    X = np.array([[0.0, 0], [0, 1], [0, 2], [0, 3]])
    codes = np.array([0, 0, 1, 1])
    assert expand_and_reduce(root, X, codes, np.ones(4), RNG) == 0
    assert root.column == 0
    assert (root.left.column, root.left.threshold) == (1, 1.5)
    assert_array_equal(root.probabilities(X).argmax(axis=1), codes)
    # The right leaf, which no row reaches, stays the source's.
    assert root.right.counts.tolist() == [0, 10]


def test_reduction_cuts_a_node_that_is_no_better_than_a_leaf():
    # All target rows are of class 1, on both sides.
    root = stump()
    assert (
        expand_and_reduce(root, np.array([[0.0], [1]]), np.ones(2, dtype=int), np.ones(2), RNG) == 0
    )
    assert root.column == -1
    assert root.counts.tolist() == [0, 2]


def test_what_cannot_be_told_apart_is_a_leaf_of_the_majority():
    root = stump()
    X, codes = np.zeros((3, 1)), np.array([0, 1, 1])
    assert expand_and_reduce(root, X, codes, np.array([1.0, 1, 1]), RNG) == 1
    assert root.probabilities(np.array([[0.0]]))[0] == pytest.approx([1 / 3, 2 / 3])


def test_no_rows_change_nothing():
    root = stump()
    none = np.empty((0, 1))
    assert expand_and_reduce(root, none, np.empty(0, dtype=int), np.empty(0), RNG) == 0
    move_thresholds(root, none, np.empty(0, dtype=int), np.empty(0))
    assert (root.threshold, root.left.counts.tolist()) == (0.5, [10, 0])


def test_a_moved_column_moves_the_threshold():
    root = stump()
    X = np.array([[10.0], [11], [12], [20], [21]])
    move_thresholds(root, X, np.array([0, 0, 0, 1, 1]), np.ones(5))
    assert root.threshold == 16.0
    assert (root.left.counts.tolist(), root.right.counts.tolist()) == ([3, 0], [0, 2])


def test_a_turned_column_exchanges_the_sides():
    # Each side goes on to ask for column 1, so that it is seen where they end up.
    root = stump()
    marked = root.left
    X = -np.array([[10.0], [11], [12], [20], [21]])
    move_thresholds(root, X, np.array([0, 0, 0, 1, 1]), np.ones(5))
    assert root.threshold == -16.0
    assert root.right is marked
    assert_array_equal(root.probabilities(X).argmax(axis=1), [0, 0, 0, 1, 1])


def test_the_threshold_is_the_best_of_all_by_a_loop():
    rng = np.random.default_rng(0)
    X, codes, weight = rng.normal(size=(30, 1)), rng.integers(0, 3, 30), rng.random(30) + 0.1
    root = Node(np.ones(3), 0, 0.0, Node(np.array([5.0, 2, 1])), Node(np.array([1.0, 3, 9])))
    shares = [side.counts / side.counts.sum() for side in (root.left, root.right)]

    def entropy(p):
        return -sum(v * np.log2(v) for v in p if v > 0)

    def jsd(p, q):
        return entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2

    best = {}
    values = np.sort(X[:, 0])
    for a, b in itertools.pairwise(values):
        sides = [X[:, 0] <= (a + b) / 2, X[:, 0] > (a + b) / 2]
        p = [np.bincount(codes[s], weight[s], 3) / weight[s].sum() for s in sides]
        part = [weight[s].sum() / weight.sum() for s in sides]
        for name, q in (("as they are", shares), ("exchanged", shares[::-1])):
            value = 1 - part[0] * jsd(q[0], p[0]) - part[1] * jsd(q[1], p[1])
            best[(a + b) / 2, name] = value
    (threshold, name) = max(best, key=best.get)
    before = root.left
    move_thresholds(root, X, codes, weight)
    assert_allclose(root.threshold, threshold)
    assert (root.right is before) == (name == "exchanged")


def test_divergence_is_between_zero_and_one():
    p = np.array([1.0, 0.0])
    assert_allclose(_divergence(p, np.array([[1.0, 0], [0, 1], [0.5, 0.5]]))[:2], [0, 1])


def xor(seed, k=60):
    rng = np.random.default_rng(seed)
    X, Z = rng.normal(size=(2, 400, 4))
    return X, X[:, 0] * X[:, 1] > 0, Z, Z[:, 0] * Z[:, 1] > 0, np.arange(400) < k


def test_strut_helps_where_columns_moved_and_ser_where_the_source_is_wrong():
    gains = {"strut": [], "ser": []}
    forest = RandomForestClassifier(30, random_state=0)
    for seed in range(3):
        X, y, Z, yt, known = xor(seed)
        for method, Xt, ys in (("strut", 3 * Z + [4, -2, 1, 0], y), ("ser", Z, ~y)):
            pooled = forest.fit(np.r_[X, Xt[known]], np.r_[ys, yt[known]])
            model = TransferForest(method, n_estimators=30, random_state=0)
            model.fit((X, ys), Domain(Xt, yt, labelled=known))
            gains[method].append(
                model.score(Xt[~known], yt[~known]) - pooled.score(Xt[~known], yt[~known])
            )
    assert np.mean(gains["strut"]) > 0.05
    assert np.mean(gains["ser"]) > 0.2


def test_classes_of_one_side_only():
    X, y, Z, yt, known = xor(0)
    labels = np.where(Z[:, 2] > 1, "new", np.where(yt, "yes", "no"))
    model = TransferForest(n_estimators=5, random_state=0)
    model.fit((X, np.where(y, "yes", "no")), Domain(Z, labels, labelled=known))
    assert model.classes_.tolist() == ["new", "no", "yes"]
    assert len(model.estimator_.trees) == 10
    assert_allclose(model.predict_proba(Z).sum(axis=1), 1)
