"""Transport plans against linear assignment, optimality conditions and closed forms."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.special import logsumexp

from shiftlab.stats.kernels import squared_distances
from shiftlab.stats.transport import class_regularized, exact, sinkhorn, typical_cost


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(40, 3)), rng.normal(size=(55, 3)) + 1
    cost = squared_distances(X, Y)
    return cost / np.median(cost), rng.gamma(1.0, size=40), rng.gamma(1.0, size=55)


def relative_entropy(plan, a, b):
    reference = np.outer(a / a.sum(), b / b.sum())
    positive = plan > 0
    return (plan[positive] * np.log(plan[positive] / reference[positive])).sum() - plan.sum() + 1


def test_exact_plan_is_the_linear_assignment():
    rng = np.random.default_rng(1)
    cost = squared_distances(rng.normal(size=(30, 2)), rng.normal(size=(30, 2)))
    rows, columns = linear_sum_assignment(cost)
    solved = exact(cost, np.ones(30), np.ones(30))
    assert solved.converged
    np.testing.assert_allclose(solved.plan[rows, columns], 1 / 30)
    assert solved.plan.sum() == pytest.approx(1.0, abs=1e-12)
    assert (solved.plan * cost).sum() == pytest.approx(cost[rows, columns].mean())


def test_exact_takes_masses_with_different_sums_and_says_when_it_stopped(problem):
    cost, a, b = problem
    solved = exact(cost, 3 * a, 1e-3 * b)
    np.testing.assert_allclose(solved.plan.sum(axis=1), a / a.sum(), atol=1e-12)
    np.testing.assert_allclose(solved.plan.sum(axis=0), b / b.sum(), atol=1e-12)
    dual = solved.f @ a / a.sum() + solved.g @ b / b.sum()
    assert (solved.plan * cost).sum() == pytest.approx(dual)  # no duality gap
    assert not exact(cost, a, b, max_iter=3).converged


@pytest.mark.parametrize("eps", [1.0, 0.05, 0.002])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_entropic_plan_is_a_scaled_kernel_with_the_marginals(problem, eps, dtype):
    cost, a, b = problem
    solved = sinkhorn(cost.astype(dtype), a, b, eps, tol=1e-6, max_iter=200_000)
    assert solved.converged
    a, b = a / a.sum(), b / b.sum()
    assert solved.plan.dtype == dtype
    np.testing.assert_allclose(solved.plan.sum(axis=1, dtype=float), a, rtol=2e-4)
    assert np.abs(solved.plan.sum(axis=0, dtype=float) - b).sum() < 1e-4
    # optimality: P = diag(u) K diag(v), and strictly convex, so nothing else is
    f, g = solved.f, solved.g
    expected = np.outer(a, b) * np.exp((f[:, None] + g - cost) / eps)
    np.testing.assert_allclose(solved.plan, expected, rtol=5e-4, atol=1e-9)


def test_entropic_objective_is_below_feasible_neighbours(problem):
    cost, a, b = problem
    eps = 0.1
    plan = sinkhorn(cost, a, b, eps, tol=1e-12).plan

    def objective(p):
        return (p * cost).sum() + eps * relative_entropy(p, a, b)

    rng = np.random.default_rng(2)
    for _ in range(20):
        i, k = rng.choice(40, 2, replace=False)
        j, m = rng.choice(55, 2, replace=False)
        step = 0.5 * min(plan[i, m], plan[k, j])
        other = plan.copy()
        other[[i, k], [j, m]] += step
        other[[i, k], [m, j]] -= step
        assert objective(other) > objective(plan)


def test_log_domain_holds_where_the_kernel_underflows():
    rng = np.random.default_rng(3)
    X, Y = rng.normal(size=(30, 2)), rng.normal(size=(30, 2)) + 40
    cost = squared_distances(X, Y).astype(np.float32)  # exp(-cost / eps) is zero everywhere
    solved = sinkhorn(cost, np.ones(30), np.ones(30), 0.5, max_iter=20_000)
    assert solved.converged
    assert np.exp(-cost / np.float32(0.5)).max() == 0
    np.testing.assert_allclose(solved.plan.sum(axis=1), 1 / 30, rtol=1e-3)


def test_an_outlier_column_gets_its_mass():
    X = np.random.default_rng(4).normal(size=(50, 2))
    Y = np.vstack([X, [[300.0, 0.0]]])
    cost = squared_distances(X, Y).astype(np.float32)
    solved = sinkhorn(cost, np.ones(50), np.ones(51), 1.0, max_iter=100_000)
    assert np.isfinite(solved.plan).all()
    assert solved.plan[:, -1].sum() == pytest.approx(1 / 51, rel=1e-2)


def test_rows_without_mass_are_as_if_they_were_not_there(problem):
    cost, a, b = problem
    a, b = a.copy(), b.copy()
    a[:5], b[:7] = 0, 0
    whole = sinkhorn(cost, a, b, 0.1, tol=1e-10)
    part = sinkhorn(cost[5:, 7:], a[5:], b[7:], 0.1, tol=1e-10)
    np.testing.assert_allclose(whole.plan[5:, 7:], part.plan, atol=1e-9)
    assert whole.plan[:5].sum() == whole.plan[:, :7].sum() == 0
    Y = np.random.default_rng(5).normal(size=(55, 2))
    barycentres = whole.barycentres(Y)
    assert np.isnan(barycentres[:5]).all()
    np.testing.assert_allclose(barycentres[5:], part.barycentres(Y[7:]), atol=1e-6)


def test_the_unconverged_says_so(problem):
    cost, a, b = problem
    solved = sinkhorn(cost, a, b, 0.001, max_iter=3)
    assert not solved.converged
    assert solved.error > 1e-5
    # and its row marginals hold all the same
    np.testing.assert_allclose(solved.plan.sum(axis=1), a / a.sum(), rtol=1e-6)


def test_unbalanced_plan_satisfies_its_optimality_conditions(problem):
    cost, a, b = problem
    eps, tau = 0.1, 0.4
    solved = sinkhorn(cost, a, b, eps, relaxation=tau, tol=1e-12, max_iter=10_000)
    a, b = a / a.sum(), b / b.sum()
    # The derivative of the objective by P_ij is zero.
    rows, columns = solved.plan.sum(axis=1), solved.plan.sum(axis=0)
    slope = (
        cost
        + eps * np.log(solved.plan / np.outer(a, b))
        + tau * np.log(rows / a)[:, None]
        + tau * np.log(columns / b)
    )
    np.testing.assert_allclose(slope, 0, atol=1e-8)


def test_unbalanced_becomes_balanced_at_a_high_price(problem):
    cost, a, b = problem
    loose = sinkhorn(cost, a, b, 0.1, relaxation=1e3, tol=1e-8, max_iter=100_000)
    np.testing.assert_allclose(loose.plan, sinkhorn(cost, a, b, 0.1).plan, atol=1e-4)


def test_class_regularised_without_weight_is_entropic(problem):
    cost, a, b = problem
    codes = np.arange(40) % 3
    plain = sinkhorn(cost, a, b, 0.05)
    np.testing.assert_array_equal(class_regularized(cost, a, b, 0.05, codes, 0.0).plan, plain.plan)
    one = class_regularized(cost, a, b, 0.05, np.zeros(40, dtype=int), 1.0)
    np.testing.assert_array_equal(one.plan, plain.plan)


def class_objective(plan, cost, a, b, eps, codes, strength):
    b = b / b.sum()
    shares = np.stack([plan[codes == c].sum(axis=0) for c in np.unique(codes)]) / b
    penalty = (b * np.sqrt(shares + 0.01).sum(axis=0)).sum()
    return (plan * cost).sum() + eps * relative_entropy(plan, a, b) + strength * penalty


def test_class_regularised_objective_falls_and_the_marginals_hold(problem):
    cost, a, b = problem
    codes = np.arange(40) % 3
    plain = sinkhorn(cost, a, b, 0.05, tol=1e-9)
    solved = class_regularized(cost, a, b, 0.05, codes, 0.05, tol=1e-7)
    assert solved.converged
    np.testing.assert_allclose(solved.plan.sum(axis=1), a / a.sum(), rtol=1e-6)
    assert np.abs(solved.plan.sum(axis=0) - b / b.sum()).sum() < 1e-6
    arguments = (cost, a, b, 0.05, codes, 0.05)
    assert class_objective(solved.plan, *arguments) < class_objective(plain.plan, *arguments)


def test_class_regularised_is_a_fixed_point_of_its_tangent(problem):
    """At a stationary point the plan solves entropic transport with the penalty's slope."""
    cost, a, b = problem
    codes = np.arange(40) % 3
    plan = class_regularized(cost, a, b, 0.1, codes, 0.1, tol=1e-8).plan
    shares = np.stack([plan[codes == c].sum(axis=0) for c in range(3)]) / (b / b.sum())
    slope = 0.05 / np.sqrt(shares + 0.01)
    again = sinkhorn(cost + slope[codes], a, b, 0.1, tol=1e-8).plan
    assert np.abs(again - plan).sum() < 5e-3


