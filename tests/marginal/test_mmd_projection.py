"""What TCA, TJM, JDA and BDA share, against naive loops and textbook problems."""

import numpy as np
import pytest
from scipy.linalg import eigh

from shiftlab import (
    GFK,
    JDA,
    TCA,
    BalancedDistribution,
    Domain,
    SubspaceAlignment,
    TransferJointMatching,
)
from shiftlab.marginal.alignment import mmd_projection
from shiftlab.marginal.alignment.mmd_projection import (
    ProjectionProblem,
    kernel_features,
    mean_differences,
)
from shiftlab.stats.kernels import gaussian_kernel

# Pseudo-labels of noise do not settle, and that is not what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore:.*pseudo-labels still changed:UserWarning")

EVERY = [TCA, TransferJointMatching, JDA, BalancedDistribution]


def two_samples(n=40, m=50, d=6, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, size=n)
    source = rng.normal(size=(n, d)) * np.arange(1, d + 1) + y[:, None]
    target = rng.normal(size=(m, d)) + rng.normal(size=d)
    return source, y, target


def textbook(K, terms, penalty, k):
    """The full problem in n coefficients: (K M K + penalty) w = cost K H K w."""
    n = len(K)
    H = np.eye(n) - 1 / n
    M = sum(np.outer(e, e) for e in terms)
    values, W = eigh(K @ H @ K, K @ M @ K + penalty)
    W = W[:, ::-1][:, :k]
    Z = K @ W
    return Z - Z.mean(axis=0), 1 / values[::-1][:k]


def assert_same_components(Z, expected, rtol=1e-6):
    """Equal up to the length and the sign of each component."""
    Z, expected = (x / np.linalg.norm(x, axis=0) for x in (Z, expected))
    np.testing.assert_allclose(np.abs(np.sum(Z * expected, axis=0)), 1, rtol=rtol)


def fitted_rows(adapter, target):
    return np.vstack([adapter.source_.X, adapter.transform(target)])


def linear_kernel(source, target, scale):
    rows = np.vstack([source, target])
    if scale:
        rows = rows / np.sqrt((source.var(axis=0) + target.var(axis=0)) / 2)
    rows = rows - rows.mean(axis=0)
    K = rows @ rows.T
    return K / np.trace(K) * len(K)


@pytest.mark.parametrize("weighted", [False, True])
def test_mean_differences_are_those_of_a_loop(weighted):
    rng = np.random.default_rng(1)
    F, codes = rng.normal(size=(25, 3)), rng.integers(-1, 4, size=25)
    codes[:10][codes[:10] == 2] = 0  # class 2 is in the target only
    w = rng.gamma(1.0, size=25) if weighted else np.ones(25)
    found = mean_differences(10, w, codes) @ F
    side = np.arange(25) >= 10
    expected = [
        np.average(F[~side], axis=0, weights=w[~side])
        - np.average(F[side], axis=0, weights=w[side])
    ]
    for c in (0, 1, 3):
        here, there = ~side & (codes == c), side & (codes == c)
        expected.append(
            np.average(F[here], axis=0, weights=w[here])
            - np.average(F[there], axis=0, weights=w[there])
        )
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("d", [6, 200], ids=["primal", "dual"])
def test_linear_tca_is_the_textbook_problem(d, scale):
    source, _, target = two_samples(d=d)
    adapter = TCA(n_components=4, regularization=0.3, scale=scale).fit(source, target)
    K = linear_kernel(source, target, scale)
    terms = mean_differences(40, np.ones(90)).toarray()
    Z, costs = textbook(K, terms, 0.3 * np.eye(90), 4)
    assert_same_components(fitted_rows(adapter, target), Z)
    np.testing.assert_allclose(adapter.costs_, costs, rtol=1e-6)


def test_gaussian_tca_is_the_textbook_problem():
    source, _, target = two_samples()
    adapter = TCA(
        n_components=4, kernel="gaussian", bandwidth=2.0, regularization=0.1, scale=False
    ).fit(source, target)
    rows = np.vstack([source, target])
    terms = mean_differences(40, np.ones(90)).toarray()
    Z, costs = textbook(gaussian_kernel(rows, rows, 2.0), terms, 0.1 * np.eye(90), 4)
    assert_same_components(fitted_rows(adapter, target), Z)
    np.testing.assert_allclose(adapter.costs_, costs, rtol=1e-6)


def test_padding_with_empty_columns_changes_nothing():
    """Primal and dual forms of one problem: 6 columns, and 200 of which 6 are not zero."""
    source, y, target = two_samples()
    wide = [np.hstack([X, np.zeros((len(X), 194))]) for X in (source, target)]
    for kind in EVERY:
        narrow = kind(n_components=3, scale=True).fit((source, y), target)
        padded = kind(n_components=3, scale=True).fit((wide[0], y), wide[1])
        np.testing.assert_allclose(
            np.abs(padded.transform(wide[1])), np.abs(narrow.transform(target)), atol=1e-6
        )


def test_all_rows_as_landmarks_are_exact(monkeypatch):
    source, _, target = two_samples()
    arguments = {"n_components": 4, "kernel": "gaussian", "bandwidth": 2.0}
    exact = TCA(**arguments).fit(source, target)
    monkeypatch.setattr(mmd_projection, "EXACT_ROWS", 10)
    monkeypatch.setattr(mmd_projection, "LANDMARKS", 90)
    landmarks = TCA(**arguments, random_state=0).fit(source, target)
    np.testing.assert_allclose(np.abs(landmarks.source_.X), np.abs(exact.source_.X), atol=1e-6)
    monkeypatch.setattr(mmd_projection, "LANDMARKS", 60)
    fewer = TCA(**arguments, random_state=0).fit(source, target)
    assert_same_components(fitted_rows(fewer, target), fitted_rows(exact, target), rtol=0.1)


