"""Label plans: floors and limits, balanced prefixes, and the promised power in real runs."""

import numpy as np
import pytest
from diagnosis_cases import DIRECTIONS, draw
from scipy.stats import norm

from shiftlab import diagnose
from shiftlab.diagnosis.conditional import FEWEST
from shiftlab.diagnosis.plan import EFFECT, LabelSetting, choose_rows, plan_labels, power_of_labels
from shiftlab.stats.power import class_variance

SIZE = EFFECT["classification"]


def setting(**given):
    fields = {
        "balanced_source": np.full(3000, 0.5),
        "balanced_target": np.full(3000, 0.5),
        "variance": 0.3,
        "n_columns": 5,
        "n_source_labels": 3000,
        "alpha": 0.05,
        "task": "classification",
    }
    return LabelSetting(**(fields | given))


def plan(s, n_known=0, **given):
    n = s.balanced_target.size
    labelled = np.arange(n) < n_known
    return plan_labels(s, labelled, np.arange(n) + 7, seed=0, **given)


def test_number_is_the_smallest_that_reaches_the_power_and_rows_are_as_many():
    s = setting()
    found = plan(s)
    assert s.power(found.n_labels, SIZE) >= 0.8 > s.power(found.n_labels - 1, SIZE)
    assert len(found.rows) == len(set(found.rows)) == found.n_labels
    assert min(found.rows) >= 7  # positions in the target as it was given
    assert f"{found.n_labels:,} labelled rows" in found.summary
    powers = [p for _, p in found.curve]
    assert powers == sorted(powers)
    assert dict(found.curve)[1000] == round(s.power(1000, SIZE), 3)


def test_labels_there_are_count_and_are_not_chosen_again():
    s = setting()
    n = plan(s).n_labels
    found = plan(s, n_known=50)
    assert found.n_labels == n
    assert len(found.rows) == n - 50
    assert min(found.rows) >= 57
    assert f"50 have a label, so label {n - 50:,} more" in found.summary
    enough = plan(s, n_known=n)
    assert enough.rows == ()
    assert "have a label" in enough.summary


def test_large_changes_need_the_floor_and_small_ones_more_than_there_is():
    assert plan(setting(), effect=2.0).n_labels == 2 * FEWEST
    none = plan(setting(), effect=0.01)
    assert none.n_labels is None
    assert len(none.rows) == 200
    assert none.summary.startswith("Even with a label for each of its 3,000 rows")
    small = setting(balanced_target=np.full(2 * FEWEST - 1, 0.5))
    assert plan(small, effect=2.0).n_labels is None
    with pytest.raises(ValueError, match="effect must be above 0"):
        plan(setting(), effect=0.0)
    with pytest.raises(ValueError, match="one entry for each of the 3000"):
        plan_labels(setting(), [True], [0], seed=0)


def test_a_change_that_is_the_same_for_all_x_takes_fewer_labels():
    s = setting(variance=0.5)  # of a sure spread: two classes, each with probability a half
    found = plan(s)
    even = next(n for n in range(40, 3000) if s.power_if_even(n, SIZE) >= 0.8)
    assert f"If it is the same for all X, {even:,} are enough." in found.summary
    assert found.n_labels is None or even < found.n_labels
    # two means, of n and 3000 values, two-sided at an eighth of the level
    spread = np.sqrt(0.5 * (1 / even + 1 / 3000))
    assert norm.sf(norm.isf(0.05 / 16) - SIZE / spread) == pytest.approx(0.8, abs=0.005)


def test_what_no_label_can_settle_is_said():
    apart = setting(balanced_target=np.full(3000, 0.99))
    assert plan(apart).n_labels is None
    assert "Only 0% of the target lies where the source has data" in plan(apart).summary
    few = setting(n_source_labels=10)
    assert "The source has 10 labelled rows" in plan(few).summary
    assert power_of_labels(few, 500).power == 0.0


