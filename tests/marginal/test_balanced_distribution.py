"""BDA against JDA and TCA at the ends, and the estimate of its balance."""

import numpy as np
import pytest

from shiftlab import JDA, TCA, BalancedDistribution
from shiftlab.marginal.alignment.balanced_distribution import estimate_balance, proxy_distance


@pytest.fixture
def task():
    rng = np.random.default_rng(0)
    y, hidden = rng.integers(0, 3, size=(2, 80))
    centres = 4 * np.eye(3, 5)
    move = np.array([0, 0, 0, 2.0, -1.0])
    return (centres[y] + rng.normal(size=(80, 5)), y), centres[hidden] + move + rng.normal(
        size=(80, 5)
    )


@pytest.mark.parametrize("kernel", ["linear", "gaussian"])
def test_half_is_jda(task, kernel):
    source, target = task
    arguments = {"n_components": 2, "kernel": kernel, "random_state": 0}
    half = BalancedDistribution(balance=0.5, **arguments).fit(source, target)
    joint = JDA(**arguments).fit(source, target)
    np.testing.assert_allclose(half.source_.X, joint.source_.X, atol=1e-9)
    np.testing.assert_array_equal(half.pseudo_labels_, joint.pseudo_labels_)
    assert half.balance_ == 0.5


def test_zero_is_tca_with_half_the_regularisation(task):
    source, target = task
    zero = BalancedDistribution(balance=0.0, n_components=2).fit(source, target)
    tca = TCA(n_components=2, regularization=0.5).fit(source, target)
    np.testing.assert_allclose(np.abs(zero.source_.X), np.abs(tca.source_.X), atol=1e-8)


def test_one_looks_at_the_classes_alone(task):
    """With marginals and class shares moved together, only the classes' means agree."""
    (X, y), _ = task
    rows = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:5]])
    target, hidden = X[rows], y[rows]
    one = BalancedDistribution(balance=1.0, regularization=1e-6).fit((X, y), target)
    np.testing.assert_array_equal(one.pseudo_labels_, hidden)
    # Nothing moved within the classes but the sample: the axis of the classes stays first.
    Z = one.source_.X
    assert np.abs(np.corrcoef(Z.T, y == 0)[-1, :-1]).max() > 0.5


def test_proxy_distance_at_its_ends():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 2000, 3))
    assert proxy_distance(a, b) < 0.1
    assert proxy_distance(a, b + 20) == 2.0
    assert proxy_distance(a, b[:3]) == 0.0
    # For two Gaussians at distance D the best error is Phi(-D / 2)
    assert proxy_distance(a, b + np.eye(3)[0]) == pytest.approx(2 * (1 - 2 * 0.3085), abs=0.06)


def test_balance_sees_what_moved():
    rng = np.random.default_rng(2)
    y = np.tile([0, 1], 300)
    X = rng.normal(size=(600, 2)) + 6 * y[:, None] * [1, 0]
    codes = np.concatenate([y, y])
    same = rng.normal(size=(600, 2)) + 6 * y[:, None] * [1, 0]
    opposite = same + np.where(y[:, None] == 0, 3, -3) * [0, 1]
    assert estimate_balance(X, opposite, codes) > 0.9
    together = estimate_balance(X, same + np.array([0, 9]), codes)
    np.testing.assert_allclose(together, 2 / 3, atol=0.02)  # 1 - 2 / (2 + 2 + 2)
    assert estimate_balance(X[:2], same[:2], np.zeros(4, dtype=int)) == 0.5
