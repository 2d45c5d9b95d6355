"""JDA: class means, the full problem at small n, and when the turns stop."""

import warnings

import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from shiftlab import JDA, TCA, Domain
from shiftlab.marginal.alignment import jda


def classes_that_move(n=60, m=75, d=5, seed=0):
    rng = np.random.default_rng(seed)
    y, hidden = rng.integers(0, 3, size=n), rng.integers(0, 3, size=m)
    centres = np.zeros((3, d))
    centres[:, :2] = 4 * np.array([[0, 0], [1, 0], [0, 1]])
    moves = rng.normal(size=(3, d)) * ([0, 0] + [1.5] * (d - 2))
    source = centres[y] + rng.normal(size=(n, d))
    target = (centres + moves)[hidden] + rng.normal(size=(m, d))
    return source, y, target, hidden


def naive_jda(source, y, target, k, mu, max_iter):
    """The textbook loop with n x n matrices and 1-NN, on scaled rows."""
    n, m = len(source), len(target)
    rows = np.vstack([source, target]) / np.sqrt((source.var(0) + target.var(0)) / 2)
    rows -= rows.mean(axis=0)
    K = rows @ rows.T
    K *= len(K) / np.trace(K)
    H = np.eye(n + m) - 1 / (n + m)
    labels = None
    for _ in range(max_iter + 1):
        e = np.r_[np.full(n, 1 / n), np.full(m, -1 / m)]
        M = np.outer(e, e)
        if labels is not None:
            for c in np.unique(y):
                here, there = y == c, labels == c
                e = np.r_[here / here.sum(), -1.0 * there / max(there.sum(), 1)]
                M += np.outer(e, e) if there.any() else 0
        _, W = eigh(K @ H @ K, K @ M @ K + mu * np.eye(n + m))
        W = W[:, ::-1][:, :k]
        direction = rows.T @ W  # length one in the space of the rows
        Z = rows @ (direction / np.linalg.norm(direction, axis=0))
        before, labels = labels, KNeighborsClassifier(1).fit(Z[:n], y).predict(Z[n:])
        if before is not None and np.sum(labels != before) <= np.ceil(0.01 * m):
            break
    return Z, labels


@pytest.mark.parametrize("mu", [0.01, 1.0])
def test_the_loop_is_the_textbook_one(mu):
    source, y, target, _ = classes_that_move()
    adapter = JDA(n_components=3, regularization=mu).fit((source, y), target)
    Z, labels = naive_jda(source, y, target, 3, mu, 10)
    np.testing.assert_array_equal(adapter.pseudo_labels_, labels)
    found = np.vstack([adapter.source_.X, adapter.transform(target)])
    np.testing.assert_allclose(np.abs(found), np.abs(Z), atol=1e-6)


def test_class_means_come_closer_than_with_tca():
    source, y, target, hidden = classes_that_move(n=600, m=600, seed=3)

    def gap(adapter):
        Z, Zt = adapter.source_.X, adapter.transform(target)
        gaps = [Z[y == c].mean(axis=0) - Zt[hidden == c].mean(axis=0) for c in range(3)]
        return np.square(gaps).sum() / np.vstack([Z, Zt]).var(axis=0).sum()

    arguments = {"n_components": 3}
    joint = JDA(**arguments).fit((source, y), target)
    assert gap(joint) < 0.7 * gap(TCA(**arguments).fit((source, y), target))
    assert np.mean(joint.pseudo_labels_ == hidden) > 0.9


def test_stops_when_labels_settle_and_warns_when_they_do_not():
    source, y, target, _ = classes_that_move()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adapter = JDA(n_components=3).fit((source, y), target)
    assert adapter.changed_[-1] * 75 <= 1
    assert all(share * 75 > 1 for share in adapter.changed_[:-1])
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(60, 5)), rng.integers(0, 3, size=60)
    with pytest.warns(UserWarning, match=r"of the pseudo-labels still changed in the last of 1"):
        adapter = JDA(n_components=2, max_iter=1).fit(noise, rng.normal(size=(70, 5)))
    assert len(adapter.changed_) == 1


def test_labeller_and_labels_of_any_type():
    source, y, target, hidden = classes_that_move()
    names = np.array(["pear", "apple", "fig"])
    adapter = JDA(labeller=GaussianNB()).fit((source, names[y]), target)
    mapped = adapter.transform(target)
    by_hand = GaussianNB().fit(adapter.source_.X, names[y]).predict(mapped)
    np.testing.assert_array_equal(adapter.pseudo_labels_, by_hand)
    assert np.mean(adapter.pseudo_labels_ == names[hidden]) > 0.8


def test_source_rows_without_label_count_in_the_marginal_only():
    source, y, target, _ = classes_that_move()
    labelled = np.arange(60) < 45
    hidden = Domain(source, y, labelled=labelled)
    wrong = Domain(source, np.where(labelled, y, (y + 1) % 3), labelled=labelled)
    first, second = (JDA(n_components=2).fit(s, target).source_.X for s in (hidden, wrong))
    np.testing.assert_array_equal(first, second)
    fewer = JDA(n_components=2).fit((source[:45], y[:45]), target)
    assert np.abs(fewer.source_.X - first[:45]).max() > 1e-3


def test_neighbours_are_taken_evenly_from_the_classes(monkeypatch):
    source, y, target, hidden = classes_that_move(n=600, m=300, seed=2)
    all_rows = JDA(n_components=3).fit((source, y), target)
    monkeypatch.setattr(jda, "NEIGHBORS", 60)
    few = JDA(n_components=3).fit((source, y), target)
    again = JDA(n_components=3).fit((source, y), target)
    np.testing.assert_array_equal(few.source_.X, again.source_.X)
    assert np.mean(few.pseudo_labels_ == hidden) > np.mean(all_rows.pseudo_labels_ == hidden) - 0.1


def test_needs_labels():
    source, _, target, _ = classes_that_move()
    with pytest.raises(ValueError, match="JDA needs a labelled source"):
        JDA().fit(source, target)
    one = JDA(LogisticRegression(), n_components=2)
    with pytest.raises(ValueError, match="class"):
        one.fit((source, np.zeros(60)), target)
    assert set(JDA().fit((source, np.zeros(60)), target).pseudo_labels_) == {0}