def test_less_overlap_fewer_source_labels_and_more_noise_need_more_labels():
    n = plan(setting()).n_labels
    half = np.where(np.arange(3000) % 2 == 0, 0.5, 0.97)
    for worse in (
        {"balanced_target": half},
        {"n_source_labels": 1800},
        {"variance": 0.4},
        {"n_columns": 8},
        {"alpha": 0.01},
    ):
        more = plan(setting(**worse)).n_labels
        assert more is None or more > n, worse


def test_few_labels_state_their_power():
    s = setting()
    fifty = power_of_labels(s, 50)
    assert fifty.power == s.power(50, SIZE) < 0.2
    assert s.power(50, fifty.detectable) == pytest.approx(0.8)
    assert f"{fifty.detectable:.2f} or more" in fifty.summary
    regression = power_of_labels(setting(task="regression", variance=0.5), 400)
    assert "0.3 (standard deviations of Y)" in regression.summary
    too_few = power_of_labels(s, 2 * FEWEST - 1)
    assert (too_few.power, too_few.detectable) == (0.0, None)


def test_every_prefix_of_the_rows_holds_the_same_number_of_each_stratum():
    rng = np.random.default_rng(0)
    b = rng.beta(0.6, 0.6, 2000)
    labelled = rng.random(2000) < 0.1
    rows = choose_rows(b, labelled, 5000, seed=1)
    open_rows = np.flatnonzero(~labelled)
    assert sorted(rows) == open_rows.tolist()
    stratum = np.empty(2000, dtype=int)
    for k, part in enumerate(np.array_split(open_rows[np.argsort(b[open_rows])], 20)):
        stratum[part] = k
    for n in (7, 60, 333, 1000):
        counts = np.bincount(stratum[rows[:n]], minlength=20)
        assert counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(rows, choose_rows(b, labelled, 5000, seed=1))
    assert not np.array_equal(rows, choose_rows(b, labelled, 5000, seed=2))
    assert choose_rows(b, np.ones(2000, dtype=bool), 10, seed=0).size == 0


def test_chosen_rows_are_an_unbiased_sample_also_under_ties():
    rng = np.random.default_rng(3)
    b = np.round(rng.random(300), 1)
    hits = np.zeros(300)
    for seed in range(2000):
        hits[choose_rows(b, np.zeros(300, dtype=bool), 30, seed=seed)] += 1
    # each row is chosen with probability a tenth
    assert np.abs(hits / 2000 - 0.1).max() < 5 * np.sqrt(0.1 * 0.9 / 2000)


def _measured(make_target, n_labels, seeds, **given):
    found = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        source, target = make_target(rng, 0.0, 1200), make_target(rng, 1.0, n_labels)
        diagnosis = diagnose(
            source, target, explain=False, n_permutations=239, random_state=seed, **given
        )
        found += diagnosis.findings["conditional"].differs
    return found / len(seeds)


@pytest.mark.slow
def test_planned_labels_find_a_changed_classification():
    turn = np.deg2rad(16)

    def sample(rng, size, n):
        return draw(rng, n, turn=size * turn)

    # the change and the spread of Y, from the known probabilities through many draws of Y
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 2))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    p, q = (np.exp(3 * X @ r @ DIRECTIONS.T) for r in (np.eye(2), rotation))
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    effect = float(np.sqrt(np.square(p - q).sum(axis=1).mean()))
    s = setting(variance=class_variance(p), n_columns=6, n_source_labels=1200)
    n = plan(s, effect=effect).n_labels
    assert 150 < n < 1200
    assert 0.6 <= _measured(sample, n, range(24)) <= 0.97
    assert _measured(sample, n // 4, range(24)) <= 0.6


@pytest.mark.slow
def test_planned_labels_find_a_changed_regression():
    def sample(rng, size, n):
        X = rng.normal(size=(n, 4))
        return X, X[:, 0] + 0.35 * size * X[:, 1] + rng.normal(size=n)

    sd = np.sqrt(2.0)
    s = setting(task="regression", variance=0.5, n_columns=4, n_source_labels=1200)
    n = plan(s, effect=0.35 / sd).n_labels
    assert 150 < n < 1200
    assert 0.6 <= _measured(sample, n, range(24), task="regression") <= 0.97
