"""Deep adapters that go on from a trained network, refine borders, or take several sources."""

import copy
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from shiftlab import (
    ADDA,
    CORAL,
    DANN,
    DIRTT,
    M3SDA,
    MCC,
    SHOT,
    TENT,
    VADA,
    AdaBN,
    AdaMatch,
    DeepAdapt,
    MultiSource,
    PriorCorrection,
)
from shiftlab.marginal.multi_source import sure_mixture

torch = pytest.importorskip("torch")

from planted import QUICK, last_step, moved_blobs, turn_a_little, turned_blobs  # noqa: E402

from shiftlab.deep import losses  # noqa: E402
from shiftlab.deep.batch_norm import norm_layers, set_statistics, statistics_kept  # noqa: E402

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("adapter", "draw"),
    [
        (AdaBN(), moved_blobs),
        (TENT(), moved_blobs),
        (SHOT(pretrain_epochs=10), moved_blobs),
        (ADDA(pretrain_epochs=10), moved_blobs),
        (AdaMatch(augmentation=turn_a_little), turned_blobs),
        (VADA(), turned_blobs),
        (DIRTT(pretrain_epochs=10), turned_blobs),
        (M3SDA(), turned_blobs),
    ],
    ids=lambda a: type(a).__name__,
)
def test_it_beats_the_source_alone_on_a_planted_shift(adapter, draw):
    gains = []
    for seed in range(2):
        X, y, Xt, yt = draw(seed)
        adapter.set_params(random_state=seed, **QUICK)
        alone = MCC(weight=0.0, augmentation=adapter.augmentation, random_state=seed, **QUICK)
        adapter.fit((X, y), Xt)
        assert adapter.collapse_ is None
        gains.append(adapter.score(Xt, yt) - alone.fit((X, y), Xt).score(Xt, yt))
    assert np.mean(gains) > 0.03


# -- batch norm ------------------------------------------------------------------------------


def test_statistics_are_the_means_over_the_batches():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(3)
    )
    net.train()
    batches = [5 + 2 * torch.randn(40, 3) for _ in range(4)]
    set_statistics(net, batches, "AdaBN")
    by_hand = torch.stack([b.mean(dim=0) for b in batches]).mean(dim=0)
    assert torch.allclose(net[0].running_mean, by_hand, atol=1e-5)
    spread = torch.stack([b.var(dim=0) for b in batches]).mean(dim=0)
    assert torch.allclose(net[0].running_var, spread, atol=1e-4)
    # The second sees what the first makes of the batch, and no dropout.
    assert torch.allclose(net[2].running_mean, torch.zeros(3), atol=1e-5)
    assert net[0].momentum == 0.1
    assert all(module.training for module in net.modules())
    with statistics_kept(net):
        net(batches[0])
    assert torch.allclose(net[0].running_mean, by_hand, atol=1e-5)
    net(batches[0])
    assert not torch.allclose(net[0].running_mean, by_hand, atol=1e-5)


@pytest.mark.parametrize("kind", [AdaBN, TENT])
def test_a_network_without_batch_norm_is_refused(kind):
    X, y, Xt, _ = moved_blobs(0)
    net = (torch.nn.Linear(4, 8), torch.nn.Linear(8, 3))
    with pytest.raises(ValueError, match=f"{kind.__name__} adapts batch norm"):
        kind(net, epochs=1, device="cpu").fit((X, y), Xt)


def test_adabn_is_the_sources_network_with_the_targets_statistics():
    X, y, Xt, _ = moved_blobs(0)
    model = AdaBN(random_state=0, **QUICK).fit((X, y), Xt)
    alone = MCC(weight=0.0, random_state=0, **QUICK).fit((X, y), Xt)
    weights, others = (dict(m.net_.net.named_parameters()) for m in (model, alone))
    assert set(weights) == set(others)
    rows = torch.from_numpy(Xt).float()
    first = model.net_.net.features[:2][1][0](model.net_.net.features[0](rows))
    norm = norm_layers(model.net_.net, "AdaBN")[0]
    assert torch.allclose(norm.running_mean, first.mean(dim=0), atol=1e-4)


