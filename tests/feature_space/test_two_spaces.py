"""Heterogeneous adapters: closed forms, scipy's eigen-solution, POT's objectives."""

import doctest
import importlib
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
from sklearn.linear_model import LogisticRegression, Ridge

import shiftlab.feature_space
from shiftlab import (
    CoOptimalTransport,
    CorrelationMap,
    CrossLingualLSA,
    Domain,
    GromovWasserstein,
    HeterogeneousAugmentation,
    LinearGaussianMap,
    SharedEmbedding,
)
from shiftlab.feature_space.canonical import canonical_correlations, choose_canonical
from shiftlab.feature_space.plan_map import class_cost
from shiftlab.feature_space.shared_embedding import prototype_map
from shiftlab.feature_space.two_spaces import Sample, stratified_rows

PARTS = [
    "assignment",
    "canonical",
    "co_optimal_transport",
    "completion",
    "correlation_map",
    "gromov_wasserstein",
    "heterogeneous_augmentation",
    "imputation",
    "linear_gaussian_map",
    "matching",
    "pairing",
    "plan_map",
    "profiles",
    "recoding",
    "schema_alignment",
    "shared_embedding",
    "two_spaces",
    "units",
]


@pytest.mark.parametrize("part", PARTS)
def test_examples_run(part):
    module = importlib.import_module(f"{shiftlab.feature_space.__name__}.{part}")
    assert doctest.testmod(module).failed == 0


def two_views(n, seed=0, d=6, e=9, noise=0.2):
    """Three classes in a latent plane, seen in d and in e columns; the views never change."""
    view = np.random.default_rng(99)
    W, V = view.normal(size=(2, d)), view.normal(size=(2, e))
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    z = 2.5 * np.array([[0, 0], [1, 0], [0.3, 1]])[y] + 0.3 * rng.normal(size=(n, 2))
    return z @ W + noise * rng.normal(size=(n, d)), z @ V + noise * rng.normal(size=(n, e)), y


def few_labels(Z, y, each=3):
    known = np.zeros(len(y), dtype=bool)
    for k in np.unique(y):
        known[np.flatnonzero(y == k)[:each]] = True
    return Domain(Z, y, labelled=known)


BUILD = {
    "CorrelationMap": lambda: CorrelationMap(
        LogisticRegression(), paired=two_views(80, seed=7)[:2]
    ),
    "kernel": lambda: CorrelationMap(
        LogisticRegression(), paired=two_views(80, seed=7)[:2], kernel="rbf", random_state=0
    ),
    "HeterogeneousAugmentation": lambda: HeterogeneousAugmentation(LogisticRegression()),
    "SharedEmbedding": lambda: SharedEmbedding(LogisticRegression()),
    "GromovWasserstein": lambda: GromovWasserstein(LogisticRegression(), random_state=0),
    "CoOptimalTransport": lambda: CoOptimalTransport(LogisticRegression(), random_state=0),
    "LinearGaussianMap": lambda: LinearGaussianMap(LogisticRegression()),
}
every = pytest.mark.parametrize("name", BUILD)


@every
def test_both_sides_have_a_map_that_new_rows_follow(name):
    X, _, y = two_views(200, seed=1)
    _, Z, w = two_views(150, seed=2)
    target = few_labels(Z, w)
    model = BUILD[name]().fit((X, y), target)
    mapped = model.transform_source(X)
    np.testing.assert_array_equal(model.source_.X[:200], mapped)
    np.testing.assert_array_equal(model.source_.X[200:], model.transform(Z[target.labelled]))
    np.testing.assert_allclose(model.transform_source(X[:3]), mapped[:3], atol=1e-10)
    np.testing.assert_array_equal(model.source_.y, np.concatenate([y, w[target.labelled]]))
    # both sides weigh the same
    assert model.source_.weight[200:].sum() == pytest.approx(200)
    with pytest.raises(ValueError, match=r"transform_source|features|columns"):
        model.transform_source(X[:, :-1])
    _, new, truth = two_views(300, seed=3)
    if name not in ("GromovWasserstein", "CoOptimalTransport"):  # which find a local minimum
        assert model.score(new, truth) > 0.9
    frame = pd.DataFrame(X, columns=list("abcdef"))
    named = BUILD[name]().fit((frame, y), target)
    np.testing.assert_allclose(named.transform_source(frame), mapped)


