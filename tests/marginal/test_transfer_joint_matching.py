"""TJM: its objective falls, its stationary point, and TCA as its first step."""

import numpy as np
import pytest

from shiftlab import TCA, TransferJointMatching
from shiftlab.marginal.alignment.mmd_projection import ProjectionProblem, mean_differences
from shiftlab.marginal.alignment.transfer_joint_matching import matching_projection


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(50, 5)) * [3, 2, 1, 1, 1]
    target = rng.normal(size=(60, 5)) * [1, 2, 3, 1, 1] + [0, 1, 0, 0, 0]
    return source, target


@pytest.mark.parametrize("kernel", ["linear", "gaussian"])
@pytest.mark.parametrize("regularization", [1e-3, 1.0, 100.0])
def test_objective_falls_in_every_step(pair, kernel, regularization):
    adapter = TransferJointMatching(
        n_components=2,
        kernel=kernel,
        regularization=regularization,
        max_iter=500,
        tol=1e-6,
        random_state=0,
    ).fit(*pair)
    steps = np.array(adapter.objective_)
    assert len(steps) > 2
    assert (np.diff(steps) <= 1e-9 * steps[:-1]).all()


def test_one_step_is_tca(pair):
    first = TransferJointMatching(n_components=3, regularization=0.4, max_iter=1).fit(*pair)
    tca = TCA(n_components=3, regularization=0.4).fit(*pair)
    np.testing.assert_allclose(np.abs(first.source_.X), np.abs(tca.source_.X), atol=1e-8)


def objective_in_coefficients(W, K, e, regularization, n_source):
    norms = np.linalg.norm(W, axis=1)
    penalty = norms[:n_source].sum() + (norms[n_source:] ** 2).sum()
    return ((e @ K @ W) ** 2).sum() + regularization * penalty


def test_objective_is_that_of_the_kernel_coefficients_and_no_neighbour_is_better(pair):
    F = np.vstack(pair)
    F = F - F.mean(axis=0)
    n, K, e = 50, F @ F.T, mean_differences(50, np.ones(110)).toarray()[0]
    problem = ProjectionProblem(F, np.ones(110))
    arguments = {"n_components": 2, "regularization": 0.5}
    C, norms, steps = matching_projection(problem, n, max_iter=3000, tol=1e-10, **arguments)
    # The coefficients by least squares in the norm of the last step, from scratch.
    ease = np.r_[2 * norms, np.ones(60)]
    W = ease[:, None] * F @ np.linalg.pinv((F * ease[:, None]).T @ F) @ C
    np.testing.assert_allclose(F.T @ W, C, atol=1e-8)
    np.testing.assert_allclose(np.linalg.norm(W[:n], axis=1), norms, rtol=1e-2, atol=1e-8)
    assert objective_in_coefficients(W, K, e, 0.5, n) == pytest.approx(steps[-1], rel=1e-5)
    H = np.eye(110) - 1 / 110
    rng = np.random.default_rng(1)
    for size in (1e-2, 1e-1, 1.0):
        for _ in range(20):
            near = W + size * np.abs(W).mean() * rng.normal(size=W.shape)
            scatter = near.T @ K @ H @ K @ near
            near = near @ np.linalg.inv(np.linalg.cholesky(scatter)).T  # back to the constraint
            assert objective_in_coefficients(near, K, e, 0.5, n) > steps[-1] * (1 - 1e-9)


def test_source_rows_unlike_the_target_carry_less():
    """Source rows that vary where the target does not get small norms."""
    rng = np.random.default_rng(3)
    like = rng.normal(size=(60, 4)) * [2, 2, 0.1, 0.1]
    unlike = rng.normal(size=(60, 4)) * [0.1, 0.1, 2, 2]
    target = rng.normal(size=(120, 4)) * [2, 2, 0.1, 0.1]
    adapter = TransferJointMatching(n_components=2, scale=False).fit(
        np.vstack([like, unlike]), target
    )
    norms = adapter.row_norms_
    assert norms[60:].mean() < 0.3 * norms[:60].mean()


def test_warns_when_it_is_stopped_early(pair):
    with pytest.warns(UserWarning, match=r"still fell by .* in the last of 2 steps"):
        TransferJointMatching(n_components=2, max_iter=2, tol=0.0).fit(*pair)