def test_tent_trains_the_norms_alone_by_the_mean_entropy():
    X, y, Xt, _ = moved_blobs(0)
    context, method, step = last_step(TENT(random_state=0, **QUICK), X, y, Xt)
    with statistics_kept(context.net):
        p = softmax(context.net(step.target).detach().numpy(), axis=1)
    naive = np.mean([-sum(q * math.log(q) for q in row) for row in p])
    assert method.loss(step).item() == pytest.approx(naive, rel=1e-4)
    trained = {id(p) for module, _ in method.trained for p in module.parameters()}
    norms = norm_layers(context.net, "TENT")
    assert trained == {id(p) for layer in norms for p in (layer.weight, layer.bias)}


# -- a trained network -----------------------------------------------------------------------


def test_centroid_labels_are_the_naive_loop():
    rng = np.random.default_rng(0)
    f, p = rng.normal(size=(12, 4)), softmax(3 * rng.normal(size=(12, 3)), axis=1)
    p[:, 2] = 1e-6  # nobody's class
    p /= p.sum(axis=1, keepdims=True)
    rows = np.array([[*r, 1.0] / np.linalg.norm([*r, 1.0]) for r in f])
    weights, labels = p, p.argmax(axis=1)
    for _ in range(2):
        centres = {}
        for c in set(labels.tolist()):
            total = sum(w * r for w, r in zip(weights[:, c], rows, strict=True))
            centres[c] = total / np.linalg.norm(total)
        labels = np.array([max(centres, key=lambda c, r=r: r @ centres[c]) for r in rows])
        weights = np.eye(3)[labels]
    found = losses.centroid_labels(torch.from_numpy(f), torch.from_numpy(p))
    assert_array_equal(found.numpy(), labels)
    assert 2 not in labels


def test_shot_is_its_formula_and_leaves_the_head():
    X, y, Xt, _ = moved_blobs(0)
    context, method, step = last_step(SHOT(random_state=0, beta=0.5, **QUICK), X, y, Xt)
    labels = method.companions["pseudo_labels"].labels[:64].numpy()
    with statistics_kept(context.net):
        scores = context.net(step.target).detach().numpy()
    p, logs = softmax(scores, axis=1), log_softmax(scores, axis=1)
    mean = p.mean(axis=0)
    information = -(mean * np.log(mean)).sum() + (p * logs).sum(axis=1).mean()
    naive = -0.5 * np.mean([logs[i, c] for i, c in enumerate(labels)]) - information
    assert method.loss(step).item() == pytest.approx(naive, rel=1e-4)
    start = MCC(weight=0.0, random_state=0, **QUICK).fit((X, y), Xt).net_
    model = SHOT(start, pretrain_epochs=0, random_state=0, **QUICK).fit((X, y), Xt)
    for name, before in start.net.named_parameters():
        after = dict(model.net_.net.named_parameters())[name]
        assert torch.equal(after, before) == name.startswith("head")