# -- correlation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_canonical_correlations_are_scipys_generalised_eigenvalues(ridge):
    A, B, _ = two_views(100, d=4, e=5)
    fit = canonical_correlations(A, B, ridge, 4)
    A, B = A - A.mean(0), B - B.mean(0)
    Saa, Sbb, Sab = A.T @ A / 100, B.T @ B / 100, A.T @ B / 100
    Saa += ridge * np.trace(Saa) / 4 * np.eye(4)
    Sbb += ridge * np.trace(Sbb) / 5 * np.eye(5)
    left = np.block([[np.zeros((4, 4)), Sab], [Sab.T, np.zeros((5, 5))]])
    right = scipy.linalg.block_diag(Saa, Sbb)
    values, vectors = scipy.linalg.eigh(left, right)
    np.testing.assert_allclose(fit.correlations, values[::-1][:4], atol=1e-8)
    for k in range(4):
        mine = np.concatenate([fit.directions_a[:, k], fit.directions_b[:, k]]) / np.sqrt(2)
        theirs = vectors[:, -1 - k]
        np.testing.assert_allclose(mine * np.sign(mine @ right @ theirs), theirs, atol=1e-6)


def test_kernel_cca_is_the_eigenproblem_of_the_kernel_matrices():
    A, B, _ = two_views(40, d=3, e=4)
    model = CorrelationMap(
        paired=(A, B), kernel="rbf", regularization=0.5, n_components=5, random_state=0
    ).fit((A, np.arange(40) % 2), B)
    matrices = []
    for X, lift in zip((A, B), model._lifts, strict=True):
        K = np.exp(-((X[:, None] - X) ** 2).sum(2) / (2 * lift.bandwidth**2))
        H = np.eye(40) - 1 / 40
        K, rank = H @ K @ H, lift(X).shape[1]
        # with x = Phi' a: variance a' K (K / n + r I) a, and r from the mean variance
        matrices.append((K, 0.5 * np.trace(K) / 40 / rank))
    (K, r), (L, s) = matrices
    inner = scipy.linalg.solve(K / 40 + r * np.eye(40), K / 40)
    outer = scipy.linalg.solve(L / 40 + s * np.eye(40), L / 40)
    squared = np.sort(np.linalg.eigvals(inner @ outer).real)[::-1][:5]
    np.testing.assert_allclose(model.correlations_**2, squared, atol=1e-5)


def test_rows_are_mapped_to_the_posterior_mean_of_the_latent_variable():
    """With x = W z + noise, the two expectations of z correlate as rho and have variance rho."""
    A, B, _ = two_views(3000)
    model = CorrelationMap(paired=(A, B), regularization=0.0, n_components=2)
    model.fit((A, np.arange(3000) % 2), B)
    u, v = model.transform_source(A), model.transform(B)
    rho = model.correlations_
    np.testing.assert_allclose(np.cov(u.T, bias=True), np.diag(rho), atol=1e-8)
    np.testing.assert_allclose(np.cov(v.T, bias=True), np.diag(rho), atol=1e-8)
    np.testing.assert_allclose(u.T @ v / 3000, np.diag(rho**2), atol=1e-8)


def test_held_out_pairs_keep_what_is_shared_and_no_more():
    A, B, _ = two_views(300, d=30, e=40)
    assert len(choose_canonical(A, B, None, None).correlations) == 2
    noise = np.random.default_rng(0).normal(size=B.shape)
    assert len(choose_canonical(A, noise, None, None).correlations) == 1  # the least there is


def test_a_regression_is_carried_over_by_pairs():
    rng = np.random.default_rng(0)
    W, V = rng.normal(size=(2, 5)), rng.normal(size=(2, 8))
    z = rng.normal(size=(600, 2))
    X, Z = z @ W + 0.1 * rng.normal(size=(600, 5)), z @ V + 0.1 * rng.normal(size=(600, 8))
    model = CorrelationMap(Ridge(), paired=(X[:200], Z[:200]))
    model.fit((X[200:400], z[200:400, 0]), Z[400:])
    assert model.score(Z[400:], z[400:, 0]) > 0.95


