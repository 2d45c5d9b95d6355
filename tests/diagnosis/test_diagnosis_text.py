"""Text: words counted, weighted and compared; also wide sparse matrices in general."""

import time
from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from scipy.stats import fisher_exact

from shiftlab import Domain
from shiftlab.diagnosis import diagnose
from shiftlab.diagnosis.columns import MOST_WORDS, read_columns
from shiftlab.diagnosis.duplicates import shared_rows_note
from shiftlab.diagnosis.text import read_texts, tfidf_weights, word_records
from shiftlab.stats.multiple import holm

WORDS = np.array([f"word{i:03d}" for i in range(300)])
USE = 1 / (np.arange(300) + 5.0)  # a few words are frequent, most are rare


def texts(seed, n, favourite=None):
    """Texts of 20 words; half of them contain the favourite."""
    r = np.random.default_rng(seed)
    drawn = r.choice(WORDS, size=(n, 20), p=USE / USE.sum())
    rows = [" ".join(row) for row in drawn]
    return [f"{row} {favourite}" if favourite and r.random() < 0.5 else row for row in rows]


def counts(seed, n, d, share):
    return sp.csr_matrix(np.random.default_rng(seed).random((n, d)) < share, dtype=np.int64)


def test_words_have_twice_fishers_one_sided_p():
    a, b = counts(0, 40, 12, 0.3), counts(1, 25, 12, 0.5)
    names = [f"w{i}" for i in range(12)]
    for i, record in enumerate(word_records(names, names, a, b)):
        x, y = int(a[:, [i]].sum()), int(b[:, [i]].sum())
        side = "greater" if y / 25 >= (x + y) / 65 else "less"
        one_sided = fisher_exact([[y, 25 - y], [x, 40 - x]], alternative=side).pvalue
        assert record.p_value == pytest.approx(min(1.0, 2 * one_sided))
        assert record.effect == pytest.approx(abs(x / 40 - y / 25))
        assert record.details["shares"]["target"][0] == pytest.approx(y / 25)


def test_words_hold_their_level_at_small_counts():
    names = [f"w{i}" for i in range(60)]
    shares = np.geomspace(0.01, 0.6, 60)
    raw, any_word = [], []
    for seed in range(300):
        p = [
            r.p_value
            for r in word_records(
                names, names, counts(seed, 70, 60, shares), counts(10_000 + seed, 50, 60, shares)
            )
        ]
        raw.append(p)
        any_word.append(holm(p).min() <= 0.05)
    assert (np.array(raw) <= 0.05).mean(axis=0).max() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert np.mean(any_word) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


def test_thousands_of_words_are_quick():
    a, b = (sp.random(10_000, 2000, 0.02, format="csr", random_state=s) for s in (0, 1))
    names = [str(i) for i in range(2000)]
    start = time.process_time()
    assert len(word_records(names, names, a, b)) == 2000
    assert time.process_time() - start < 2.0


def test_tfidf_against_a_loop_and_blind_to_the_side():
    a, b = (sp.csr_matrix(np.random.default_rng(s).poisson(0.8, (6, 5))) for s in (0, 1))
    first, second = tfidf_weights(a, b)
    pooled = np.vstack([a.toarray(), b.toarray()])
    expected = np.zeros(pooled.shape)
    for i, row in enumerate(pooled):
        for j, c in enumerate(row):
            if c > 0:
                rows_with = sum(pooled[:, j] > 0)
                expected[i, j] = (1 + np.log(c)) * (1 + np.log(13 / (1 + rows_with)))
        if expected[i].any():
            expected[i] /= np.linalg.norm(expected[i])
    np.testing.assert_allclose(np.vstack([first.toarray(), second.toarray()]), expected)
    swapped = tfidf_weights(b, a)
    assert (swapped[0] != second).nnz == 0


def test_every_form_of_texts_gives_the_same_counts():
    a, b, y = texts(0, 30), texts(1, 20), np.arange(30) % 2
    used = Counter(w for row in [*a, *b] for w in set(row.split()))
    vocabulary = sorted(w for w, n in used.items() if n >= 2)
    expected = [[row.split().count(w) for w in vocabulary] for row in a]
    frame = pd.DataFrame({"text": a, "y": y})
    forms = [
        ((a, y), b),
        ((np.array(a), y), np.array(b, dtype=object)),
        (frame, pl.DataFrame({"text": b})),
        ((pd.Series(a), pd.Series(y)), pl.Series(b)),
        ({"data": a, "target": y}, tuple(b)),
        (Domain(frame[["text"]], y), b),
    ]
    for source, target in forms:
        label = "y" if source is frame else None
        first, second, notes = read_texts(source, target, label)
        assert list(first.feature_names) == vocabulary == list(second.feature_names)
        np.testing.assert_array_equal(first.X.toarray(), expected)
        np.testing.assert_array_equal(first.y, y)
        assert (second.n_rows, second.n_labelled, notes) == (20, 0, [])


