"""Each loss against a naive loop in NumPy, and its gradient against finite differences."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.special import log_softmax, softmax

torch = pytest.importorskip("torch")
from torch.autograd import gradcheck  # noqa: E402

from shiftlab.deep import losses  # noqa: E402


def draw(*shape, seed=0):
    """Float64 numbers that carry a gradient."""
    return torch.tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


def numbers(*tensors):
    return [t.detach().numpy() for t in tensors]


def test_coral_is_the_distance_of_covariances():
    s, t = draw(7, 3), draw(5, 3, seed=1)
    total = 0.0
    for i, j in itertools.product(range(3), repeat=2):
        a, b = (np.cov(x[:, i], x[:, j])[0, 1] for x in numbers(s, t))
        total += (a - b) ** 2
    assert losses.coral(s, t).item() == pytest.approx(total / 36)
    assert gradcheck(losses.coral, (s, t))


def test_unit_spread_makes_the_mean_variance_one():
    s, t = draw(40, 3), draw(60, 3, seed=1)
    a, b = losses.unit_spread(1000 * s, 1000 * t)
    variances = [x.detach().var(0, correction=0).mean() for x in (a, b)]
    assert np.mean(variances) == pytest.approx(1)
    assert gradcheck(losses.unit_spread, (s, t))


def test_smaller_features_do_not_lower_a_distance_of_unit_spread():
    s, t = draw(40, 3), draw(60, 3, seed=1)
    gradients = torch.autograd.grad(losses.coral(*losses.unit_spread(s, 2 * t)), (s, t))
    shrinking = sum((g * x).sum().item() for g, x in zip(gradients, (s, t), strict=True))
    assert max(g.abs().max().item() for g in gradients) > 1e-4
    assert shrinking == pytest.approx(0, abs=1e-12)  # Euler's identity at degree zero


def naive_kernel(rows, scales=(0.25, 0.5, 1, 2, 4)):
    n = len(rows)
    distance = np.array([[((a - b) ** 2).sum() for a in rows] for b in rows])
    width = distance.sum() / (n * (n - 1))
    return np.mean([np.exp(-distance / (c * width)) for c in scales], axis=0)


def naive_contrast(kernel, n):
    m = len(kernel) - n
    pairs = [(i, j) for i in range(n + m) for j in range(n + m)]
    sign = {(True, True): 1 / n**2, (False, False): 1 / m**2}
    return sum(kernel[i, j] * sign.get((i < n, j < n), -1 / (n * m)) for i, j in pairs)


def test_mmd_is_the_sum_over_pairs():
    s, t = draw(6, 2), draw(4, 2, seed=1)
    kernel = naive_kernel(np.concatenate(numbers(s, t)))
    assert losses.mmd(s, t).item() == pytest.approx(naive_contrast(kernel, 6))
    # Ten times the features is the same loss: the width follows the batch.
    assert losses.mmd(10 * s, 10 * t).item() == pytest.approx(losses.mmd(s, t).item())
    assert losses.mmd(s, t + 5).item() > losses.mmd(s, t).item()


def test_mmd_lowers_along_its_gradient():
    s, t = draw(20, 2), draw(20, 2, seed=1)
    moved = t.detach() + 2
    moved.requires_grad_()
    before = losses.mmd(s.detach(), moved)
    (gradient,) = torch.autograd.grad(before, moved)
    assert losses.mmd(s.detach(), moved - 5 * gradient) < before


def test_joint_mmd_multiplies_the_kernels_of_the_layers():
    s, t = [draw(5, 2), draw(5, 3, seed=1)], [draw(4, 2, seed=2), draw(4, 3, seed=3)]
    product = np.prod(
        [naive_kernel(np.concatenate(numbers(*layer))) for layer in zip(s, t, strict=True)], axis=0
    )
    assert losses.joint_mmd(s, t).item() == pytest.approx(naive_contrast(product, 5))


def test_gradient_is_reversed_and_weighted():
    x = draw(3, 2)
    for weight in (0.0, 0.3, 1.0):
        (plain,) = torch.autograd.grad((x**3).sum(), x)
        (turned,) = torch.autograd.grad((losses.reverse_gradient(x, weight) ** 3).sum(), x)
        assert torch.allclose(turned, -weight * plain)


def test_domain_loss_is_the_weighted_cross_entropy():
    s, t, v = draw(4), draw(6, seed=1), draw(4, seed=2).detach().abs()
    a, b, w = numbers(s, t, v)
    by_hand = -0.5 * sum(
        w[i] / w.sum() * np.log(1 / (1 + np.exp(-a[i]))) for i in range(4)
    ) - 0.5 * np.mean([np.log(1 - 1 / (1 + np.exp(-z))) for z in b])
    assert losses.domain_loss(s, t, v).item() == pytest.approx(by_hand)
    assert gradcheck(lambda x, y: losses.domain_loss(x, y, v), (s, t))


def test_domain_loss_has_a_gradient_at_the_start():
    s = torch.zeros(3, requires_grad=True)
    losses.domain_loss(s, torch.zeros(2)).backward()
    assert s.grad.abs().min() > 0.05


def test_multilinear_map_is_the_outer_product():
    f, p = draw(3, 4), draw(3, 2, seed=1)
    out = losses.multilinear_map(f, p).detach().numpy()
    for n, i, j in itertools.product(range(3), range(4), range(2)):
        assert out[n, 2 * i + j] == (f[n, i] * p[n, j]).item()


def test_random_map_keeps_inner_products_on_average():
    f, p = draw(2, 5).detach().float(), torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])
    full = losses.multilinear_map(f, p)
    map_ = losses.RandomMap(5, 3, 40_000, torch.Generator().manual_seed(0))
    small = map_(f, p)
    assert (small @ small.T).numpy() == pytest.approx((full @ full.T).numpy(), rel=0.1, abs=0.05)
    state = torch.random.get_rng_state()
    losses.RandomMap(5, 3, 4, torch.Generator().manual_seed(0))(f, p)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_discrepancy_is_the_mean_absolute_difference():
    a, b = draw(4, 3), draw(4, 3, seed=1)
    p, q = (softmax(x, axis=1) for x in numbers(a, b))
    by_hand = np.mean([abs(p[i, j] - q[i, j]) for i in range(4) for j in range(3)])
    assert losses.discrepancy(a, b).item() == pytest.approx(by_hand)
    assert gradcheck(losses.discrepancy, (a, b))


def test_margin_disparity_is_the_formula_and_has_a_gradient_where_the_adversary_is_sure():
    s, sa, t, ta = (draw(n, 3, seed=i) for i, n in enumerate((4, 4, 5, 5)))
    y, z = (x.detach().argmax(1).numpy() for x in (s, t))
    p, q = (softmax(x.detach().numpy(), axis=1) for x in (sa, ta))
    by_hand = -4 * np.mean([np.log(p[i, y[i]]) for i in range(4)])
    by_hand -= np.mean([np.log(1 - q[i, z[i]]) for i in range(5)])
    assert losses.margin_disparity(s, sa, t, ta).item() == pytest.approx(by_hand)
    assert gradcheck(lambda a, b: losses.margin_disparity(s.detach(), a, t.detach(), b), (sa, ta))
    sure = torch.tensor([[200.0, 0.0]], requires_grad=True)
    flat = torch.zeros(1, 2)
    losses.margin_disparity(flat, flat, sure.detach(), sure).backward()
    assert torch.isfinite(sure.grad).all()
    assert sure.grad.abs().max() > 0.5


def test_class_confusion_is_the_naive_sum():
    scores = draw(6, 3)
    p = softmax(scores.detach().numpy() / 2.5, axis=1)
    weight = np.array([1 + np.exp((row * np.log(row)).sum()) for row in p])
    weight *= 6 / weight.sum()
    confusion = np.zeros((3, 3))
    for n, i, j in itertools.product(range(6), range(3), range(3)):
        confusion[i, j] += weight[n] * p[n, i] * p[n, j]
    confusion /= confusion.sum(axis=1, keepdims=True)
    by_hand = (confusion.sum() - np.trace(confusion)) / 3
    assert losses.class_confusion(scores).item() == pytest.approx(by_hand)
    sharp = 100 * torch.eye(3)
    assert losses.class_confusion(sharp).item() == pytest.approx(0, abs=1e-6)


def test_norm_growth_pushes_each_norm_by_the_same():
    f = draw(5, 3)
    loss = losses.norm_growth(f, step=0.5)
    assert loss.item() == pytest.approx(0.25)
    (gradient,) = torch.autograd.grad(loss, f)
    unit = f / f.norm(dim=1, keepdim=True)
    assert torch.allclose(gradient, -2 * 0.5 * unit / 5)


def test_norms_grow_up_to_the_largest_and_shrink_beyond_it():
    f = torch.tensor([[3.0, 4.0], [6.0, 8.0], [0.6, 0.8]], requires_grad=True)
    loss = losses.norm_growth(f, step=2.0, largest=6.0)
    assert loss.item() == pytest.approx((1.0**2 + 4.0**2 + 2.0**2) / 3)
    (gradient,) = torch.autograd.grad(loss, f)
    direction = torch.tensor([[0.6, 0.8]] * 3)
    by_hand = 2 / 3 * torch.tensor([[-1.0], [4.0], [-2.0]]) * direction
    assert torch.allclose(gradient, by_hand)


def test_entropy_and_information_are_the_naive_sums():
    scores = draw(5, 4)
    p = softmax(scores.detach().numpy(), axis=1)
    rows = [-sum(v * np.log(v) for v in row) for row in p]
    assert losses.entropy(scores).detach().numpy() == pytest.approx(rows)
    mean = p.mean(axis=0)
    by_hand = -sum(v * np.log(v) for v in mean) - np.mean(rows)
    assert losses.information(scores).item() == pytest.approx(by_hand)
    assert gradcheck(lambda x: losses.entropy(x), (scores,))
    assert gradcheck(losses.information, (scores,))


def test_joint_cost_is_the_naive_loop():
    s, t, scores = draw(4, 3), draw(5, 3, seed=1), draw(5, 2, seed=2)
    labels = torch.tensor([0, 1, 1, 0])
    a, b, c = numbers(s, t, scores)
    cost = losses.joint_cost(s, t, labels, scores, of_features=2.0, of_labels=0.5)
    log_p = log_softmax(c, axis=1)
    for i, j in itertools.product(range(4), range(5)):
        by_hand = 2 * ((a[i] - b[j]) ** 2).mean() - 0.5 * log_p[j, labels[i]]
        assert cost[i, j].item() == pytest.approx(by_hand)


def test_transport_of_equal_batches_is_the_best_assignment():
    cost = draw(6, 6).detach().abs().requires_grad_()
    rows, columns = linear_sum_assignment(cost.detach().numpy())
    total = losses.transport_cost(cost)
    assert total.item() == pytest.approx(cost.detach().numpy()[rows, columns].mean())
    assert gradcheck(losses.transport_cost, (cost,))


def test_moment_distance_is_the_naive_sum():
    sources, target = [draw(4, 3, seed=i) for i in range(3)], draw(5, 3, seed=9)
    arrays, t = numbers(*sources), target.detach().numpy()

    def size(v):
        return np.sqrt(np.mean(v**2))

    by_hand = 0.0
    for k in (1, 2):
        by_hand += np.mean([size((a**k).mean(0) - (t**k).mean(0)) for a in arrays])
        pairs = itertools.combinations(arrays, 2)
        by_hand += np.mean([size((a**k).mean(0) - (b**k).mean(0)) for a, b in pairs])
    assert losses.moment_distance(sources, target).item() == pytest.approx(by_hand)
    assert gradcheck(lambda *x: losses.moment_distance(x[:-1], x[-1]), (*sources, target))


def test_alignment_brings_the_mean_to_the_prior():
    rng = np.random.default_rng(0)
    p = torch.tensor(rng.dirichlet([3.0, 1.0, 1.0], size=4000))
    prior = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    aligned = losses.align_distribution(p, p.mean(0), prior)
    row = p[7].numpy() * prior.numpy() / p.mean(0).numpy()
    assert aligned[7].numpy() == pytest.approx(row / row.sum())
    before, after = ((x.mean(0) - prior).abs().sum() for x in (p, aligned))
    assert after < 0.35 * before
    assert torch.allclose(losses.align_distribution(p, prior, prior), p)


def test_pseudo_label_loss_is_the_naive_sum():
    scores = draw(4, 2)
    p = torch.tensor([[0.95, 0.05], [0.5, 0.5], [0.02, 0.98], [0.89, 0.11]])
    log_p = log_softmax(scores.detach().numpy(), axis=1)
    loss, sure = losses.pseudo_label_loss(scores, p, 0.9)
    assert sure.tolist() == [True, False, True, False]
    assert loss.item() == pytest.approx(-(log_p[0, 0] + log_p[2, 1]) / 4)
    assert gradcheck(lambda x: losses.pseudo_label_loss(x, p, 0.9)[0], (scores,))
    soft, same = losses.pseudo_label_loss(scores, p.double(), 0.9, soft=True)
    assert torch.equal(sure, same)
    kept = (p.numpy() * log_p)[[0, 2]].sum()
    assert soft.item() == pytest.approx(-kept / 4)
    # At the teacher's own probabilities there is nothing to learn, where hard labels go on.
    at = p.double().log().requires_grad_()
    (soft_slope,), (hard_slope,) = (
        torch.autograd.grad(losses.pseudo_label_loss(at, p.double(), 0.9, soft=s)[0], at)
        for s in (True, False)
    )
    assert soft_slope.abs().max() < 1e-12 < 1e-3 < hard_slope.abs().max()


def test_virtual_adversary_finds_the_worst_direction():
    """Scores that depend on the first column only: all of the change goes there."""
    weight = torch.tensor([[4.0, -4.0], [0.0, 0.0], [0.0, 0.0]])
    batch = torch.tensor([[0.1, 1.0, 2.0], [-0.2, 0.0, 1.0]])
    scores = batch @ weight
    generator = torch.Generator().manual_seed(0)
    loss = losses.virtual_adversarial(
        lambda x: x @ weight, batch, scores, generator, radius=0.2
    ).item()
    length = 0.2 * np.sqrt(3)
    p = softmax(scores.numpy(), axis=1)
    worst = 0.0
    for i in range(2):
        divergences = []
        for sign in (-1, 1):
            moved = batch[i].numpy() + sign * length * np.array([1, 0, 0])
            q = log_softmax(moved @ weight.numpy())
            divergences.append((p[i] * (np.log(p[i]) - q)).sum())
        worst += max(divergences) / 2
    assert loss == pytest.approx(worst, rel=0.3)
    assert 0 < loss <= worst * 1.001


def test_starting_point_by_hand():
    w, w0 = [draw(2, 3), draw(3, seed=1)], [draw(2, 3, seed=2), draw(3, seed=3)]
    v = [draw(4, seed=4)]
    total = 0.0
    for now, before in zip(w, w0, strict=True):
        for a, b in zip(*(x.ravel() for x in numbers(now, before)), strict=True):
            total += 0.1 / 2 * (a - b) ** 2
    total += sum(0.01 / 2 * a**2 for a in numbers(*v)[0])
    got = losses.starting_point(w, w0, v, alpha=0.1, beta=0.01)
    assert got.item() == pytest.approx(total, rel=1e-6)
    got.backward()
    assert np.allclose(w[0].grad, 0.1 * (w[0] - w0[0]).detach())
    assert np.allclose(v[0].grad, 0.01 * v[0].detach())


def test_feature_map_distance_is_the_published_sum_over_layers_and_channels():
    now = {"low": draw(3, 4, 2, 5), "high": draw(3, 6, seed=1)}
    before = {"low": draw(3, 4, 2, 5, seed=2).detach(), "high": draw(3, 6, seed=3).detach()}
    attention = {
        k: torch.softmax(draw(n, seed=n).detach(), 0) for k, n in (("low", 4), ("high", 6))
    }
    total = 0.0
    for layer, weights in attention.items():
        a, b = (x.reshape(3, len(weights), -1) for x in numbers(now[layer], before[layer]))
        for i, j in itertools.product(range(3), range(len(weights))):
            norm = np.linalg.norm(a[i, j] - b[i, j]) ** 2
            total += 0.5 * len(weights) * float(weights[j]) * norm / a.shape[2] / 3
    got = losses.feature_map_distance(now, before, attention)
    assert got.item() == pytest.approx(total, rel=1e-6)
    alike = {"low": torch.full((4,), 0.25), "high": torch.full((6,), 1 / 6)}
    plain = 0.5 * (
        (now["low"] - before["low"]).square().mean(dim=(0, 2, 3)).sum()
        + (now["high"] - before["high"]).square().mean(dim=0).sum()
    )
    doubles = {k: v.double() for k, v in alike.items()}  # as the maps are
    assert losses.feature_map_distance(now, before, doubles).item() == pytest.approx(
        plain.item(), rel=1e-6
    )


@pytest.mark.parametrize("shape", [(4, 7), (7, 4)])
def test_smallest_singular_values_are_those_of_the_batch(shape):
    F = draw(*shape)
    singular = np.linalg.svd(numbers(F)[0], compute_uv=False)
    got = losses.smallest_singular_values(F, k=2)
    assert got.item() == pytest.approx((singular[-2:] ** 2).sum())
    assert gradcheck(lambda x: losses.smallest_singular_values(x, k=2), (F,))


def test_co_tuning_is_the_cross_entropy_with_the_related_source_classes():
    scores, codes = draw(5, 3), torch.tensor([0, 1, 1, 0, 2])
    relation = torch.softmax(draw(3, 3, seed=1).detach(), dim=1)
    log_p = log_softmax(numbers(scores)[0], axis=1)
    total = 0.0
    for i, s in itertools.product(range(5), range(3)):
        total -= float(relation[codes[i], s]) * log_p[i, s] / 5
    assert losses.co_tuning(scores, relation, codes).item() == pytest.approx(total)
    assert gradcheck(lambda x: losses.co_tuning(x, relation, codes), (scores,))


def test_class_relation_is_the_mean_prediction_of_each_class():
    p, codes = torch.softmax(draw(6, 4).detach(), dim=1), torch.tensor([0, 2, 2, 0, 0, 2])
    found = losses.class_relation(p, codes, 3)
    for code in (0, 2):
        assert np.allclose(found[code], numbers(p)[0][codes.numpy() == code].mean(axis=0))
    assert np.allclose(found[1], numbers(p)[0].mean(axis=0))
    assert np.allclose(found.sum(dim=1), 1.0)