def test_class_regularised_gives_columns_to_one_class(problem):
    cost, a, b = problem
    codes = np.arange(40) % 3

    def mixed(plan):
        shares = np.stack([plan[codes == c].sum(axis=0) for c in range(3)])
        return 1 - (shares.max(axis=0) / shares.sum(axis=0)).mean()

    weights = (0.0, 0.05, 0.2)
    values = [mixed(class_regularized(cost, a, b, 0.1, codes, w).plan) for w in weights]
    assert values[0] > values[1] > values[2]


def test_rows_of_unknown_class_follow_the_others(problem):
    cost, a, b = problem
    codes = np.arange(40) % 2
    codes[::4] = -1
    solved = class_regularized(cost, a, b, 0.1, codes, 0.1)
    np.testing.assert_allclose(solved.plan.sum(axis=1), a / a.sum(), rtol=1e-5)
    assert solved.converged


def test_sums_of_a_float32_plan_are_taken_in_float64():
    n = 3000
    cost = np.zeros((n, n), dtype=np.float32)
    solved = sinkhorn(cost, np.ones(n), np.ones(n), 1.0)
    assert solved.mass.dtype == np.float64
    np.testing.assert_allclose(solved.mass, 1 / n, rtol=1e-6)
    assert solved.mass.sum() == pytest.approx(1.0, rel=1e-6)