def test_new_statistics_for_a_trained_network_are_those_after_a_training():
    X, y, Xt, _ = moved_blobs(0)
    trained = AdaBN(random_state=0, **QUICK).fit((X, y), Xt).net_
    before = copy.deepcopy(trained.net.state_dict())

    def again(target):
        model = AdaBN(trained, random_state=1, **{**QUICK, "epochs": 0})
        return model.fit((1e3 * X[::-1], y), target).net_

    assert_array_equal(again(Xt).predict_proba(Xt), trained.predict_proba(Xt))
    moved = again(Xt + 1.0)
    parts = dict(moved.net.named_modules())
    with torch.no_grad():
        scaled = parts["features.scale"](torch.from_numpy(Xt + 1.0).float())
        means = parts["features.fc1.0"](scaled).mean(dim=0)
    assert_allclose(parts["features.fc1.1"].running_mean, means, atol=1e-5)
    for name, weight in moved.net.named_parameters():
        assert torch.equal(weight, before[name])
    assert all(torch.equal(trained.net.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize("kind", [SHOT, TENT])
def test_no_source_row_is_looked_at_after_the_first_training(kind):
    X, y, Xt, yt = moved_blobs(0)
    start = MCC(weight=0.0, random_state=0, **QUICK).fit((X, y), Xt).net_
    given = {"pretrain_epochs": 0, "random_state": 0, **QUICK}
    model = kind(start, **given).fit((X, y), Xt)
    noise = kind(start, **given).fit((1e3 * X[::-1], y), Xt)
    assert_array_equal(model.predict_proba(Xt), noise.predict_proba(Xt))
    assert model.score(Xt, yt) > np.mean(start.predict(Xt) == yt) + 0.05
    with pytest.raises(ValueError, match="trained on the classes"):
        kind(start, **given).fit((X, y + 1), Xt)


def test_the_domain_head_of_adda_learns_and_the_features_learn_against_it():
    X, y, Xt, _ = moved_blobs(0)
    context, method, step = last_step(ADDA(random_state=0, **QUICK), X, y, Xt)
    head, first = method.modules["domain_head"], context.net.features[1][0].weight
    with statistics_kept(context.net):
        target = context.net.embed(step.target)
    source = method.companions["source_net"].net.embed(step.source)
    told = losses.domain_loss(head(source.detach()), head(target.detach()))
    passed = torch.nn.functional.softplus(-head(target)).mean()
    by_hand = [
        *torch.autograd.grad(told, list(head.parameters())),
        *torch.autograd.grad(passed, [first]),
    ]
    value = method.loss(step)
    assert value.item() == pytest.approx((told + passed).item(), rel=1e-5)
    found = torch.autograd.grad(value, [*head.parameters(), first])
    for a, b in zip(found, by_hand, strict=True):
        assert torch.allclose(a, b, atol=1e-6)
        assert a.abs().max() > 1e-5


# -- labels and borders ----------------------------------------------------------------------


def test_adamatch_is_its_formula():
    X, y, Xt, _ = moved_blobs(0)
    model = AdaMatch(random_state=0, confidence=0.8, weight=2.0, **QUICK)
    context, method, step = last_step(model, X, y, Xt)
    step.progress = 0.25
    state = context.generator.get_state()
    with statistics_kept(context.net):
        source, target = (torch.cat([b, b]) for b in (step.source, step.target))
        together = context.net(torch.cat([source, target])).detach()
        alone = context.net(source).detach()
    part = torch.rand(alone.shape, generator=torch.Generator().set_state(state))
    mixed = (part * together[:128] + (1 - part) * alone).numpy()
    bare, changed = (s.numpy() for s in together[128:].split(64))
    labels = step.labels.numpy()
    hits = [-log_softmax(mixed, axis=1)[i, labels[i % 64]] for i in range(128)]
    known, guessed = softmax(mixed[:64], axis=1), softmax(bare, axis=1)
    prior = context.source_prior.numpy()
    shares = [0.99 * prior + 0.01 * p.mean(axis=0) for p in (known, guessed)]
    least = 0.8 * np.mean([max(row) for row in known])
    learned = 0.0
    for row, logs in zip(guessed, log_softmax(changed, axis=1), strict=True):
        aligned = row * shares[0] / shares[1]
        aligned /= aligned.sum()
        if aligned.max() >= least:
            learned -= logs[aligned.argmax()] / 64
    naive = np.mean(hits) + 2.0 * (0.5 - 0.5 * math.cos(math.pi / 2)) * learned
    assert method.loss(step).item() == pytest.approx(naive, rel=1e-4)
    assert learned > 0


def test_vada_adds_up_its_parts_and_its_adversary_has_a_gradient():
    X, y, Xt, _ = moved_blobs(0)
    full = 2 / (1 + np.exp(-10)) - 1
    given = {"domain_weight": 0.3, "source_weight": 0.0, "target_weight": 0.0}
    values = {}
    for changes in ({}, {"source_weight": 0.7}, {"target_weight": 0.4}):
        model = VADA(radius=0.2, random_state=0, **{**given, **changes}, **QUICK)
        context, method, step = last_step(model, X, y, Xt)
        loss = method.loss(step)
        values[tuple(changes)] = loss.item()
        gradient = torch.autograd.grad(loss, list(method.modules["domain_head"].parameters()))
        assert all(g.abs().max() > 1e-5 for g in gradient)
    context, method, step = last_step(VADA(random_state=0, **QUICK), X, y, Xt)
    unit = context.net.features[0].std
    with statistics_kept(context.net):
        both = context.net(torch.cat([step.source, step.target]))
        for scores, batch, key, weight in (
            (both[:64], step.source, "source_weight", 0.7),
            (both[64:], step.target, "target_weight", 0.4),
        ):
            generator = torch.Generator().manual_seed(1)
            smooth = losses.virtual_adversarial(
                lambda x: context.net(x * unit), batch / unit, scores, generator, radius=0.2
            )
            if key == "target_weight":
                smooth = smooth + losses.entropy(scores).mean()
            added = values[(key,)] - values[()]
            assert added == pytest.approx(full * weight * smooth.item(), rel=1e-3)
            assert added > 1e-4


def test_dirt_t_is_smoothness_and_a_short_way_from_the_average():
    X, y, Xt, _ = moved_blobs(0)
    values = []
    for beta in (0.0, 3.0):
        context, method, step = last_step(DIRTT(beta=beta, random_state=0, **QUICK), X, y, Xt)
        for p in method.companions["teacher"].net.parameters():
            p.mul_(1.5)
        values.append(method.loss(step).item())
    with statistics_kept(context.net):
        logs = log_softmax(context.net(step.target).detach().numpy(), axis=1)
    q = softmax(method.companions["teacher"](step.target).numpy(), axis=1)
    naive = np.mean([sum(q[i] * (np.log(q[i]) - logs[i])) for i in range(64)])
    assert values[1] - values[0] == pytest.approx(3.0 * naive, rel=1e-3)
    assert naive > 1e-3


# -- several sources -------------------------------------------------------------------------


def three_samples(seed, n=300):
    """Two sources moved along the difference of two classes, and with other shares, and a target.

    Pooled, the class that lies higher everywhere lies lower on average.
    """
    rng = np.random.default_rng(seed)
    shares = (0.3, 0.7, 0.5)
    labels = [(np.arange(n) < share * n).astype(int) for share in shares]
    draws = [3.0 * y[:, None] * [1, 0, 0] + rng.normal(size=(n, 3)) for y in labels]
    moves = np.outer((6, -6, 0), (1, 0, 0))
    return tuple((X + move, y) for X, y, move in zip(draws, labels, moves, strict=True))


def test_each_row_is_answered_by_the_models_that_are_sure():
    p = np.array([[[0.9, 0.1], [0.5, 0.5]], [[0.6, 0.4], [0.5, 0.5]]])
    weights = [1 + sum(q * math.log2(q) for q in p[j, 0]) for j in (0, 1)]
    naive = sum(w * p[j, 0, 0] for j, w in enumerate(weights)) / sum(weights)
    mixed = sure_mixture(p)
    assert mixed[0, 0] == pytest.approx(naive)
    assert mixed[1].tolist() == pytest.approx([0.5, 0.5])
    assert mixed.sum(axis=1) == pytest.approx(1)


def test_one_model_a_source_beats_the_pool_where_sources_moved_apart():
    gains = []
    for seed in range(3):
        first, second, (Xt, yt) = three_samples(seed)
        inner = CORAL(LogisticRegression(), center=True)
        several = MultiSource(inner).fit([first, second], Xt)
        assert len(several.models_) == 2
        for model, part in zip(several.models_, (first, second), strict=True):
            alone = CORAL(LogisticRegression(), center=True).fit(part, Xt)
            assert_array_equal(model.predict_proba(Xt), alone.predict_proba(Xt))
        pooled = CORAL(LogisticRegression(), center=True).fit([first, second], Xt)
        gains.append(several.score(Xt, yt) - pooled.score(Xt, yt))
    assert np.mean(gains) > 0.03


def test_classes_that_one_source_lacks_get_nothing_from_it():
    rng = np.random.default_rng(0)
    X = 6 * np.eye(3)[np.tile([0, 1, 2], 40)] + rng.normal(size=(120, 3))
    y = np.tile(["a", "b", "c"], 40)
    two = y != "b"
    model = MultiSource(LogisticRegression()).fit([(X, y), (X[two], y[two])], X)
    assert model.predict_proba(X).shape == (120, 3)
    assert model.predict_proba(X).sum(axis=1) == pytest.approx(1)
    assert model.score(X, y) > 0.95


# -- class shares on top ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DANN, DeepAdapt])
def test_a_correction_of_class_shares_goes_on_top_of_a_deep_adapter(kind):
    rng = np.random.default_rng(0)
    y, yt = np.repeat([0, 1], [200, 200]), np.repeat([0, 1], [360, 40])
    X, Xt = (rng.normal(size=(400, 2)) + 2.2 * labels[:, None] * [1, 0] for labels in (y, yt))
    given = {"weight": 0.1, "random_state": 0, "epochs": 10, "device": "cpu"}
    alone = kind(**given).fit((X, y), Xt).score(Xt, yt)
    model = PriorCorrection(kind(**given), cv=2, random_state=0).fit((X, y), Xt)
    assert model.refused_ is None
    assert model.prior_[0] == pytest.approx(0.9, abs=0.08)
    assert model.score(Xt, yt) > alone + 0.02
