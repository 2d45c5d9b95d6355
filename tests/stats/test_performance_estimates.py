"""Accuracy without labels and the split of a loss: naive loops, identities, planted truths."""

import time

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import norm

from shiftlab.stats.bootstrap import mean_estimate, resampled_counts
from shiftlab.stats.calibration import fit_calibration
from shiftlab.stats.loss_change import decompose_loss_change
from shiftlab.stats.performance import (
    _em_draws,
    _influence,
    _thresholded,
    balanced_probability,
    density_ratio,
    unlabelled_accuracy,
)
from shiftlab.stats.priors import em_prior

NAMES = {
    "average confidence",
    "ATC",
    "DoC",
    "label-shift adjusted",
    "importance weighting",
}


def _problem(rng, n, *, mean=0.0, temperature=1.0, prior=None):
    """Two-column X, three classes by softmax; the model knows P(y|x) up to a temperature.

    With a prior the classes are normal clouds instead and the model is the Bayes rule of equal
    shares.
    """
    directions = 2.0 * np.array([[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.9]])
    if prior is None:
        X = rng.normal([mean, 0.0], 1.0, size=(n, 2))
        logits = X @ directions.T
        p = softmax(logits, axis=1)
        y = (p.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    else:
        y = rng.choice(3, size=n, p=prior)
        X = rng.normal(size=(n, 2)) + 0.5 * directions[y]
        logits = 0.5 * X @ directions.T - 0.125 * np.square(directions).sum(axis=1)
    return X, y, softmax(logits * temperature, axis=1)


def _ratio(X, mean):
    return np.exp(mean * X[:, 0] - mean**2 / 2)


# ---------------------------------------------------------------- identities and naive loops


def test_balanced_probability_and_ratio_are_bayes_rule():
    x = np.linspace(-3, 3, 50)
    p_s, p_t = norm.pdf(x), norm.pdf(x, 1.0)
    seen = 100 * p_t / (900 * p_s + 100 * p_t)
    pi = balanced_probability(seen, 900, 100)
    assert pi == pytest.approx(p_t / (p_s + p_t))
    assert density_ratio(pi) == pytest.approx(p_t / p_s)
    assert density_ratio([0.0, 0.999, 1.0]).tolist() == [0.0, 50.0, 50.0]


def test_counts_hold_every_row_once_and_then_draws_of_the_same_size():
    counts = resampled_counts(37, np.random.default_rng(0))
    assert (counts[0] == 1).all()
    assert (counts.sum(axis=1) == 37).all()
    assert counts[1:].mean(axis=0) == pytest.approx(1.0, abs=0.35)
    assert counts[1:].var() == pytest.approx(1 - 1 / 37, abs=0.06)


def test_mean_estimate_has_the_textbook_interval():
    values = np.random.default_rng(1).normal(2.0, 3.0, size=2000)
    found = mean_estimate(values, rng=np.random.default_rng(2))
    half = 1.96 * values.std() / np.sqrt(2000)
    assert found.value == pytest.approx(values.mean())
    assert found.interval == pytest.approx(
        (found.value - half, found.value + half), abs=0.25 * half
    )


def test_weights_that_fit_nothing_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="not all zero"):
        mean_estimate([1.0, 2.0], [0.0, 0.0], rng=rng)
    with pytest.raises(ValueError, match="shape of values"):
        mean_estimate([1.0, 2.0], [1.0], rng=rng)
    with pytest.raises(ValueError, match="target_balanced"):
        decompose_loss_change([1.0], [1.0], [0.5], [1.0], rng=rng)
    with pytest.raises(ValueError, match="source_loss"):
        decompose_loss_change([], [1.0], [], [0.5], rng=rng)
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(2, 3\)"):
        unlabelled_accuracy(np.eye(2), [0, 1], np.eye(3)[:2], rng=rng)
    with pytest.raises(ValueError, match="every source row a code"):
        unlabelled_accuracy(np.eye(2), [0], np.eye(2), rng=rng)


