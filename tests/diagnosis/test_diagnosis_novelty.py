"""Rows beyond the source: found for a new class, not for label shift or no shift."""

import numpy as np
import pytest
from diagnosis_cases import pair

from shiftlab import diagnose


def _novelty(kind, seed, n=800):
    source, (X, _) = pair(kind, seed, n=n)
    return diagnose(source, X, random_state=seed, explain=False)


def test_a_new_class_is_suspected_without_target_labels():
    for seed in range(3):
        found = _novelty("new class", seed, n=1500)
        assert found.findings["novelty"].differs
        assert found.findings["label_space"].details["suspected"]
        assert "suspected" in found.findings["label_space"].summary
        # 15% of the rows are new, three standard deviations away: most of them lie beyond
        assert 0.05 < found.findings["novelty"].effect < 0.2
        # a suspicion is no fact
        assert not found.label_space_differs


@pytest.mark.parametrize("kind", ["label", "none"])
def test_label_shift_and_no_shift_raise_no_suspicion(kind):
    for seed in range(4):
        assert not _novelty(kind, seed).findings["novelty"].differs


def test_a_change_inside_the_range_of_the_source_raises_no_suspicion():
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(1000, 3))
    y = (X[:, 0] > 0.5).astype(int)
    T = rng.beta(2, 1, size=(1000, 3))
    found = diagnose((X, y), T, random_state=0, explain=False)
    assert found.findings["marginal"].differs
    assert not found.findings["novelty"].differs


def test_outputs_see_a_class_between_the_known_ones():
    rng = np.random.default_rng(1)
    y = rng.integers(2, size=1500)
    X = rng.normal(size=(1500, 2)) + 8.0 * np.column_stack([y, y])
    T = rng.normal(size=(1500, 2)) + 8.0 * rng.integers(2, size=(1500, 1))
    T[:225] = rng.normal(size=(225, 2)) + 4.0
    found = diagnose((X, y), T, random_state=0, explain=False).findings["novelty"]
    assert found.differs
    assert found.effect == pytest.approx(0.15, abs=0.04)


@pytest.mark.slow
def test_no_suspicion_under_label_shift_in_many_draws():
    raised = [
        _novelty("label", 500 + seed, n=300).findings["novelty"].differs for seed in range(100)
    ]
    assert np.mean(raised) <= 0.02