@pytest.mark.parametrize(
    ("paired", "message"),
    [
        ((np.ones((5, 6)),), "two sets of rows"),
        ((np.ones((5, 3)), np.ones((5, 9))), r"paired\[0\] has 3 columns, but the source 6"),
        ((np.ones((5, 6)), np.ones((5, 6))), r"paired\[1\] has 6 columns, but the target 9"),
        ((np.ones((5, 6)), np.ones((4, 9))), "same objects on both sides.*5 and 4"),
        ((np.eye(5, 6), np.ones((5, 9))), r"5 rows of paired\[1\] are all equal"),
        ((np.eye(5, 6), None), r"paired\[1\]: X is None"),
        ((np.full((5, 6), np.nan), np.eye(5, 9)), r"paired\[0\] contains NaN"),
        ((np.zeros((5, 6, 1)), np.eye(5, 9)), r"paired\[0\]: X of shape \(5, 6, 1\)"),
        ((np.full((5, 6), "a"), np.eye(5, 9)), r"paired\[0\]: X must hold numbers"),
    ],
)
@pytest.mark.parametrize("kind", [CorrelationMap, HeterogeneousAugmentation, CrossLingualLSA])
def test_wrong_pairs_are_named(kind, paired, message):
    X, Z, y = two_views(30)
    with pytest.raises(ValueError, match=message):
        kind(paired=paired).fit((X, y), few_labels(Z, y))


# -- augmentation and prototypes --------------------------------------------------------------


def test_augmented_rows_have_the_blocks_of_easy_adapt():
    X, _, y = two_views(200, seed=1)
    _, Z, w = two_views(150, seed=2)
    model = HeterogeneousAugmentation(paired=two_views(90, seed=5)[:2]).fit(
        (X, y), few_labels(Z, w)
    )
    k = model.n_common_
    ours, theirs = model.transform_source(X), model.transform(Z)
    assert ours.shape[1] == theirs.shape[1] == k + 6 + 9
    assert not ours[:, k + 6 :].any()
    assert not theirs[:, k : k + 6].any()
    centred = X - X.mean(0)
    np.testing.assert_allclose(
        ours[:, k : k + 6], centred / np.sqrt((centred**2).sum(1).mean()), atol=1e-12
    )
    assert (ours[:, :k] ** 2).sum(1).mean() == pytest.approx(1)
    # inner products across the sides are those of the common parts alone
    np.testing.assert_allclose(ours @ theirs.T, ours[:, :k] @ theirs[:, :k].T, atol=1e-12)


def test_the_prototype_map_solves_its_normal_equations():
    rng = np.random.default_rng(0)
    M, N, p = rng.normal(size=(3, 7)), rng.normal(size=(3, 4)), np.array([0.5, 0.3, 0.2])
    S = np.cov(rng.normal(size=(40, 7)).T)
    A = prototype_map(M, N, p, S, 0.2)
    between = (M * p[:, None]).T @ M
    level = 0.2 * np.trace(np.linalg.solve(S, between)) / 3
    np.testing.assert_allclose((between + level * S) @ A, (M * p[:, None]).T @ N, atol=1e-9)
    assert np.linalg.matrix_rank(A) <= 3
    # without a penalty prototypes meet
    np.testing.assert_allclose(M @ prototype_map(M, N, p, S, 1e-12), N, atol=1e-6)


@pytest.mark.parametrize("kind", [SharedEmbedding, HeterogeneousAugmentation])
def test_labels_that_are_lacking_are_named(kind):
    X, Z, y = two_views(60)
    with pytest.raises(ValueError, match="labelled target rows"):
        kind().fit((X, y), Z)
    one = Domain(Z, y, labelled=(y == 0))
    with pytest.raises(
        ValueError, match=r"at least two classes.*got 1 of the 3.*a class is enough"
    ):
        kind().fit((X, y), one)