def test_estimates_equal_their_formulas():
    rng = np.random.default_rng(3)
    X, y, p_s = _problem(rng, 400, temperature=1.7)
    _, _, p_t = _problem(rng, 300, mean=0.7, temperature=1.7)
    ratio = _ratio(X, 0.7)
    found = unlabelled_accuracy(p_s, y, p_t, ratio, rng=np.random.default_rng(4))
    assert set(found) == NAMES
    right = p_s.argmax(axis=1) == y
    assert found["importance weighting"].value == pytest.approx(np.average(right, weights=ratio))

    # The calibration that the function chose is one of three.
    gaps = []
    for method in ("none", "temperature", "bias_corrected"):
        calibration = fit_calibration(p_s, y, method)
        chosen = calibration(p_t)
        c_t = chosen[np.arange(300), p_t.argmax(axis=1)]
        c_s = calibration(p_s)[np.arange(400), p_s.argmax(axis=1)]
        gaps.append(abs(found["average confidence"].value - c_t.mean()))
        if gaps[-1] < 1e-9:
            break
    assert method != "none"  # the probabilities are too sure by far
    assert gaps[-1] < 1e-9
    assert found["DoC"].value == pytest.approx(right.mean() + c_t.mean() - c_s.mean())
    threshold = np.sort(c_s)[::-1][right.sum() - 1]
    assert found["ATC"].value == pytest.approx((c_t >= threshold).mean())
    q = em_prior(chosen, np.bincount(y) / 400).prior
    recall = [right[y == k].mean() for k in range(3)]
    assert found["label-shift adjusted"].value == pytest.approx(q @ recall, abs=1e-4)


def test_on_the_source_itself_every_estimate_is_the_source_accuracy():
    rng = np.random.default_rng(5)
    _, y, p = _problem(rng, 500)
    p = softmax(np.round(np.log(p)), axis=1)  # many ties
    found = unlabelled_accuracy(p, y, p, np.ones(500), rng=rng)
    accuracy = (p.argmax(axis=1) == y).mean()
    for name in ("ATC", "DoC", "importance weighting"):
        assert found[name].value == pytest.approx(accuracy, abs=1e-12)
    for name in ("average confidence", "label-shift adjusted"):
        assert found[name].value == pytest.approx(accuracy, abs=0.02)


def _naive_threshold(right, sure_s, sure_t):
    """ATC by walking down the source's confidences; a tie at the end counts in part."""
    left, above = right.sum(), 0.0
    for level in np.unique(sure_s)[::-1]:
        tied = (sure_s == level).sum()
        if left <= tied:
            part = left / tied
            return ((sure_t > level).sum() + part * (sure_t == level).sum()) / len(sure_t)
        left -= tied
        above += tied
    return 1.0


def test_thresholds_equal_a_naive_loop_with_ties_and_at_both_ends():
    rng = np.random.default_rng(6)
    for share in (0.0, 0.3, 0.8, 1.0):
        right = (rng.random(60) < share).astype(float)
        sure_s, sure_t = rng.integers(3, 9, size=60) / 10, rng.integers(1, 10, size=45) / 10
        counts_s, counts_t = resampled_counts(60, rng), resampled_counts(45, rng)
        fast = _thresholded(counts_s, right, sure_s, counts_t, sure_t)
        for b in (0, 1, 17):
            i, j = (np.repeat(np.arange(len(c[b])), c[b].astype(int)) for c in (counts_s, counts_t))
            slow = _naive_threshold(right[i], sure_s[i], sure_t[j])
            if right[i].any():
                assert fast[b] == pytest.approx(slow)
            else:
                assert fast[b] == 0.0


def test_em_in_all_draws_equals_em_on_repeated_rows():
    rng = np.random.default_rng(7)
    _, _, p = _problem(rng, 400, prior=[0.7, 0.2, 0.1])
    counts = resampled_counts(400, rng)
    prior = np.full(3, 1 / 3)
    found = _em_draws(p, prior, prior, counts)
    assert found.sum(axis=1) == pytest.approx(1.0)
    for b in (0, 1, 50, 200):
        rows = np.repeat(np.arange(400), counts[b].astype(int))
        assert found[b] == pytest.approx(em_prior(p[rows], prior).prior, abs=2e-3)
    assert found.std(axis=0).min() > 0.02


