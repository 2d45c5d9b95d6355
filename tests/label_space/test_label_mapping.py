"""Label mapping: merge, hierarchy, split, and what is learnt from a few labels."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from shiftlab import Domain, LabelMapping
from shiftlab.label_space.label_mapping import label_affinity, resolved_label

CENTRES = {"car": [0, 0], "cat": [6, 0], "dog": [6, 6], "fish": [0, 6]}


def draw(seed, labels):
    rng = np.random.default_rng(seed)
    return np.array([CENTRES[label] for label in labels]) + rng.normal(size=(len(labels), 2))


Y = np.tile(["car", "cat", "dog", "fish"], 50)
X, XT = draw(0, Y), draw(1, Y)


def test_affinity_by_a_loop():
    rng = np.random.default_rng(0)
    p, codes = rng.dirichlet(np.ones(3), size=20), rng.integers(0, 2, 20)
    A = label_affinity(p, codes, 2)
    for s in range(3):
        for t in range(2):
            assert_allclose(A[s, t], np.mean([p[i, s] for i in range(20) if codes[i] == t]))
    assert_allclose(A.sum(axis=0), 1)


def test_a_hierarchy_is_followed_as_far_as_the_target_goes():
    tree = {"poodle": "dog", "dog": "pet", "cat": "pet", "pet": "animal"}
    assert resolved_label("poodle", tree, set()) == "animal"
    assert resolved_label("poodle", tree, {"dog", "cat"}) == "dog"
    assert resolved_label("poodle", tree, {"pet"}) == "pet"
    assert resolved_label("stone", tree, set()) == "stone"
    assert resolved_label("x", {"x": ["y", "z"]}, set()) == ("y", "z")
    assert resolved_label("x", {"x": "x"}, set()) == "x"
    with pytest.raises(ValueError, match="runs in a circle"):
        resolved_label("a", {"a": "b", "b": "a"}, set())


def test_merging_is_training_on_the_new_names():
    mapping = {"cat": "animal", "dog": "animal", "fish": "animal"}
    model = LabelMapping(LogisticRegression(), mapping=mapping).fit((X, Y), XT)
    renamed = np.where(Y == "car", "car", "animal")
    assert_array_equal(model.source_.y, renamed)
    assert_array_equal(model.predict(XT), LogisticRegression().fit(X, renamed).predict(XT))
    target = Domain(XT, classes=["animal", "car", "fish"])
    tree = {**mapping, "animal": "thing"}
    model = LabelMapping(LogisticRegression(), mapping=tree).fit((X, Y), target)
    assert model.classes_.tolist() == ["animal", "car"]


def test_splitting_learns_from_the_rows_of_the_parts():
    coarse = np.where(np.isin(Y, ["cat", "dog"]), "pet", Y)
    known = np.arange(200) < 24
    model = LabelMapping(LogisticRegression(), mapping={"pet": ["cat", "dog"]})
    model.fit((X, coarse), Domain(XT, Y, labelled=known))
    assert model.classes_.tolist() == ["car", "cat", "dog", "fish"]
    assert np.mean(model.source_.y[:200] == Y) > 0.97
    assert model.score(XT[~known], Y[~known]) > 0.97
    with pytest.raises(ValueError, match="takes labelled target rows of at least two"):
        LabelMapping(LogisticRegression(), mapping={"pet": ["cat", "dog"]}).fit((X, coarse), XT)


def test_a_mapping_is_learnt_from_a_few_labels():
    names = {"car": 0, "cat": 1, "dog": 1, "fish": 2}
    yt = np.array([names[label] for label in Y])
    known = np.arange(200) < 12
    for estimator in (LogisticRegression(), LinearSVC()):
        model = LabelMapping(estimator).fit((X, Y), Domain(XT, yt, labelled=known))
        assert model.mapping_ == names
        assert model.score(XT, yt) > 0.97
        assert model.affinity_.shape == (4, 3)


def test_a_label_that_is_rare_in_what_it_merges_into():
    """One pet in ten is a dog: less than a guess, but far more than among the others."""
    y = np.repeat(["car", "cat", "dog", "fish"], [40, 90, 10, 60])
    X_rare, merged = draw(2, y), np.where(np.isin(y, ["cat", "dog"]), "pet", y)
    model = LabelMapping(LogisticRegression()).fit((X, Y), Domain(X_rare, merged))
    assert model.affinity_[2].max() < 0.25
    assert model.mapping_ == {"car": "car", "cat": "pet", "dog": "pet", "fish": "fish"}


def test_labels_without_evidence():
    # Only cars and cats are labelled. Where names are shared the others keep theirs ...
    few = Domain(XT, Y, labelled=np.isin(Y, ["car", "cat"]) & (np.arange(200) < 40))
    model = LabelMapping(LogisticRegression()).fit((X, Y), few)
    assert model.mapping_ == {name: name for name in CENTRES}
    # ... and are left out where they are not.
    other = few.with_(y=np.where(Y == "car", 0, 1))
    model = LabelMapping(LogisticRegression()).fit((X, Y), other)
    assert model.mapping_ == {"car": 0, "cat": 1}
    assert model.classes_.tolist() == [0, 1]


def test_no_label_and_no_mapping_is_said():
    with pytest.warns(UserWarning, match="all labels keep their names"):
        model = LabelMapping(LogisticRegression()).fit((X, Y), XT)
    assert_array_equal(model.source_.y, Y)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"bird": "animal"}, "mapping has none of the source's labels"),
        ({"cat": "dog", "dog": "cat"}, "runs in a circle"),
        ({"cat": 1, "dog": 1}, "some source labels become text and others numbers"),
    ],
)
def test_clear_errors(mapping, message):
    with pytest.raises(ValueError, match=message):
        LabelMapping(LogisticRegression(), mapping=mapping).fit((X, Y), XT)


def test_a_mapping_without_an_estimator_is_a_step():
    model = LabelMapping(mapping={"cat": "dog"}).fit((X, Y), XT)
    assert set(model.source_.y.tolist()) == {"car", "dog", "fish"}
    with pytest.raises(ValueError, match="needs an estimator to learn a mapping"):
        LabelMapping().fit((X, Y), Domain(XT, Y, labelled=np.arange(200) < 20))