# -- transport --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [GromovWasserstein, CoOptimalTransport])
@pytest.mark.parametrize("regularization", [0.0, 0.05])
def test_plans_have_the_marginals_and_the_objective_that_they_report(kind, regularization):
    X, _, y = two_views(60, seed=1)
    _, Z, w = two_views(50, seed=2)
    weight = np.random.default_rng(0).uniform(0.5, 2, 60)
    target = few_labels(Z, w)
    model = kind(regularization=regularization).fit(Domain(X, y, weight=weight), target)
    np.testing.assert_allclose(model.plan_.sum(1), weight / weight.sum(), atol=1e-5)
    np.testing.assert_allclose(model.plan_.sum(0), 1 / 50, atol=1e-5)
    M = class_cost(y, np.where(target.labelled, w, -1))
    P = model.plan_
    a = weight / weight.sum()
    X, Z = X - a @ X, Z - Z.mean(0)
    X /= np.sqrt(a @ (X**2).mean(1))
    Z /= np.sqrt((Z**2).mean())
    if kind is GromovWasserstein:
        C, D = (((T[:, None] - T) ** 2).sum(2) for T in (X, Z))
        C, D = C / C.mean(), D / D.mean()
        cost = (
            np.einsum("ik,ij,kl->", C**2, P, P)
            + np.einsum("jl,ij,kl->", D**2, P, P)
            - 2 * np.einsum("ik,jl,ij,kl->", C, D, P, P, optimize=True)
        )
        expected = 0.5 * cost + 0.5 * (M * P).sum()
    else:
        Q = model.column_plan_
        np.testing.assert_allclose(Q.sum(1), 1 / 6, atol=1e-5)
        np.testing.assert_allclose(Q.sum(0), 1 / 9, atol=1e-5)
        gaps = (X[:, None, :, None] - Z[None, :, None, :]) ** 2
        expected = np.einsum("ijkl,ij,kl->", gaps, P, Q, optimize=True) + (M * P).sum()
        if regularization:
            for plan in (P, Q):
                ratio = plan / np.outer(plan.sum(1), plan.sum(0))
                expected += regularization * np.sum(plan * np.log(np.maximum(ratio, 1e-300)))
    assert model.distance_ == pytest.approx(expected, rel=1e-3)


def test_gromov_reaches_pots_objective_and_finds_an_isometry():
    import ot

    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)) * [1, 2, 4] + rng.exponential(size=(40, 1))
    turn = np.linalg.qr(rng.normal(size=(5, 3)))[0]
    order = rng.permutation(40)
    Z = (X @ turn.T)[order]
    y = np.arange(40) % 2
    model = GromovWasserstein().fit((X, y), few_labels(Z, y[order], each=8))
    assert (order[model.plan_.argmax(1)] == np.arange(40)).mean() == 1
    assert model.distance_ == pytest.approx(0, abs=1e-8)
    np.testing.assert_allclose(model.transform_source(X), X @ turn.T, atol=0.05)
    C, D = (ot.dist(T, T) / ot.dist(T, T).mean() for T in (X, Z))
    exact = GromovWasserstein().fit((X, y), Z)
    assert exact.distance_ <= ot.gromov.gromov_wasserstein2(C, D, symmetric=True) + 1e-8


def test_columns_and_rows_of_a_permuted_table_are_found():
    rng = np.random.default_rng(0)
    X = rng.exponential(size=(60, 5)) * [1, 2, 4, 8, 16]
    rows, columns = rng.permutation(60), rng.permutation(5)
    model = CoOptimalTransport().fit((X, np.arange(60) % 2), X[rows][:, columns])
    assert (rows[model.plan_.argmax(1)] == np.arange(60)).all()
    assert (columns[model.column_plan_.argmax(1)] == np.arange(5)).all()
    assert model.distance_ == pytest.approx(0, abs=1e-10)
    np.testing.assert_allclose(model.transform_source(X), X[:, columns], rtol=0.02, atol=0.05)


def test_no_row_is_sent_to_another_class_where_the_shares_agree():
    X, _, _ = two_views(60, seed=1)
    y = np.arange(60) % 3
    Z = np.random.default_rng(0).normal(size=(60, 4))
    for kind in (GromovWasserstein, CoOptimalTransport):
        model = kind().fit((X, y), Domain(Z, y))
        assert (model.plan_ * class_cost(y, y)).sum() < 0.1