def test_potentials_against_a_plain_loop_in_the_log_domain(problem):
    cost, a, b = problem
    a, b = a / a.sum(), b / b.sum()
    g = np.zeros(len(b))
    for _ in range(500):
        f = -0.1 * logsumexp((g - cost) / 0.1, b=b, axis=1)
        g = -0.1 * logsumexp((f[:, None] - cost) / 0.1, b=a[:, None], axis=0)
    solved = sinkhorn(cost, a, b, 0.1, tol=1e-13)
    np.testing.assert_allclose(solved.f + solved.g[0], f + g[0], atol=1e-8)


def test_typical_cost_is_the_median_and_one_where_nothing_varies():
    rng = np.random.default_rng(6)
    X, Y = rng.normal(size=(50, 2)), rng.normal(size=(60, 2))
    assert typical_cost(X, Y) == pytest.approx(np.median(squared_distances(X, Y)))
    assert typical_cost(np.ones((5, 2)), np.ones((4, 2))) == 1.0


def test_pot_is_imported_late_and_without_other_array_libraries():
    code = (
        "import os, sys, numpy as np\n"
        "import shiftlab.stats.transport as t\n"
        "early = 'ot' in sys.modules\n"
        "t.exact(np.eye(2), np.ones(2), np.ones(2))\n"
        "heavy = {'torch', 'tensorflow', 'jax', 'cupy'} & set(sys.modules)\n"
        "left = [k for k in os.environ if k.startswith('POT_BACKEND')]\n"
        "print(early, 'ot' in sys.modules, heavy, left)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False True set() []"
