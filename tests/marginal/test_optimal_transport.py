"""Optimal transport as an adapter: where rows go, in batches and out of sample as well."""

import warnings

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from sklearn.linear_model import LogisticRegression

from shiftlab import Domain, OptimalTransport
from shiftlab.marginal.alignment import optimal_transport
from shiftlab.marginal.alignment.optimal_transport import smooth_displacement, stratified_batches
from shiftlab.stats.kernels import pooled_spread, squared_distances

METHODS = ("entropic", "exact", "class_regularized", "unbalanced")


def sample(seed=0, n=80, m=100):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    source = rng.normal(size=(n, 3)) + np.outer(y, [3, 0, 0])
    target = rng.normal(size=(m, 3)) + np.outer(np.arange(m) % 2, [3, 0, 0]) + [0.5, 1, 0]
    return source, y, target


@pytest.fixture(autouse=True)
def _converged():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def test_exact_is_the_linear_assignment_on_scaled_columns():
    source, _, target = sample(m=80)
    unit = pooled_spread(source, target)
    _, partner = linear_sum_assignment(squared_distances(source / unit, target / unit))
    moved = OptimalTransport(method="exact").fit(source, target).source_.X
    np.testing.assert_allclose(moved, target[partner], atol=1e-10)


@pytest.mark.parametrize(
    ("method", "regularization"), [("exact", "auto"), ("entropic", 1e-4), ("unbalanced", 1e-4)]
)
def test_permuted_identical_rows_go_to_themselves(method, regularization):
    source, _, _ = sample()
    order = np.random.default_rng(1).permutation(len(source))
    adapter = OptimalTransport(method=method, regularization=regularization, max_iter=100_000)
    moved = adapter.fit(source, source[order]).source_.X
    np.testing.assert_allclose(moved, source, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("solver", ["full", "minibatch"])
def test_moved_rows_are_finite_and_inside_the_hull_of_the_target(method, solver):
    source, y, target = sample()
    adapter = OptimalTransport(method=method, solver=solver, batch_size=30, random_state=0)
    moved = adapter.fit((source, y), target).source_.X
    assert adapter.converged_
    assert adapter.marginal_error_ <= 1e-4
    assert (moved >= target.min(0) - 1e-9).all()
    assert (moved <= target.max(0) + 1e-9).all()


@pytest.mark.parametrize("method", ["entropic", "exact", "class_regularized"])
def test_weighted_mean_of_the_moved_source_is_that_of_the_target(method):
    """Both marginals hold, so mass arrives everywhere: weights on either side count."""
    source, y, target = sample()
    rng = np.random.default_rng(2)
    a, b = rng.gamma(1.0, size=80), rng.gamma(1.0, size=100)
    adapter = OptimalTransport(method=method).fit(
        Domain(source, y, weight=a), Domain(target, weight=b)
    )
    np.testing.assert_allclose(
        np.average(adapter.source_.X, axis=0, weights=a),
        np.average(target, axis=0, weights=b),
        atol=1e-3,
    )
    np.testing.assert_array_equal(adapter.source_.weight, a)
    np.testing.assert_allclose(adapter.mass_, a / a.mean(), rtol=1e-6)


def test_unbalanced_drops_what_has_nothing_near():
    rng = np.random.default_rng(3)
    source = rng.normal(size=(100, 2))
    source[:50, 0] += 30
    adapter = OptimalTransport(method="unbalanced").fit(source, rng.normal(size=(80, 2)))
    assert adapter.source_.weight[:50].max() < 1e-2 * adapter.source_.weight[50:].min()
    assert adapter.source_.weight.mean() == pytest.approx(1)
    assert np.isfinite(adapter.source_.X).all()


def test_unbalanced_says_when_no_mass_is_left():
    source, target = np.zeros((5, 2)), np.full((5, 2), 1.0)
    with pytest.raises(ValueError, match=r"relaxation=1e-06 leaves no mass"):
        OptimalTransport(method="unbalanced", relaxation=1e-6, regularization=1e-6).fit(
            source, target
        )


def test_units_of_columns_do_not_matter():
    source, y, target = sample()
    unit = np.array([1e-6, 1.0, 1e4])
    for method in METHODS:
        plain = OptimalTransport(method=method).fit((source, y), target).source_.X
        scaled = OptimalTransport(method=method).fit((source * unit, y), target * unit).source_.X
        np.testing.assert_allclose(scaled, plain * unit, rtol=1e-4, atol=1e-8)


def test_rows_without_weight_move_with_their_neighbours():
    source, _, _ = sample()
    weight = np.ones(80)
    weight[::8] = 0
    moved = (
        OptimalTransport(method="exact").fit(Domain(source, weight=weight), source + 4).source_.X
    )
    assert np.abs(moved - source - 4).mean() < 1.0
    lone = np.zeros(80)
    lone[0] = 1
    shifted = OptimalTransport().fit(Domain(source, weight=lone), source[:1] + 4).source_.X
    np.testing.assert_allclose(shifted, source + 4, atol=1e-9)


def test_new_rows_move_smoothly_and_as_the_fitted_ones_do():
    rng = np.random.default_rng(4)
    source, target = rng.normal(size=(1500, 2)), rng.normal(size=(1500, 2)) @ [[2, 0], [0, 0.5]] + 3
    adapter = OptimalTransport(regularization=0.01, max_iter=20_000).fit(source, target)
    new = rng.normal(size=(300, 2))
    expected = new @ [[2, 0], [0, 0.5]] + 3
    moved = adapter.transform_source(new)
    assert np.sqrt(np.square(moved - expected).mean()) < 0.35
    # no jumps: a path in tiny steps moves in tiny steps
    path = np.linspace([-1.5, -1.5], [1.5, 1.5], 3001)
    steps = np.linalg.norm(np.diff(adapter.transform_source(path), axis=0), axis=1)
    assert steps.max() < 25 * np.linalg.norm(path[1] - path[0])
    far = adapter.transform_source(np.full((1, 2), 1e6))
    assert np.isfinite(far).all()
    assert adapter.transform_source(new.astype(np.float32)).dtype == np.float32
    with pytest.raises(ValueError, match="features"):
        adapter.transform_source(new[:, :1])


def test_smooth_displacement_against_a_naive_loop():
    rng = np.random.default_rng(5)
    X, anchors, moves = rng.normal(size=(7, 2)), rng.normal(size=(9, 2)), rng.normal(size=(9, 3))
    expected = []
    for x in X:
        k = [np.exp(-np.sum((x - a) ** 2) / (2 * 0.7**2)) for a in anchors]
        expected.append(np.average(moves, axis=0, weights=k))
    np.testing.assert_allclose(smooth_displacement(X, anchors, moves, 0.7), expected)


def test_batches_hold_every_class_and_cover_every_row():
    codes = np.repeat([0, 1, 2], [700, 250, 50])
    batches = stratified_batches(codes, 100, 20, np.random.RandomState(0))
    for batch in batches:
        many = np.bincount(codes[batch], minlength=3)
        assert np.abs(many - [70, 25, 5]).max() <= 2
    for half in (batches[:10], batches[10:]):
        assert sorted(half.ravel()) == list(range(1000))


def test_one_batch_of_all_rows_is_the_full_plan():
    source, y, target = sample(m=80)
    full = OptimalTransport(solver="full").fit((source, y), target)
    batch = OptimalTransport(solver="minibatch", n_epochs=1, random_state=0).fit(
        (source, y), target
    )
    np.testing.assert_allclose(batch.source_.X, full.source_.X, atol=1e-4)


def test_mini_batches_come_near_the_full_plan_and_above_the_bound_they_are_taken(monkeypatch):
    rng = np.random.default_rng(6)
    source, target = rng.normal(size=(2000, 2)), 2 * rng.normal(size=(2000, 2)) + 5
    full = OptimalTransport().fit(source, target)
    monkeypatch.setattr(optimal_transport, "FULL", 1000 * 1000)
    batch = OptimalTransport(batch_size=200, random_state=0).fit(source, target)
    assert (full.solver_, batch.solver_) == ("full", "minibatch")
    distance = np.square(full.source_.X - batch.source_.X).mean()
    assert distance < 0.05 * np.square(full.source_.X - source).mean()


def test_sides_of_very_different_size_in_batches():
    rng = np.random.default_rng(7)
    for n, m in ((1000, 20), (20, 1000), (1000, 1)):
        source, target = rng.normal(size=(n, 2)), rng.normal(size=(m, 2))
        adapter = OptimalTransport(solver="minibatch", batch_size=100, random_state=0)
        moved = adapter.fit(source, target).source_.X
        assert moved.shape == (n, 2)
        assert np.isfinite(moved).all()


def test_no_plan_is_made_that_does_not_fit(monkeypatch):
    monkeypatch.setattr("shiftlab.validation.available_memory", lambda: 1e4)
    with pytest.raises(MemoryError, match=r"80 x 100 rows \(solver='minibatch' needs less\)"):
        OptimalTransport().fit(*sample()[::2])


def test_class_regularised_with_weight_zero_is_entropic():
    source, y, target = sample()
    plain = OptimalTransport(regularization=0.1).fit(source, target).source_.X
    zero = OptimalTransport(method="class_regularized", class_regularization=0.0)
    np.testing.assert_array_equal(zero.fit((source, y), target).source_.X, plain)


def test_class_regularised_keeps_the_classes_apart():
    """Classes that lie side by side blend under entropy; the penalty parts them."""
    source, y, target = sample(n=200, m=200)
    gap = []
    for strength in (0.0, 0.2):
        adapter = OptimalTransport(method="class_regularized", class_regularization=strength)
        moved = adapter.fit((source, y), target).source_.X
        gap.append(moved[y == 1].mean(0)[0] - moved[y == 0].mean(0)[0])
    assert gap[1] > gap[0] + 0.1


def test_class_regularised_needs_classes():
    source, _, target = sample()
    for labels, got in ((None, "no label"), (source[:, 0], "continuous")):
        with pytest.raises(ValueError, match=f"needs class labels on the source; got {got}"):
            OptimalTransport(method="class_regularized").fit(Domain(source, labels), target)


@pytest.mark.parametrize("method", ["entropic", "exact"])
def test_the_unconverged_is_said(method):
    source, _, target = sample(n=200, m=200)
    adapter = OptimalTransport(method=method, regularization=1e-3, max_iter=1)
    with pytest.warns(UserWarning, match=r"did not converge in max_iter=1"):
        adapter.fit(source, target)
    assert not adapter.converged_
    assert np.isfinite(adapter.source_.X).all()


@pytest.mark.parametrize("method", METHODS)
def test_identical_rows_and_far_outliers_stay_finite(method):
    y = np.arange(20) % 2
    same = OptimalTransport(method=method).fit((np.ones((20, 2)), y), np.ones((9, 2)))
    np.testing.assert_allclose(same.source_.X, 1.0)
    X = np.random.default_rng(8).normal(size=(20, 2))
    X[0] = 1e8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        moved = OptimalTransport(method=method, max_iter=200).fit((X, y), X[1:]).source_.X
    assert np.isfinite(moved).all()


def test_it_harms_a_real_shift_of_the_mean_and_unbalanced_less():
    rng = np.random.default_rng(9)
    source, target = rng.normal(size=(500, 5)), 0.8 * rng.normal(size=(500, 5))
    target[:, 0] += 1
    y, hidden = ((x[:, 0] + 0.5 * x[:, 1] > 0).astype(int) for x in (source, target))
    score = {
        method: OptimalTransport(LogisticRegression(), method=method)
        .fit((source, y), target)
        .score(target, hidden)
        for method in ("entropic", "unbalanced")
    }
    assert LogisticRegression().fit(source, y).score(target, hidden) > 0.97
    assert score["entropic"] < 0.75
    assert score["unbalanced"] > score["entropic"] + 0.1


def test_it_undoes_other_scales_and_offsets():
    rng = np.random.default_rng(10)
    source, again = rng.normal(size=(2, 500, 5))
    y, hidden = ((x[:, 0] + 0.5 * x[:, 1] > 0).astype(int) for x in (source, again))
    target = again * [1.5, 0.6, 1, 2, 0.5] + [1, -1, 0.5, 0, 1]
    before = LogisticRegression().fit(source, y).score(target, hidden)
    for method in ("entropic", "exact", "class_regularized"):
        adapter = OptimalTransport(LogisticRegression(), method=method).fit((source, y), target)
        assert adapter.score(target, hidden) > before + 0.05