def test_rows_are_drawn_with_the_classes_shares_and_the_known_ones_first():
    codes = np.repeat([-1, 0, 1], [800, 150, 50])
    sample = Sample(np.zeros((1000, 1)), np.full(1000, 1e-3), codes)
    rng = np.random.RandomState(0)
    rows = stratified_rows(sample, 100, rng, known_first=False)
    assert np.unique(codes[rows], return_counts=True)[1].tolist() == [80, 15, 5]
    rows = stratified_rows(sample, 300, rng, known_first=True)
    assert np.unique(codes[rows], return_counts=True)[1].tolist() == [100, 150, 50]


# -- Gaussians ----------------------------------------------------------------------------------


def test_the_gaussian_map_is_pots_and_has_the_targets_covariance():
    import ot

    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 4)) * [1, 2, 4, 8] @ np.linalg.qr(rng.normal(size=(4, 4)))[0]
    Z = rng.normal(size=(400, 3)) * [3, 5, 9] + 1
    model = LinearGaussianMap().fit((X, np.arange(500) % 2), Z)
    moved = model.transform_source(X)
    np.testing.assert_allclose(np.cov(moved.T, bias=True), np.cov(Z.T, bias=True), atol=1e-8)
    np.testing.assert_allclose(moved.mean(0), Z.mean(0), atol=1e-10)
    S, T = np.cov(X.T, bias=True), np.cov(Z.T, bias=True)
    A, _ = ot.gaussian.gaussian_gromov_wasserstein_mapping(X.mean(0), Z.mean(0), S, T)
    # the same map up to the signs of the target's axes
    axes = np.linalg.eigh(T)[1]
    np.testing.assert_allclose(np.abs(A @ axes), np.abs(model.coef_ @ axes), atol=1e-8)