def test_missing_texts_are_empty_and_said():
    first, _, notes = read_texts(["a good one", None, float("nan")], ["a good two"])
    assert first.X.sum(axis=1).ravel().tolist() == [[1, 0, 0]]
    assert notes == ["2 missing texts of the source count as empty."]


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (["a text"], [["another"], ["text"]], "X must hold numbers"),
        (["one two", 3], ["one two"], "the source holds 3 of type int"),
        (["one two"], np.eye(2), "source holds texts and target a matrix"),
        (-np.eye(2), np.eye(2), "source holds negative or infinite numbers"),
        (np.eye(2), np.array([[np.nan, 1.0]]), "target holds negative or infinite numbers"),
        (["one"], ["two"], "no word is in two or more of the texts"),
        ([], ["two"], "source has no rows"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), ["x y"], "the source has 2 columns: 'a', 'b'"),
        (np.zeros((4, 8, 8), np.uint8), np.zeros((4, 8, 8), np.uint8), "the source holds images"),
    ],
)
def test_what_is_no_text_is_one_clear_error(source, target, message):
    with pytest.raises(ValueError, match=message):
        read_texts(source, target)


def test_the_word_that_moved_is_on_top():
    diagnosis = diagnose(
        texts(0, 400), texts(1, 400, "kettle"), features="tfidf", random_state=0, explain=False
    )
    assert diagnosis.findings["marginal"].differs
    assert not diagnosis.feature_space_differs
    top = diagnosis.features[0]
    assert (top.feature, top.status, top.note) == ("kettle", "differs", "never in the source")
    assert sum(f.status == "differs" for f in diagnosis.features) == 1
    assert any("weighted by TF-IDF" in note for note in diagnosis.notes)


def test_the_same_texts_in_both_domains_have_not_moved():
    source, target = texts(0, 400), texts(1, 400)
    labels = [int("word000" in row) for row in source]
    diagnosis = diagnose((source, labels), target, features="tfidf", random_state=0, explain=False)
    assert diagnosis.kind == "none"
    assert not any(f.status == "differs" for f in diagnosis.features)


def test_wide_sparse_numbers_are_compared_by_presence_and_by_value():
    r = np.random.default_rng(0)
    rare = [counts(s, 300, 400, 0.05).toarray() for s in (1, 2)]
    rare[1][:, 7] = r.random(300) < 0.3
    size = [r.normal(5, 1, (300, 1)), r.normal(7, 1, (300, 1))]  # never zero: only values can tell
    source, target = (sp.csr_matrix(np.hstack([n, m])) for n, m in zip(rare, size, strict=True))
    diagnosis = diagnose(source, target, random_state=0, explain=False)
    moved = {f.feature: f.test for f in diagnosis.features if f.status == "differs"}
    assert set(moved) == {"x7", "x400"}
    assert moved["x400"] == "Kolmogorov-Smirnov"
    assert len(diagnosis.features) == 401


def test_columns_of_sparse_matrices():
    a, b = (Domain(counts(s, 80, 3000, 0.01)) for s in (0, 1))
    columns = read_columns(a, b, None, 0)
    assert len(columns.words) <= MOST_WORDS
    used = np.asarray(sp.vstack([a.X, b.X]).sum(axis=0)).ravel()
    left = [i for i in range(3000) if f"x{i}" not in set(columns.words)]
    assert used[left].max() <= min(used[int(w[1:])] for w in columns.words)
    columns.leave_out({"x5": "a reason"})
    assert columns.embedding[0].shape == (80, 2999)
    assert columns.unusable == {"x5": "a reason"}


def test_stored_zeros_and_missing_values_of_sparse_matrices():
    a = counts(0, 60, 300, 0.1).astype(float)
    b = a.copy()
    b.data[:5] = 0.0  # stored, and still zero
    b.data[5:8] = [np.nan, np.inf, -np.inf]
    columns = read_columns(Domain(a), Domain(b), None, 0)
    assert any("3 values of the sparse X are not finite" in note for note in columns.notes)
    assert columns.embedding[1].nnz == a.nnz - 8
    assert np.isnan(b.data).sum() == 1  # what was passed in is not changed


def test_shared_rows_are_noticed_and_repeating_values_are_not():
    r = np.random.default_rng(0)
    X = r.normal(size=(300, 3))
    columns = read_columns(Domain(X[:200]), Domain(X[170:]), None, 0)
    assert any("About 30 rows are in the source as well" in note for note in columns.notes)
    moved = r.normal(size=(200, 3))
    assert shared_rows_note((map(tuple, X), map(tuple, moved))) == ""
    # Few values in other shares on each side: rows repeat, and the samples are independent.
    for seed in range(200):
        r = np.random.default_rng(seed)
        p = np.r_[np.full(300, 0.5 / 300), np.full(300, 1.5 / 300)] / 300
        first, second = (r.choice(600, 200, p=q / q.sum()).tolist() for q in (p, p[::-1]))
        assert shared_rows_note((first, second)) == ""
