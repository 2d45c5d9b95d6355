"""The test behind the refusal: its level under label shift, its power when P(X|Y) moves."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from shiftlab import Domain
from shiftlab.conditional.estimation import cross_fit
from shiftlab.conditional.label_shift_fit import copies, is_label_shift_plausible, label_shift_fit

CENTRES = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])


def fit_of(seed, moved=0.0, n=300, X_of=lambda X: X):
    rng = np.random.RandomState(seed)

    def draw(prior, move):
        y = rng.choice(3, n, p=prior)
        X = CENTRES[y] + rng.normal(size=(n, 3))
        return X + move * np.array([0.0, 0.0, 1.0]), y

    X, y = draw([0.4, 0.3, 0.3], 0.0)
    Z, _ = draw([0.1, 0.2, 0.7], moved)
    plain = Domain(X, y), Domain(Z)
    fit = cross_fit(LogisticRegression(), *plain, "none", 3, rng)
    source, target = Domain(X_of(X), y), Domain(X_of(Z))
    return label_shift_fit(
        source.take(fit.rows), fit.probabilities, fit.codes, target, fit.target_probabilities, rng
    )


def test_level_under_label_shift():
    statistics = np.array([fit_of(seed).statistic for seed in range(12)])
    assert statistics.mean() < 0.6  # it is on the safe side: standard deviation at most one
    assert (statistics > 2.33).sum() <= 1


def test_a_shift_within_the_classes_is_rejected():
    for seed in range(3):
        fit = fit_of(seed, moved=1.5)
        assert fit.p_value < 1e-4
        assert not is_label_shift_plausible(fit)


def test_many_columns_do_not_reject_by_themselves():
    """Directions learnt on all target rows would fit them better than the source's."""
    rng = np.random.default_rng(0)

    def wide(X):
        return np.hstack([X, rng.normal(size=(len(X), 97))])

    assert np.mean([fit_of(seed, X_of=wide).statistic for seed in range(2)]) < 2.0


def test_text_leaves_the_predictions():
    def frame(X):
        return pd.DataFrame({"word": np.where(X[:, 0] > 0, "yes", "no"), "x": X[:, 1]})

    assert fit_of(0, X_of=frame).p_value > 0.01


def test_too_few_rows_cannot_be_tested():
    assert fit_of(0, n=8) is None
    assert is_label_shift_plausible(None)


def test_copies_are_found_unless_values_are_few():
    X = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    kin = copies(X, np.array([0, 1, 0]))
    assert kin[0] == kin[2] != kin[1]
    assert len(set(copies(X, np.array([0, 1, 1])))) == 3


@pytest.mark.parametrize("kind", ["copies", "none"])
def test_copies_of_target_rows_do_not_reject(kind):
    rng = np.random.RandomState(1)
    y = rng.choice(3, 400)
    X = CENTRES[y] + rng.normal(size=(400, 3))
    rows = np.arange(400) if kind == "none" else rng.choice(70, 400)
    Z = CENTRES[rng.choice(3, 400)] + rng.normal(size=(400, 3))
    source, target = Domain(X, y), Domain(Z[rows])
    fit = cross_fit(LogisticRegression(), source, target, "none", 3, rng)
    found = label_shift_fit(
        source, fit.probabilities, fit.codes, target, fit.target_probabilities, rng
    )
    assert is_label_shift_plausible(found)