def test_classes_choose_the_signs_of_the_axes():
    rng = np.random.default_rng(0)
    y = np.arange(600) % 2
    X = rng.normal(size=(600, 2)) * [1, 3] + 4 * y[:, None]
    Z = np.column_stack([np.zeros(600), -X[:, 1], X[:, 0]])
    model = LinearGaussianMap(LogisticRegression()).fit((X, y), few_labels(Z, y, each=20))
    np.testing.assert_allclose(model.transform_source(X), Z, atol=1e-8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.score(Z, y) > 0.95
    flat = np.full((40, 2), 0.3), np.arange(40) % 2  # whose mean is rounded
    with pytest.raises(ValueError, match="all rows of the source are equal"):
        LinearGaussianMap().fit(flat, Z)
    for kind in (LinearGaussianMap, SharedEmbedding):
        with pytest.raises(ValueError, match="all rows of the target are equal"):
            kind().fit((X, y), Domain(*flat))


# -- beside the labelled target rows alone, a source of noise and shuffled labels ---------------


def five_shared(rng):
    """Five latent variables under noise, the first of which is the label; 100 rows are paired."""
    z = rng.normal(size=(500, 5))
    A, B = (z @ rng.normal(size=(5, d)) + rng.normal(size=(500, d)) for d in (20, 30))
    y = (z[:, 0] > 0).astype(int)
    return (A[100:300], y[100:300]), few_labels(B[300:], y[300:]), y[300:], (A[:100], B[:100])


def turned(rng):
    """Skewed rows, and others like them that were turned into twenty columns."""
    X = rng.exponential(size=(300, 3)) * [4, 2, 1]
    y = (X @ [1, 2, 0] > 7).astype(int)
    Z = X[150:] @ np.linalg.qr(rng.normal(size=(20, 3)))[0].T + rng.normal(size=(150, 20)) / 3
    return (X[:150], y[:150]), few_labels(Z, y[150:], each=5), y[150:], None


def reordered(rng):
    """Columns of other sizes, and other rows of the same in another order."""
    X = rng.exponential(size=(400, 6)) * 2.0 ** np.arange(6)
    y = (X @ 2.0 ** -np.arange(6) > 6).astype(int)
    return (X[:200], y[:200]), few_labels(X[200:, [3, 5, 0, 2, 4, 1]], y[200:]), y[200:], None


ALL = {"alone", "noise", "shuffled"}


@pytest.mark.parametrize(
    ("kind", "options", "draw", "beaten"),
    [
        (CorrelationMap, {}, five_shared, ALL),
        (CorrelationMap, {"kernel": "rbf", "random_state": 0}, five_shared, ALL),
        (HeterogeneousAugmentation, {}, five_shared, ALL),
        (GromovWasserstein, {"random_state": 0}, turned, {"noise", "shuffled"}),
        (CoOptimalTransport, {"random_state": 0}, reordered, ALL),
        (LinearGaussianMap, {}, turned, ALL),
        # What class means carry over, the labelled target rows know as well.
        (SharedEmbedding, {}, turned, {"noise", "shuffled"}),
        (HeterogeneousAugmentation, {}, lambda rng: (*five_shared(rng)[:3], None), set()),
    ],
)
def test_what_a_source_teaches_beyond_its_controls(kind, options, draw, beaten):
    scores = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        (X, y), target, truth, pairs = draw(rng)
        Z, known, model = target.X, target.labelled, LogisticRegression(max_iter=1000)
        noise = rng.normal(size=X.shape)
        real, false = {}, {}
        if pairs:
            real["paired"] = pairs
            false["paired"] = (rng.normal(size=pairs[0].shape), pairs[1])
        scores.append(
            [
                kind(model, **options, **given).fit(source, target).score(Z, truth)
                for source, given in (
                    ((X, y), real),
                    ((noise, y), false),
                    ((X, rng.permutation(y)), real),
                )
            ]
            + [model.fit(Z[known], truth[known]).score(Z, truth)]
        )
    taught, noise, shuffled, alone = np.transpose(scores)
    for name, control in (("alone", alone), ("noise", noise), ("shuffled", shuffled)):
        gap = taught - control
        if name in beaten:
            assert gap.mean() > 2 * gap.std(ddof=1) / np.sqrt(6), name
        else:
            assert gap.mean() < 0.05, name


# -- what is lacking ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("adapter", "source", "target", "enough"),
    [
        (CorrelationMap(), "labels", "none", r"paired=\(A, B\).*SharedEmbedding"),
        (SharedEmbedding(), "labels", "none", r"labelled target rows.*labelled=mask"),
        (HeterogeneousAugmentation(), "labels", "none", r"labelled target rows.*labelled=mask"),
        (SharedEmbedding(), "labels", "other", "One labelled target row a class is enough"),
        (GromovWasserstein(), "none", "none", r"labelled source.*Pass \(X, y\)"),
        (CoOptimalTransport(), "none", "none", r"labelled source.*Pass \(X, y\)"),
        (LinearGaussianMap(), "none", "none", r"labelled source.*Pass \(X, y\)"),
        (SharedEmbedding(), "numbers", "numbers", "labels that are classes"),
        (HeterogeneousAugmentation(), "numbers", "numbers", "labels that are classes"),
    ],
)
def test_what_is_lacking_is_named_with_what_would_be_enough(adapter, source, target, enough):
    X, Z, y = two_views(30)
    ours = {"none": X, "labels": (X, y), "numbers": (X, X[:, 0])}[source]
    theirs = {"none": Domain(Z), "other": (Z, y + 5), "numbers": (Z, Z[:, 0])}[target]
    with pytest.raises(ValueError, match=enough):
        adapter.fit(ours, theirs)


@every
def test_rows_that_cannot_be_read_are_named_by_side(name):
    X, Z, y = two_views(30)
    target = few_labels(Z, y)
    for bad, message in (
        (X[..., None], r"source: X of shape \(30, 6, 1\) looks like images"),
        (X.astype(str), "source: X must hold numbers"),
        (X[:, 0], r"source: Expected X of shape \(n, d\)"),
        (np.where(X.mean() < X, np.nan, X), "source contains NaN"),
        (X[:, :0], r"source has 0 feature\(s\)"),
        (X[:1], "at least 2 rows on each side; the source has 1"),
    ):
        with pytest.raises(ValueError, match=message):
            BUILD[name]().fit((bad, y[: len(bad)]), target)
    with pytest.raises(ValueError, match=r"target: X of shape \(30, 9, 1\)"):
        BUILD[name]().fit((X, y), Z[..., None])
    with pytest.raises(ValueError, match=r"transform_source: X has 0 sample\(s\)"):
        BUILD[name]().fit((X, y), target).transform_source(X[:0])
