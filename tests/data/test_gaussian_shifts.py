"""Each small task's truth: what it keeps is kept, what it moves moves by the stated size."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

from shiftlab.data import GAUSSIAN_SHIFTS, make_gaussian_shift
from shiftlab.data.gaussian_shifts import AXIS, LOCATION, SCALE, TURN, gaussian_probability

N = 20_000
SURE = 1e-4  # per test; all seeds are fixed, so a failure is a change of the code


@pytest.fixture(scope="module")
def drawn():
    return {
        kind: make_gaussian_shift(kind, n_source=N, n_target=N, random_state=k)
        for k, kind in enumerate(GAUSSIAN_SHIFTS)
    }


def least_p(a, b):
    """Smallest Kolmogorov-Smirnov p-value over the columns and the axis, corrected."""
    a, b = (np.column_stack([X, X @ AXIS]) for X in (a, b))
    return min(stats.ks_2samp(x, y).pvalue for x, y in zip(a.T, b.T, strict=True)) * 6


def miscalibration(domain, kind, target):
    """Largest |z| of the residuals of the known P(Y|X) against functions of X."""
    p = gaussian_probability(domain.X, kind, target=target)
    tests = [np.ones(N), *np.tanh(domain.X.T), *np.cos(domain.X.T)]
    return max(abs(((domain.y - p) * f).sum()) / np.sqrt((p * (1 - p) * f**2).sum()) for f in tests)


@pytest.mark.parametrize("kind", GAUSSIAN_SHIFTS)
def test_the_stated_probability_is_the_true_one_on_both_sides(drawn, kind):
    for domain, target in zip(drawn[kind], (False, True), strict=True):
        assert miscalibration(domain, kind, target) < 4.5  # 11 tests a side


@pytest.mark.parametrize("kind", ["none", "covariate"])
def test_the_rule_is_kept(drawn, kind):
    assert miscalibration(drawn[kind][1], "none", False) < 4.5


def test_nothing_moves_in_none(drawn):
    source, target = drawn["none"]
    assert least_p(source.X, target.X) > SURE
    assert abs(source.y.mean() - target.y.mean()) < 0.02


def test_covariate_moves_one_mean_and_all_spreads(drawn):
    target = drawn["covariate"][1].X
    assert np.allclose(target.mean(axis=0), [1, 0, 0, 0, 0], atol=0.03)
    assert np.allclose(target.std(axis=0), 0.8, atol=0.02)


def test_label_keeps_each_class(drawn):
    source, target = drawn["label"]
    assert abs(source.y.mean() - 0.5) < 0.02
    assert abs(target.y.mean() - 0.1) < 0.01
    for c in (0, 1):
        assert least_p(source.X[source.y == c], target.X[target.y == c]) > SURE
    assert least_p(source.X, target.X) < SURE


def test_location_scale_keeps_the_task_behind_the_change(drawn):
    source, target = drawn["location_scale"]
    behind = (target.X - LOCATION) / SCALE
    assert least_p(source.X, behind) > SURE
    assert miscalibration(target.with_(X=behind), "none", False) < 4.5
    assert miscalibration(target, "none", False) > 20


def test_concept_keeps_both_marginals_and_turns_the_axis(drawn):
    source, target = drawn["concept"]
    assert least_p(source.X, target.X) > SURE
    assert abs(source.y.mean() - target.y.mean()) < 0.02
    axis = LogisticRegression().fit(target.X, target.y).coef_[0]
    angle = np.degrees(np.arccos(axis @ AXIS / np.linalg.norm(axis)))
    assert abs(angle - TURN) < 1.5


def test_source_only_lands_where_it_is_known_to():
    expected = {"none": 0.979, "covariate": 0.983, "label": 0.803, "location_scale": 0.740}
    for kind, accuracy in {**expected, "concept": 0.550}.items():
        found = []
        for seed in range(20):
            source, target = make_gaussian_shift(kind, random_state=seed)
            found.append(LogisticRegression().fit(source.X, source.y).score(target.X, target.y))
        assert abs(np.mean(found) - accuracy) < 0.015, kind


def test_a_seed_gives_the_same_rows_and_another_does_not():
    first, again, other = (make_gaussian_shift("label", random_state=s)[1] for s in (3, 3, 4))
    assert np.array_equal(first.X, again.X)
    assert np.array_equal(first.y, again.y)
    assert not np.array_equal(first.X, other.X)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "drift"}, "kind must be one of 'none'.*got 'drift'"),
        ({"kind": "none", "n_source": 0}, "n_source must be an int of at least 1, got 0"),
        ({"kind": "none", "n_target": 2.5}, "n_target must be an int of at least 1, got 2.5"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_gaussian_shift(**arguments)
