"""Weights on Y against known density ratios."""

import numpy as np
import pytest
from scipy.stats import beta
from sklearn.linear_model import LinearRegression

from shiftlab import Domain
from shiftlab.conditional.target_shift import TargetShift, label_basis


def rows_of(y, seed):
    rng = np.random.default_rng(seed)
    return np.column_stack([y, np.sin(3 * y)]) + 0.1 * rng.normal(size=(len(y), 2))


def test_weights_are_the_density_ratio():
    rng = np.random.default_rng(0)
    y, hidden = rng.random(2000), rng.beta(3, 2, 2000)
    adapter = TargetShift(random_state=0).fit((rows_of(y, 1), y), rows_of(hidden, 2))
    truth = beta(3, 2).pdf(y)
    assert np.corrcoef(adapter.weights_, truth)[0, 1] > 0.9
    assert np.abs(adapter.weights_ - truth).mean() < 0.25
    assert adapter.weights_.mean() == pytest.approx(1.0)


def test_a_wrong_linear_model_gains_where_the_target_is():
    """A line through a bent X|Y fits best where the weights are."""
    rng = np.random.default_rng(3)
    y, hidden = rng.random(1500) * 2, rng.beta(8, 1, 1500) * 2
    X, Z = (rows_of(v, s)[:, 1:] + 0.2 * v[:, None] for v, s in ((y, 4), (hidden, 5)))
    plain = LinearRegression().fit(X, y)
    adapted = TargetShift(LinearRegression(), random_state=0).fit((X, y), Z)
    error = [np.mean((model.predict(Z) - hidden) ** 2) for model in (plain, adapted)]
    assert error[1] < 0.8 * error[0]


def test_no_shift_leaves_the_weights_near_one():
    rng = np.random.default_rng(6)
    y, hidden = rng.random((2, 1000))
    adapter = TargetShift(random_state=0).fit((rows_of(y, 7), y), rows_of(hidden, 8))
    assert np.abs(adapter.weights_ - 1).mean() < 0.15


def test_classes_and_several_sources():
    """Pooled sources of different shares: weights times shares are the target's shares."""
    rng = np.random.default_rng(9)

    def draw(prior, n):
        y = rng.choice(3, n, p=prior)
        return np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])[y] + rng.normal(size=(n, 2)), y

    sources = [draw([0.7, 0.2, 0.1], 600), draw([0.2, 0.2, 0.6], 300)]
    target, _ = draw([0.1, 0.6, 0.3], 900)
    adapter = TargetShift(random_state=0).fit(sources, target)
    y = adapter.source_.y
    shares = [adapter.weights_[y == c].sum() / len(y) for c in range(3)]
    np.testing.assert_allclose(shares, [0.1, 0.6, 0.3], atol=0.05)


def test_own_weights_are_multiplied():
    rng = np.random.default_rng(10)
    y = rng.random(1000)
    X, own = rows_of(y, 11), np.where(y > 0.5, 3.0, 1.0)
    adapter = TargetShift(random_state=0).fit(
        Domain(X, y, weight=own), rows_of(rng.random(1000), 12)
    )
    # The weighted source has too many large values, which the ratio takes back.
    assert np.average(y, weights=adapter.weights_) == pytest.approx(0.5, abs=0.04)


def test_basis_is_a_partition():
    rows = label_basis(np.random.default_rng(13).normal(size=200), 6)
    np.testing.assert_allclose(rows.sum(1), 1.0)
    assert (rows >= 0).all()
    assert rows.shape == (200, 6)
