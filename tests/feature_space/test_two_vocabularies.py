"""Text in two vocabularies: dictionaries, word vectors, parallel rows and pivots."""

import doctest
import importlib

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score

from shiftlab import (
    CrossLingualLSA,
    DictionaryMap,
    Domain,
    EmbeddingMap,
    StructuralCorrespondence,
    list_adapters,
)
from shiftlab.feature_space.dictionary_map import read_dictionary
from shiftlab.marginal.alignment.structural_correspondence import above_mean, choose_pivots


@pytest.mark.parametrize(
    "part",
    [
        "feature_space.cross_lingual_lsa",
        "feature_space.dictionary_map",
        "feature_space.embedding_map",
        "marginal.alignment.structural_correspondence",
    ],
)
def test_examples_run(part):
    assert doctest.testmod(importlib.import_module(f"shiftlab.{part}")).failed == 0


def texts(n, seed, d=40):
    """Counts of words; the first ten are said of the first class, the next ten of the second."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    rate = np.full((n, d), 0.3)
    rate[:, :10] += 0.25 * (y == 0)[:, None]
    rate[:, 10:20] += 0.25 * (y == 1)[:, None]
    return rng.poisson(rate).astype(float), y


def other_language(X, seed=5):
    """The same counts with the words in another order, and which word is which."""
    order = np.random.default_rng(seed).permutation(X.shape[1])
    return X[:, order], {j: int(word) for j, word in enumerate(order)}


# -- dictionary -----------------------------------------------------------------------------------


def test_a_dictionary_is_a_matrix_whose_rows_share_a_count():
    source, target = Domain(np.ones((3, 4))), Domain(np.ones((3, 3)))
    words = {0: 2, 1: {0, 3}, 2: {1: 3.0, 0: 1.0}, 7: 0, "x": 1}
    M = read_dictionary(words, source, target, "who").toarray()
    np.testing.assert_array_equal(M, [[0, 0, 1, 0], [0.5, 0, 0, 0.5], [0.25, 0.75, 0, 0]])
    named = [Domain(pd.DataFrame(np.ones((2, 2)), columns=c)) for c in (["cat", "dog"], ["a", "b"])]
    M = read_dictionary({"b": "cat", "a": ["dog", "horse"]}, *named, "who").toarray()
    np.testing.assert_array_equal(M, [[0, 1], [1, 0]])  # a word that is not there takes no share
    with pytest.raises(ValueError, match=r"who: no entry.*'a', 'b'.*'cat', 'dog'.*'ham', 'pig'"):
        read_dictionary({"ham": "pig"}, *named, "who")
    for weight in (0.0, -1, np.nan, np.inf, "much"):
        with pytest.raises(ValueError, match=r"weights of dictionary\[0\] must be positive"):
            read_dictionary({0: {1: weight}}, source, target, "who")


def test_translated_counts_are_those_of_the_source_and_stay_sparse():
    X, y = texts(200, 0)
    A, _ = texts(150, 1)
    Z, words = other_language(A)
    part = {k: v for k, v in words.items() if v >= 5}
    model = DictionaryMap(dictionary=part).fit((sp.csr_matrix(X), y), sp.csr_matrix(Z))
    np.testing.assert_array_equal(model.words_, np.arange(5, 40))
    moved = model.transform(sp.csr_matrix(Z))
    assert sp.issparse(moved)
    assert sp.issparse(model.source_.X)
    np.testing.assert_array_equal(moved.toarray(), A[:, 5:])
    np.testing.assert_array_equal(model.source_.X.toarray(), X[:, 5:])
    assert model.coverage_ == pytest.approx(A[:, 5:].sum() / A.sum())
    with pytest.raises(ValueError, match=r"needs dictionary=.*parallel rows.*CrossLingualLSA"):
        DictionaryMap().fit((X, y), Z)


# -- vectors --------------------------------------------------------------------------------------


def test_a_seed_dictionary_turns_vectors_by_procrustes():
    rng = np.random.default_rng(0)
    V = rng.normal(size=(40, 6))
    V /= np.linalg.norm(V, axis=1, keepdims=True)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    X, y = texts(100, 0)
    Z, words = other_language(X)
    order = [words[j] for j in range(40)]
    W = 3 * V[order] @ turn + 0.01 * rng.normal(size=(40, 6))
    seed = {j: words[j] for j in range(20)}
    model = EmbeddingMap(source_vectors=V, target_vectors=W, dictionary=seed).fit((X, y), Z)
    unit = W / np.linalg.norm(W, axis=1, keepdims=True)
    expected = scipy.linalg.orthogonal_procrustes(unit[:20], V[order[:20]])[0]
    np.testing.assert_allclose(model.rotation_, expected, atol=1e-10)
    np.testing.assert_allclose(model.rotation_, turn.T, atol=0.02)
    ours, theirs = model.transform_source(X), model.transform(Z)
    np.testing.assert_allclose(ours, theirs, atol=0.1)
    mean = X @ V - (X @ V).mean(0)
    np.testing.assert_allclose(ours, mean / np.sqrt((mean**2).sum(1).mean()), atol=1e-10)
    sparse = EmbeddingMap(source_vectors=V, target_vectors=W, dictionary=seed)
    sparse.fit((sp.csr_matrix(X), y), sp.csr_matrix(Z))
    np.testing.assert_allclose(sparse.transform(sp.csr_matrix(Z)), theirs, atol=1e-10)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "needs source_vectors.*DictionaryMap"),
        ({"source_vectors": np.ones((3, 2)), "target_vectors": np.ones((40, 2))}, r"\(40, k\)"),
        ({"source_vectors": np.ones((40, 2)), "target_vectors": np.ones((40, 3))}, "2 dim.* 3"),
        ({"source_vectors": np.zeros((40, 2))}, "source_vectors must be finite.*not all zero"),
        ({"source_vectors": np.full((40, 2), np.inf)}, "source_vectors must be finite"),
        ({"source_vectors": [[1, 2], [3]]}, "source_vectors must be rows of numbers"),
    ],
)
def test_vectors_that_are_lacking_or_do_not_fit_are_named(given, message):
    X, y = texts(30, 0)
    with pytest.raises(ValueError, match=message):
        EmbeddingMap(**given).fit((X, y), X)


# -- parallel rows --------------------------------------------------------------------------------


def test_lsa_is_the_decomposition_of_both_sides_side_by_side():
    A, _ = texts(120, 2)
    B = other_language(A)[0][:, :30] + 0.0
    X, y = texts(50, 3)
    Z = other_language(texts(60, 4)[0])[0][:, :30]
    model = CrossLingualLSA(paired=(A, B), n_components=4, random_state=0).fit((X, y), Z)
    both = np.hstack([A / np.linalg.norm(A), B / np.linalg.norm(B)])
    _, values, axes = np.linalg.svd(both, full_matrices=False)
    np.testing.assert_allclose(model.singular_values_, values[:4], rtol=1e-3)
    folded = X @ axes[:4, :40].T
    folded /= np.sqrt((folded**2).sum(1).mean())
    np.testing.assert_allclose(np.abs(model.transform_source(X)), np.abs(folded), atol=0.01)
    sparse = CrossLingualLSA(
        paired=(sp.csr_matrix(A), sp.csr_matrix(B)), n_components=4, random_state=0
    ).fit((sp.csr_matrix(X), y), sp.csr_matrix(Z))
    np.testing.assert_allclose(sparse.transform(Z), model.transform(Z), atol=1e-8)
    with pytest.raises(ValueError, match=r"paired=.*DictionaryMap"):
        CrossLingualLSA().fit((X, y), Z)
    with pytest.raises(ValueError, match=r"paired\[1\] has 40 columns, but the target 30"):
        CrossLingualLSA(paired=(A, A)).fit((X, y), Z)


def test_each_bridge_carries_the_labels_over_and_a_false_one_does_not():
    X, y = texts(400, 0)
    A, _ = texts(800, 1)
    Z, w = texts(400, 2)
    Z, words = other_language(Z)
    B = other_language(A)[0]
    rng = np.random.default_rng(0)
    V = np.linalg.svd(A - A.mean(0), full_matrices=False)[2][:5].T
    order = [words[j] for j in range(40)]
    wrong = {k: int(v) for k, v in zip(words, rng.permutation(40), strict=True)}
    model = LogisticRegression(C=0.1)
    real = {
        "dictionary": DictionaryMap(model, dictionary=words),
        "vectors": EmbeddingMap(model, source_vectors=V, target_vectors=V[order]),
        "pairs": CrossLingualLSA(model, paired=(A, B), n_components=5, random_state=0),
    }
    false = {
        "dictionary": DictionaryMap(model, dictionary=wrong),
        "vectors": EmbeddingMap(model, source_vectors=V, target_vectors=V[rng.permutation(40)]),
        "pairs": CrossLingualLSA(
            model, paired=(A, B[rng.permutation(800)]), n_components=5, random_state=0
        ),
    }
    empty = {**real, "pairs": CrossLingualLSA(model, paired=(rng.permuted(A, axis=0), B))}
    empty["pairs"].set_params(n_components=5, random_state=0)
    shuffled, noise = rng.permutation(y), rng.permuted(X, axis=0)  # words as often, in any text
    few = np.arange(400) < 6
    alone = model.fit(Z[few], w[few]).score(Z, w)
    for name, adapter in real.items():
        good = adapter.fit((X, y), Z).score(Z, w)
        assert good > max(0.75, alone + 0.1), name
        assert false[name].fit((X, y), Z).score(Z, w) < good - 0.1, name
        assert adapter.fit((X, shuffled), Z).score(Z, w) < good - 0.1, name
        assert empty[name].fit((noise, y), Z).score(Z, w) < good - 0.1, name


def test_a_map_needs_no_label_and_an_estimator_does():
    X, _ = texts(30, 0)
    Z, words = other_language(X)
    model = DictionaryMap(dictionary=words).fit(X, Z)
    np.testing.assert_array_equal(model.transform(Z), X)
    with pytest.raises(ValueError, match="labels of the source"):
        DictionaryMap(LogisticRegression(), dictionary=words).fit(X, Z)


def test_bridges_are_facts():
    assert DictionaryMap in list_adapters(needs="dictionary")
    assert EmbeddingMap in list_adapters(needs="word_vectors")
    assert CrossLingualLSA in list_adapters(needs="paired_rows")


# -- pivots ---------------------------------------------------------------------------------------


def test_pivots_have_the_largest_mutual_information_among_words_of_both_sides():
    X, y = texts(300, 0)
    Z, _ = texts(300, 1)
    Z[:, 3] = 0  # a word that the target never uses
    used = [above_mean(V, V.mean(0)) for V in (X, Z)]
    np.testing.assert_array_equal(used[0].toarray(), (X.mean(0) < X).astype(float))
    found = choose_pivots(*used, y, 8, 10)
    information = [mutual_info_score(y, X[:, j] > X[:, j].mean()) for j in range(40)]
    information[3] = -1
    assert found.tolist() == sorted(np.argsort(information)[::-1][:8].tolist())
    assert len(choose_pivots(*used, y, 100, 10)) == 20  # half of the columns
    # below zero the side away from it counts, so that zeros never do
    column = np.array([[-3.0], [-1], [0], [0]])
    assert above_mean(column, column.mean(0)).toarray().ravel().tolist() == [1, 1, 0, 0]


def test_directions_are_those_of_the_ridge_predictors_of_the_pivots():
    X, y = texts(200, 0)
    Z, _ = texts(150, 1)
    model = StructuralCorrespondence(n_pivots=6, n_components=3, regularization=2.0, weight=0.5)
    model.fit((X, y), Z)
    both = np.vstack([X, Z])
    others = np.setdiff1d(np.arange(40), model.pivots_)
    R = both[:, others] - both[:, others].mean(0)
    P = (both > both.mean(0))[:, model.pivots_].astype(float)
    level = 2.0 * 350 * R.var(0).mean()
    W = np.linalg.solve(R.T @ R + level * np.eye(34), R.T @ (P - P.mean(0)))
    left = np.linalg.svd(W)[0][:, :3]
    theta = model.components_
    assert not theta[model.pivots_].any()
    mine = theta[others] / np.linalg.norm(theta[others], axis=0)
    np.testing.assert_allclose(np.abs(mine.T @ left), np.eye(3), atol=1e-5)
    np.testing.assert_allclose((both @ theta).std(0), 1)
    moved = model.transform(both)
    np.testing.assert_array_equal(moved[:, :40], both)
    assert (moved[:, 40:] ** 2).sum() / (both**2).sum() == pytest.approx(0.25)


def test_pivots_that_tell_the_class_beat_pivots_that_tell_nothing():
    gains = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        y = np.arange(400) % 2
        good = rng.random((400, 4)) < 0.2 + 0.4 * y[:, None]
        other = rng.random((400, 20)) < 0.4
        own = rng.random((400, 6)) < 0.1 + 0.6 * y[:, None]
        X = np.hstack([good, other, own, 0 * own])[:200].astype(float)
        Z = np.hstack([good, other, 0 * own, own])[200:].astype(float)
        y, w = y[:200], y[200:]
        options = {"n_pivots": 4, "n_components": 1, "weight": 1.0}
        model = StructuralCorrespondence(LogisticRegression(), **options).fit((X, y), Z)
        blind = StructuralCorrespondence(**options).fit((X, rng.permutation(y)), Z)
        random = LogisticRegression().fit(blind.transform(X), y).score(blind.transform(Z), w)
        plain = LogisticRegression().fit(X, y).score(Z, w)
        gains.append([model.score(Z, w) - plain, model.score(Z, w) - random])
    error = np.std(gains, axis=0, ddof=1) / np.sqrt(6)
    assert (np.mean(gains, axis=0) > 2 * error).all()


def test_without_a_common_word_nothing_is_added():
    X, y = texts(40, 0)
    Z = np.roll(X, 40, axis=1) * 0
    with pytest.warns(UserWarning, match="no column is used by at least min_rows=10"):
        model = StructuralCorrespondence().fit((X, y), Z)
    np.testing.assert_array_equal(model.transform(Z), Z)