@pytest.mark.parametrize("n_source", [3, 100, 180])
def test_landmarks_come_from_both_sides(monkeypatch, n_source):
    monkeypatch.setattr(mmd_projection, "EXACT_ROWS", 10)
    monkeypatch.setattr(mmd_projection, "LANDMARKS", 40)
    X = np.random.default_rng(0).normal(size=(200, 2))
    features, F = kernel_features(
        X[:n_source],
        X[n_source:],
        np.ones(200),
        kernel="gaussian",
        bandwidth=1.0,
        scale=False,
        rng=np.random.RandomState(0),
        who="test",
    )
    landmarks = features.nystroem.landmarks + features.shift
    from_source = np.isclose(landmarks[:, None], X[:n_source]).all(axis=2).any(axis=1).sum()
    assert len(np.unique(landmarks, axis=0)) == 40
    assert from_source == {3: 3, 100: 20, 180: 20}[n_source]
    np.testing.assert_allclose(features(X), F)


def test_solution_obeys_its_constraint_and_its_cost():
    rng = np.random.default_rng(2)
    F, w = rng.normal(size=(70, 5)) + 1, rng.gamma(2.0, size=70)
    problem = ProjectionProblem(F, w)
    centred = F - np.average(F, axis=0, weights=w)
    np.testing.assert_allclose(problem.scatter, (centred * w[:, None]).T @ centred, atol=1e-10)
    gap = mean_differences(30, w) @ F
    Y, costs = problem.solve(gap, 0.7, 3)
    C = problem.root @ Y
    np.testing.assert_allclose(C.T @ problem.scatter @ C, np.eye(3), atol=1e-9)
    # the shortest coefficients W with C = F' D W, rows counted as often as they weigh
    W = F @ np.linalg.solve((F * w[:, None]).T @ F, C)
    objective = ((gap @ C) ** 2).sum(axis=0) + 0.7 * (w[:, None] * W**2).sum(axis=0)
    np.testing.assert_allclose(objective, costs)


@pytest.mark.parametrize("kernel", ["linear", "gaussian"])
@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("kind", EVERY)
def test_training_rows_map_as_new_rows(kind, kernel, spherical):
    source, y, target = two_samples(d=3)
    adapter = kind(kernel=kernel, spherical=spherical, random_state=0).fit((source, y), target)
    np.testing.assert_allclose(adapter.transform(source), adapter.source_.X, atol=1e-8)
    one_by_one = np.vstack([adapter.transform(row[None]) for row in target[:5]])
    np.testing.assert_allclose(one_by_one, adapter.transform(target)[:5], atol=1e-8)
    if spherical:
        lengths = np.linalg.norm(fitted_rows(adapter, target), axis=1)
        plain = kind(kernel=kernel, random_state=0).fit((source, y), target)
        np.testing.assert_allclose(lengths, lengths[0])
        if kind is TCA:
            rows = fitted_rows(plain, target)
            np.testing.assert_allclose(lengths[0] ** 2, (rows**2).sum(axis=1).mean())


@pytest.mark.parametrize("kind", EVERY)
def test_units_and_places_of_columns_do_not_matter(kind):
    source, y, target = two_samples()
    scale, shift = np.array([1e-6, 1.0, 1e3, 7.0, 1e4, 0.1]), np.array([0, 5, 1e4, -3, 0, 1.0])
    plain = kind(n_components=3).fit((source, y), target)
    moved = kind(n_components=3).fit((source * scale + shift, y), target * scale + shift)
    np.testing.assert_allclose(
        np.abs(moved.transform(target * scale + shift)),
        np.abs(plain.transform(target)),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("kind", EVERY)
def test_constant_weights_are_no_weights_and_others_count(kind):
    source, y, target = two_samples()
    plain = kind(n_components=2).fit((source, y), target)
    same = kind(n_components=2).fit(Domain(source, y, weight=np.full(40, 0.1)), target)
    np.testing.assert_allclose(same.source_.X, plain.source_.X, atol=1e-9)
    other = kind(n_components=2).fit(Domain(source, y, weight=1.0 + 30 * (y == 0)), target)
    assert np.abs(other.source_.X - plain.source_.X).max() > 0.01


@pytest.mark.parametrize("kind", EVERY)
def test_sizes(kind):
    source, y, target = two_samples(n=8, m=9, d=40)
    assert kind().fit((source, y), target).n_components_ == 16
    with pytest.raises(ValueError, match=r"n_components=17.*only 16"):
        kind(n_components=17).fit((source, y), target)
    with pytest.raises(ValueError, match="all rows of both samples are equal"):
        kind().fit((np.ones((8, 2)), y), np.ones((9, 2)))


@pytest.mark.parametrize("kind", EVERY)
def test_too_little_memory_is_said_before_the_work(kind, monkeypatch):
    source, y, target = two_samples()
    monkeypatch.setattr("shiftlab.validation.available_memory", lambda: 1000.0)
    with pytest.raises(MemoryError, match=f"{kind.__name__} on 90 rows with 6 columns"):
        kind().fit((source, y), target)


@pytest.mark.parametrize("kind", [*EVERY, GFK, SubspaceAlignment])
def test_components_do_not_carry_the_names_of_columns(kind):
    source, y, target = two_samples(d=4)
    named = (
        Domain(source, y, feature_names=list("abcd")),
        Domain(target, feature_names=list("abcd")),
    )
    adapter = kind().fit(*named)
    assert adapter.source_.X.shape[1] == 4
    assert adapter.source_.feature_names is None