@pytest.mark.parametrize("method", ["none", "temperature", "bias_corrected"])
def test_influence_is_what_refitting_the_calibration_does(method):
    rng = np.random.default_rng(8)
    _, y, p_s = _problem(rng, 800, temperature=2.0)
    _, _, p_t = _problem(rng, 500, mean=1.0, temperature=2.0)
    chosen = p_t.argmax(axis=1)
    fitted = fit_calibration(p_s, y, method)
    influence = _influence(fitted, p_s, y, p_t, chosen)
    counts = resampled_counts(800, rng)[1:31]
    refitted = [
        fit_calibration(p_s, y, method, c)(p_t)[np.arange(500), chosen].mean() for c in counts
    ]
    moved = np.array(refitted) - fitted(p_t)[np.arange(500), chosen].mean()
    predicted = (counts - 1) @ influence
    assert predicted == pytest.approx(moved, abs=0.15 * max(np.abs(moved).max(), 1e-12))
    if method != "none":
        assert moved.std() > 0.003


def test_unknown_and_single_classes_do_not_break_anything():
    rng = np.random.default_rng(9)
    _, y, p = _problem(rng, 200)
    some = np.where(rng.random(200) < 0.2, 3, y)
    found = unlabelled_accuracy(p, some, p, np.ones(200), rng=rng)
    accuracy = (p.argmax(axis=1) == some).mean()
    assert accuracy < 0.8
    for name in ("ATC", "DoC", "importance weighting"):
        assert found[name].value == pytest.approx(accuracy)
    nothing_known = unlabelled_accuracy(p, np.full(200, 7), p, rng=rng)
    assert "label-shift adjusted" not in nothing_known
    assert nothing_known["ATC"].value == 0.0
    one = unlabelled_accuracy(np.ones((5, 1)), np.zeros(5), np.ones((1, 1)), np.ones(5), rng=rng)
    assert all(e.value == pytest.approx(1.0) for e in one.values())
    gone = unlabelled_accuracy(p[y < 2], y[y < 2], p, rng=rng)  # no row of a class of the model
    assert all(np.isfinite(e.value) and 0 <= e.value <= 1 for e in gone.values())


def test_a_thousand_rows_a_side_take_a_fraction_of_a_second():
    rng = np.random.default_rng(10)
    X, y, p = _problem(rng, 1000, temperature=1.5)
    times = []
    for _ in range(3):
        start = time.process_time()
        unlabelled_accuracy(p, y, p, _ratio(X, 0.5), rng=rng)
        times.append(time.process_time() - start)
    assert min(times) < 1.0  # about 0.05 alone; refitting in every draw would take seconds


# ------------------------------------------------------------------------- planted truths


def _coverage(cases, truth):
    hits = {}
    for found in cases:
        for name, estimate in found.items():
            hits.setdefault(name, []).append(estimate.interval[0] <= truth <= estimate.interval[1])
    return {name: np.mean(h) for name, h in hits.items()}


def test_under_covariate_shift_the_intervals_cover_the_true_accuracy():
    rng = np.random.default_rng(11)
    _, y, p = _problem(rng, 400_000, mean=1.0)
    truth = (p.argmax(axis=1) == y).mean()
    _, y, p = _problem(rng, 400_000)
    assert truth - (p.argmax(axis=1) == y).mean() > 0.04  # there is something to see
    cases = []
    for _ in range(60):
        X, y, p_s = _problem(rng, 500, temperature=2.0)
        _, _, p_t = _problem(rng, 500, mean=1.0, temperature=2.0)
        cases.append(unlabelled_accuracy(p_s, y, p_t, _ratio(X, 1.0), rng=rng))
    covered = _coverage(cases, truth)
    for name in ("importance weighting", "average confidence", "DoC"):
        assert covered[name] >= 0.86, covered  # 95% less three standard errors


def test_under_label_shift_the_adjusted_interval_covers_the_true_accuracy():
    rng = np.random.default_rng(12)
    moved = [0.8, 0.1, 0.1]

    def sample(n, prior):
        X, y, p = _problem(rng, n, prior=prior)
        p = p * [0.2, 1.0, 1.0]  # a lopsided model: its recalls differ
        return X, y, p / p.sum(axis=1, keepdims=True)

    _, y, p = sample(400_000, moved)
    truth = (p.argmax(axis=1) == y).mean()
    cases, before = [], []
    for _ in range(60):
        _, y, p_s = sample(500, [1 / 3] * 3)
        cases.append(unlabelled_accuracy(p_s, y, sample(500, moved)[2], rng=rng))
        before.append((p_s.argmax(axis=1) == y).mean())
    assert np.mean(before) - truth > 0.05
    covered = _coverage(cases, truth)
    assert covered["label-shift adjusted"] >= 0.86, covered
    assert covered["average confidence"] < 0.5  # its assumption is broken here


