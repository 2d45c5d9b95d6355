"""A made-up language: what it does with words can be undone by its dictionary."""

import numpy as np
import pytest

from shiftlab import DictionaryMap, Domain
from shiftlab.data import change_vocabulary


def counts(seed, n=200, d=60):
    rng = np.random.default_rng(seed)
    return Domain(rng.poisson(0.8, size=(n, d)), np.arange(n) % 2)


def test_words_are_merged_split_and_renamed_as_the_dictionary_says():
    texts = counts(0)
    other, words = change_vocabulary(texts, merged=0.2, split=0.3, unlisted=0.0, random_state=1)
    X, Z = texts.X, other.X.toarray()
    assert Z.shape == (200, 60 - 6 + 18)
    assert sorted(words) == list(range(72))
    np.testing.assert_array_equal(other.y, texts.y)
    np.testing.assert_array_equal(Z.sum(1), X.sum(1))
    assert sum(len(meant) == 2 for meant in words.values()) == 6
    names = {}
    for new, meant in words.items():
        for word in meant:
            names.setdefault(word, []).append(new)
    assert sum(len(new) == 2 for new in names.values()) == 18
    for new, meant in words.items():
        whole = set().union(*(names[word] for word in meant))
        np.testing.assert_array_equal(Z[:, sorted(whole)].sum(1), X[:, meant].sum(1))
        if len(whole) == 2:  # a word that became two, each for about half of its occurrences
            assert 0.3 < Z[:, new].sum() / X[:, meant].sum() < 0.7


def test_the_same_seed_is_the_same_language_for_any_texts():
    first, words = change_vocabulary(counts(0), random_state=3)
    second, again = change_vocabulary(counts(1, n=50), random_state=3)
    assert words == again
    assert len(words) == first.n_features - int(0.1 * first.n_features)
    assert second.n_features == first.n_features
    assert change_vocabulary(counts(0), random_state=4)[1] != words


def test_a_full_dictionary_brings_unmerged_words_back():
    texts = counts(0)
    other, words = change_vocabulary(texts, merged=0.0, unlisted=0.0, random_state=0)
    model = DictionaryMap(dictionary=words).fit(texts, other)
    np.testing.assert_array_equal(model.transform(other.X).toarray(), texts.X)
    assert model.coverage_ == 1
    assert model.source_.n_rows == 400  # dense rows and sparse ones, all of them labelled


@pytest.mark.parametrize(
    ("X", "given", "message"),
    [
        ([[0.5, 1]], {}, "whole numbers"),
        ([[-1.0, 1]], {}, "whole numbers"),
        ([[1, 1]], {"merged": 0.8, "split": 0.4}, "at most 1; got 0.8, 0.4"),
    ],
)
def test_no_counts_and_no_shares_are_refused(X, given, message):
    with pytest.raises(ValueError, match=message):
        change_vocabulary(Domain(np.array(X)), **given)
