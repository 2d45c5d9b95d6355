"""Rows, splits and numbers: copies, huge values, ties, halves, and the global generator."""

import warnings

import numpy as np
import pytest
from sklearn.utils import check_random_state

from shiftlab import diagnose, diagnose_many
from shiftlab.diagnosis.novelty import FEWEST_OF_CLASS, _groups, _threshold
from shiftlab.diagnosis.sample import split_rows
from shiftlab.stats.two_sample import auc_interval


def _rows(seed, n=300, d=3):
    return np.random.default_rng(seed).normal(size=(n, d))


def test_copies_inside_a_side_are_said_and_values_that_repeat_by_nature_are_not():
    X = _rows(0)
    found = diagnose(np.vstack([X, X[:60]]), _rows(1), random_state=0, explain=False)
    assert any(note.startswith("60 of the 360 source rows are copies") for note in found.notes)
    whole = np.random.default_rng(2).integers(0, 3, size=(300, 3))
    found = diagnose(whole, whole[::-1] + 0, random_state=0, explain=False)
    assert not any("copies of others" in note for note in found.notes)
    assert not any("copies of others" in n for n in diagnose(X, _rows(1), explain=False).notes)


def test_a_huge_numeric_y_gives_the_answers_of_a_small_one():
    X, T = _rows(3), _rows(4)
    y, t = X[:, 0] + 0.1 * X[:, 1], 0.2 * T[:, 0] + 0.1 * T[:, 1]
    options = {"task": "regression", "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        huge = diagnose((X, y * 1e200), (T, t * 1e200), **options)
    small = diagnose((X, y), (T, t), **options)
    assert huge.kind == small.kind == "concept"
    for question, finding in small.findings.items():
        assert huge.findings[question].p_value == pytest.approx(finding.p_value, abs=1e-3)


def test_intervals_have_a_width_at_the_ends():
    low, high = auc_interval(1.0, [20, 30], [30, 20])
    assert 0.8 < low < 1.0
    assert high == 1.0
    # one stratum is the plain interval, and equal strata are as good as their rows together
    assert auc_interval(0.7, [40], [40]) == auc_interval(0.7, 40, 40)
    halves, whole = auc_interval(0.7, [40, 40], [40, 40]), auc_interval(0.7, 80, 80)
    np.testing.assert_allclose(halves, whole, atol=0.01)
    y = np.arange(200) % 2
    apart = diagnose((_rows(5, 200), y), (_rows(6, 200) + 50, y), random_state=0, explain=False)
    for question in ("class_conditional", "novelty"):
        low, high = apart.findings[question].interval
        assert low < 0.99
        assert high == pytest.approx(1.0)


def test_many_classes_in_few_rows_raise_no_warning_and_give_possible_numbers():
    y = np.arange(60) % 20  # three rows a class, on both sides
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labelled, bare = (
            diagnose((_rows(7, 60), y), target, random_state=0).findings
            for target in ((_rows(8, 60), y), _rows(8, 60))
        )
    assert labelled["prior"].p_value == 1.0
    assert labelled["prior"].effect == 0.0
    tested = [f for found in (labelled, bare) for f in found.values() if f.p_value is not None]
    assert len(tested) == 4 + 2
    for finding in tested:
        low, high = finding.interval
        assert 0 < finding.p_value <= 1
        assert 0 <= low <= finding.effect <= high <= 1


def test_the_global_generator_is_left_alone():
    X = _rows(9, 60)
    state = check_random_state(None)  # NumPy's own
    before = state.get_state()
    diagnose(X, X + 1, explain=False)
    diagnose_many({"a": X, "b": X + 1})
    after = state.get_state()
    np.testing.assert_array_equal(after[1], before[1])
    assert after[2] == before[2]


def test_halves_hold_the_labelled_rows_evenly():
    rng = np.random.default_rng(10)
    source, target = np.arange(100) < 40, np.zeros(1000, dtype=bool)
    target[rng.choice(1000, 41, replace=False)] = True
    learn, test = split_rows((source, target), rng)
    for known, a, b, n in ((source, learn[0], test[0], 40), (target, learn[1], test[1], 41)):
        assert sorted([*a, *b]) == list(range(known.size))
        assert known[a].sum() == n // 2
        assert known[b].sum() == n - n // 2


def test_a_random_part_of_a_sorted_table_is_taken():
    X = np.sort(np.random.default_rng(11).normal(size=(30_000, 1)), axis=0)
    X = np.hstack([X, np.random.default_rng(12).normal(size=(30_000, 1))])
    found = diagnose(X, X[::-1] + 0, random_state=0, explain=False)
    assert any("random 10,000 of the 30,000" in note for note in found.notes)
    assert found.kind == "none"


def test_tied_columns_keep_the_level():
    alarms = 0
    for seed in range(20):
        X = (np.random.default_rng(100 + seed).random((120, 3)) < 0.03).astype(float)
        alarms += diagnose(X[:60], X[60:], random_state=seed, explain=False).kind != "none"
    assert alarms <= 4


def test_a_heavy_tailed_y_keeps_the_level_of_x_given_y():
    p = []
    for seed in range(20):
        rng = np.random.default_rng(200 + seed)
        X = rng.normal(size=(400, 3))
        y = X[:, 0] + rng.standard_t(1, size=400)  # no variance: knots on ranks hold its bulk
        half = (X[:200], y[:200]), (X[200:], y[200:])
        found = diagnose(*half, task="regression", random_state=seed, explain=False)
        p.append(found.findings["class_conditional"].p_value)
    assert np.mean(np.array(p) <= 0.05) <= 0.2
    # a change of scale of X at equal Y is seen through the tails
    rng = np.random.default_rng(300)
    X, T = rng.normal(size=(2, 600, 3))
    y, t = X[:, 0] + rng.standard_t(1, size=600), T[:, 0] + rng.standard_t(1, size=600)
    T[:, 1] += 1.0
    found = diagnose((X, y), (T, t), task="regression", random_state=0, explain=False)
    assert found.findings["class_conditional"].differs


def test_small_classes_are_taken_together_for_the_threshold():
    codes = np.repeat([0, 1, 2, 3], [5, 8, 12, 200])
    assert _groups(codes) == [[0, 1, 2], [3]]
    assert _groups(np.repeat([0, 1], [5, 100])) == [[0, 1]]
    scores = np.where(codes < 3, 10.0, 0.0) + np.linspace(0, 1, codes.size)
    threshold, share = _threshold(scores, codes)
    # the rows of small classes score high; left out, they would count as novel
    assert threshold >= 10.0
    assert share <= 1 / FEWEST_OF_CLASS


def test_rare_is_not_called_beyond_the_range():
    rng = np.random.default_rng(13)
    X = rng.uniform(size=(1000, 3))
    T = rng.beta(20, 1, size=(1000, 3))
    found = diagnose((X, (X[:, 0] > 0.5).astype(int)), T, random_state=0, explain=False)
    novelty = found.findings["novelty"]
    assert novelty.differs
    shown = " ".join([novelty.summary, novelty.details["effect_name"], *found.limits])
    assert "rare in" in shown
    assert "range" not in shown
    assert "beyond" not in shown


@pytest.mark.parametrize("labelled", [True, False])
def test_what_is_recommended_for_lists_of_texts_runs(labelled):
    rng = np.random.default_rng(14)

    def texts(y, words):
        ends = (["bad", "dull", "poor"], ["good", "fine", "nice"])
        return [" ".join([*rng.choice(words, 6), *rng.choice(ends[v], 2)]) for v in y]

    y, t = rng.integers(0, 2, size=300), (rng.random(300) < 0.75).astype(int)
    words = ["a", "it", "and", "book", "page", "time", "very"]
    source, target = texts(y, words), texts(t, words)
    given = (target, t) if labelled else target
    found = diagnose((source, y), given, features="tfidf", random_state=0)
    advice = found.recommend()
    # what gained most on known label shifts comes first
    assert advice[0].method == "PriorCorrection"
    assert len(advice) > 2
    for one in advice:
        space = {"source": (source, y), "target": given}
        exec(one.code, space)
        if one.method == "PriorCorrection":
            assert (space["adapted"].predict(space["target"].X) == t).mean() > 0.9