def test_parts_sum_to_the_total_exactly_and_equal_their_formulas():
    rng = np.random.default_rng(13)
    loss_s, loss_t = rng.normal(size=300), rng.normal(1.0, size=200)
    pi_s, pi_t = rng.random(300), rng.random(200)
    found = decompose_loss_change(loss_s, loss_t, pi_s, pi_t, rng=rng)
    assert found.total.value == pytest.approx(loss_t.mean() - loss_s.mean(), abs=1e-12)
    assert found.x.value + found.y_given_x.value == pytest.approx(found.total.value, abs=1e-12)
    assert found.to_shared.value + found.from_shared.value == pytest.approx(found.x.value)
    expected = np.average(loss_t, weights=1 - pi_t) - np.average(loss_s, weights=pi_s)
    assert found.y_given_x.value == pytest.approx(expected)


def _gaussians(rng, n, shift, extra):
    """X of unit variance, moved by ``shift``; expected losses x^2 and x^2 + extra x."""
    x_s, x_t = rng.normal(size=n), rng.normal(shift, 1.0, size=n)
    loss_s = np.square(x_s) + rng.normal(size=n)
    loss_t = np.square(x_t) + extra * x_t + rng.normal(size=n)
    pi = [1 / (1 + np.exp(shift**2 / 2 - shift * x)) for x in (x_s, x_t)]
    return loss_s, loss_t, *pi


def test_gaussian_parts_equal_those_by_quadrature():
    shift, extra = 1.0, 0.7
    x = np.linspace(-10, 11, 20_001)
    p_s, p_t = norm.pdf(x), norm.pdf(x, shift)
    shared = p_s * p_t / (p_s + p_t)
    shared /= shared.sum()
    at_shared = shared @ x**2, shared @ (x**2 + extra * x)
    at_s, at_t = 1.0, 1 + shift**2 + extra * shift
    rng = np.random.default_rng(14)
    found = decompose_loss_change(*_gaussians(rng, 20_000, shift, extra), rng=rng)
    truths = {
        "total": at_t - at_s,
        "to_shared": at_shared[0] - at_s,
        "y_given_x": at_shared[1] - at_shared[0],
        "from_shared": at_t - at_shared[1],
        "x": at_t - at_s - (at_shared[1] - at_shared[0]),
    }
    for name, truth in truths.items():
        estimate = getattr(found, name)
        error = (estimate.interval[1] - estimate.interval[0]) / 3.92
        assert error < 0.06
        assert estimate.value == pytest.approx(truth, abs=3.5 * error), name
    assert truths["y_given_x"] == pytest.approx(extra * shift / 2)  # by symmetry


def test_pure_concept_falls_to_y_given_x():
    rng = np.random.default_rng(15)
    half = np.full(2000, 0.5)
    source, target = rng.random(2000) < 0.2, rng.random(2000) < 0.4
    found = decompose_loss_change(source, target, half, half, rng=rng)
    assert found.y_given_x.value == pytest.approx(found.total.value, abs=1e-12)
    assert found.y_given_x.interval[0] > 0.15
    assert found.x.interval == pytest.approx((0.0, 0.0), abs=1e-12)


def test_intervals_hold_their_rate_under_pure_covariate_shift():
    rng = np.random.default_rng(16)
    cover, sees_x = [], []
    for _ in range(300):
        found = decompose_loss_change(*_gaussians(rng, 300, 1.0, 0.0), rng=rng)
        low, high = found.y_given_x.interval
        cover.append(low <= 0 <= high)
        sees_x.append(found.x.interval[0] > 0)
    # 95% plus or minus three and a half standard errors, and a little for 200 draws
    assert 0.90 <= np.mean(cover) <= 0.99
    assert np.mean(sees_x) > 0.95
