"""M3SDA: moments and labels of each source, and heads that are averaged, kept and replaced."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.special import log_softmax, logsumexp, softmax

from shiftlab import DANN, M3SDA, MCC, Domain

torch = pytest.importorskip("torch")

from planted import QUICK  # noqa: E402

from shiftlab.deep import TrainedNet, fine_tune  # noqa: E402
from shiftlab.deep.adaptation import Step  # noqa: E402
from shiftlab.deep.batch_norm import statistics_kept  # noqa: E402
from shiftlab.deep.mixture import MixtureHead, single_head  # noqa: E402

CPU = torch.device("cpu")


def blobs(y, rng, gap, moved=0.0):
    centres = np.array([[0, 0, 0, 0], [gap, 0, 0, 0], [0, gap, 0, 0.0]])
    return centres[y] + rng.normal(size=(len(y), 4)) + [0, 0, moved, 0]


def other_labels(seed):
    """The first source, nine times the second, gives most of class 2 the name of class 1."""
    rng = np.random.default_rng(seed)
    ya, yb, yt = (np.tile([0, 1, 2], n) for n in (300, 34, 100))
    named = np.where((ya == 2) & (rng.random(900) < 0.6), 1, ya)
    sources = [(blobs(ya, rng, 4), named), (blobs(yb, rng, 4, 1.0), yb)]
    return sources, blobs(yt, rng, 4, -1.0), yt


def other_shares(seed):
    """Overlapping classes: 85 to 15 in the larger source, 15 to 85 in the smaller, then even."""
    rng = np.random.default_rng(seed)
    ya, yb = ((rng.random(n) < share).astype(int) for n, share in ((900, 0.15), (100, 0.85)))
    yt = np.tile([0, 1], 200)
    sources = [(blobs(ya, rng, 2.2), ya), (blobs(yb, rng, 2.2, 1.0), yb)]
    return sources, blobs(yt, rng, 2.2, -1.0), yt


def step_of(model, sources, Xt, weight=None):
    source = Domain.concat(
        [Domain(X, y, name=name) for (X, y), name in zip(sources, "abc", strict=False)]
    )
    source = source.take(np.random.default_rng(0).permutation(source.n_rows))
    context, *_ = model._context(source, Domain(Xt), CPU, 0)
    torch.manual_seed(0)
    method = model._method(context)
    context.net.train()
    rows = torch.arange(64)
    batches = context.source.batch(rows), context.labels[rows], weight
    step = Step(context, *batches, context.target.batch(rows), rows, rows, 1.0)
    return context, method, step, np.unique(source.group, return_inverse=True)[1][:64]


def spread_out(head):
    """Give heads that started alike other weights each."""
    with torch.no_grad():
        for k, one in enumerate(head.heads):
            generator = torch.Generator().manual_seed(k)
            one.weight.copy_(torch.randn(one.weight.shape, generator=generator) / 4)


def test_m3sda_takes_the_moments_of_each_source():
    sources, Xt, _ = other_labels(0)
    values = []
    for weight in (0.0, 1.0):
        model = M3SDA(weight=weight, random_state=0, **QUICK)
        context, method, step, origin = step_of(model, sources[::-1], Xt)
        values.append(method.loss(step).item())
    with statistics_kept(context.net):
        f = context.net.embed(torch.cat([step.source, step.target])).detach().numpy()
    f = f.astype(float)
    spread = np.mean([f[:64].var(axis=0).mean(), f[64:].var(axis=0).mean()])
    f /= np.sqrt(spread)
    parts = [f[:64][origin == k] for k in (0, 1)] + [f[64:]]
    assert min(map(len, parts)) > 1

    def size(a, b, k):
        return np.sqrt(((a**k).mean(axis=0) - (b**k).mean(axis=0)) ** 2 @ np.full(64, 1 / 64))

    naive = sum(
        (size(parts[0], parts[2], k) + size(parts[1], parts[2], k)) / 2
        + size(parts[0], parts[1], k)
        for k in (1, 2)
    )
    full = 2 / (1 + np.exp(-10)) - 1
    assert values[1] - values[0] == pytest.approx(full * naive, rel=1e-3)


@pytest.mark.parametrize("weighted", [False, True])
def test_each_head_learns_from_the_rows_of_its_own_source(weighted):
    sources, Xt, _ = other_labels(0)
    weight = torch.linspace(0.5, 1.5, 64) if weighted else None
    model = M3SDA(weight=0.0, random_state=0, **QUICK)
    context, method, step, origin = step_of(model, sources, Xt, weight)
    heads = context.net.head.heads
    spread_out(context.net.head)
    with statistics_kept(context.net):
        f = context.net.embed(torch.cat([step.source, step.target]))[:64].detach()
    logs = [log_softmax(head(f).detach().numpy(), axis=1) for head in heads]
    counts = np.ones(64) if weight is None else weight.numpy()
    hits = [-logs[j][i, step.labels[i]] for i, j in enumerate(origin)]
    naive = sum(c * hit for c, hit in zip(counts, hits, strict=True)) / 64
    assert method.loss(step).item() == pytest.approx(naive, rel=1e-4)
    # A row moves the head of its own source and no other.
    only = torch.from_numpy(np.flatnonzero(origin == 1))
    scores = context.net.head.scores_of(f[only], torch.ones(len(only), dtype=torch.int64))
    first, second = (
        torch.autograd.grad(scores.square().sum(), head.weight, retain_graph=True)[0]
        for head in heads
    )
    assert first.abs().max() == 0
    assert second.abs().max() > 0


def test_a_mixture_is_the_log_of_the_mean_probability_over_the_heads_that_know_a_class():
    known = torch.tensor([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0]])
    torch.manual_seed(0)
    head = MixtureHead(torch.nn.Linear(5, 4), known)
    spread_out(head)
    f = torch.randn(20, 5)
    p = np.array([softmax(one(f).detach().numpy(), axis=1) for one in head.heads])
    naive = np.zeros((20, 4))
    for i in range(20):
        for c in range(4):
            among = [j for j in range(3) if known[j, c]] or [0, 1, 2]  # nobody knows the last
            naive[i, c] = np.mean([p[j, i, c] for j in among])
    np.testing.assert_allclose(head(f).detach().exp(), naive, rtol=1e-5)
    alike = MixtureHead(head.heads[0], torch.ones(3, 4))
    np.testing.assert_allclose(alike(f).detach().exp(), p[0], rtol=1e-5)
    mean = single_head(head)
    np.testing.assert_allclose(
        mean.weight.detach(), np.mean([one.weight.detach().numpy() for one in head.heads], axis=0)
    )
    assert single_head(mean) is mean


@pytest.mark.parametrize(
    ("draw", "weight", "least"),
    # Moments of samples with other shares do not become the same by right features: heads alone.
    [(other_labels, 0.3, 0.15), (other_shares, 0.0, 0.03)],
)
def test_a_head_a_source_beats_one_for_all_where_the_larger_source_would_decide(
    draw, weight, least
):
    gains = []
    for seed in range(2):
        sources, Xt, yt = draw(seed)
        given = {"random_state": seed, **QUICK}
        model = M3SDA(weight=weight, **given).fit(sources, Xt)
        assert model.collapse_ is None
        pooled = MCC(weight=0.0, **given).fit(sources, Xt)
        gains.append(model.score(Xt, yt) - pooled.score(Xt, yt))
        if draw is other_labels:
            # On rows of class 2 the head of the first source is wrong, and the mean is right.
            f = torch.from_numpy(model.net_.features(Xt[yt == 2]))
            told = [one(f).argmax(dim=1).eq(2).float().mean() for one in model.net_.net.head.heads]
            assert told[0] < 0.5 < np.mean(model.predict(Xt[yt == 2]) == 2)
            assert told[1] > 0.8
    assert np.mean(gains) > least


def test_the_prediction_is_the_mean_of_what_the_heads_say():
    sources, Xt, _ = other_labels(0)
    model = M3SDA(random_state=0, epochs=3, device="cpu").fit(sources, Xt)
    f = torch.from_numpy(model.net_.features(Xt))
    each = [softmax(head(f).detach().numpy(), axis=1) for head in model.net_.net.head.heads]
    assert len(each) == 2
    np.testing.assert_allclose(model.predict_proba(Xt), np.mean(each, axis=0), atol=1e-6)
    scores = model.decision_function(Xt)
    np.testing.assert_allclose(logsumexp(scores, axis=1), 0.0, atol=1e-5)


def test_one_source_has_one_plain_head():
    sources, Xt, _ = other_labels(0)
    X, y = sources[1]
    for source in ((X, y), [(X, y)], Domain(X, y, group=np.full(len(y), 3))):
        model = M3SDA(random_state=0, epochs=2, device="cpu").fit(source, Xt)
        assert isinstance(model.net_.net.head, torch.nn.Linear)


def test_a_class_that_one_source_lacks_is_found_and_one_without_rows_is_not():
    rng = np.random.default_rng(0)
    ya, yb, yt = np.tile([0, 1], 150), np.tile([0, 2], 150), np.tile([0, 1, 2], 100)
    sources = [
        Domain(blobs(y, rng, 6), y, name=name, classes=[0, 1, 2, 3])
        for y, name in ((ya, "a"), (yb, "b"))
    ]
    model = M3SDA(weight=0.0, random_state=0, **QUICK).fit(sources, blobs(yt, rng, 6))
    X = blobs(yt, rng, 6)
    assert model.score(X, yt) > 0.95
    assert model.predict_proba(X)[:, 3].max() < 0.1


# -- a network with several heads, later -----------------------------------------------------


def images(seed):
    rng = np.random.default_rng(seed)
    y = np.tile([0, 1], 40)
    X = rng.integers(0, 60, (80, 12, 12), dtype=np.uint8)
    X[y == 1, 3:9, 3:9] += 150
    return X, y


@pytest.fixture(scope="module")
def trained():
    (X, y), (Xt, _) = images(0), images(1)
    model = M3SDA(random_state=0, epochs=2, device="cpu")
    return model.fit([(X, y), (255 - X, y)], Xt).net_


def test_it_is_saved_and_loaded_to_the_same_bits(trained, tmp_path):
    path = tmp_path / "net.safetensors"
    trained.save(path)
    again = TrainedNet.load(path, device="cpu")
    X, _ = images(2)
    assert len(again.net.head.heads) == 2
    assert_array_equal(again.decision_function(X), trained.decision_function(X))
    again.save(path)
    assert_array_equal(TrainedNet.load(path, device="cpu").predict_proba(X), again.predict_proba(X))


def test_it_can_be_fine_tuned_from_the_mean_of_its_heads(trained):
    X, y = images(2)
    tuned = fine_tune(trained, X, y, epochs=2, probe=True, device="cpu", random_state=0)
    assert isinstance(tuned.net.head, torch.nn.Linear)
    assert np.mean(tuned.predict(images(3)[0]) == images(3)[1]) > 0.9


def test_it_can_be_adapted_on(trained):
    (X, y), (Xt, _) = images(2), images(3)
    given = {"epochs": 2, "random_state": 0, "device": "cpu"}
    assert len(DANN(trained, **given).fit((X, y), Xt).net_.net.head.heads) == 2
    model = M3SDA(trained, **given)
    context, *_ = step_of(model, [(X, y), (X, y), (255 - X, y)], Xt)
    mean = single_head(trained.net.head).weight
    assert [torch.equal(one.weight, mean) for one in context.net.head.heads] == 3 * [True]
