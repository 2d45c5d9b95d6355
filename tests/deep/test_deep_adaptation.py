"""The loop over paired batches of two domains, and the parts that it is made of."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from shiftlab.deep import TrainedNet, losses  # noqa: E402
from shiftlab.deep.adaptation import Context, Method, adapt_net, find_collapse  # noqa: E402
from shiftlab.deep.averages import MovingAverage  # noqa: E402
from shiftlab.deep.backbones import BlockNet, Scale, lenet, mlp  # noqa: E402
from shiftlab.deep.inputs import as_input_array, as_row_array, make_store  # noqa: E402
from shiftlab.deep.snapshot import Snapshot  # noqa: E402
from shiftlab.deep.training import History, Plan  # noqa: E402

CPU = torch.device("cpu")


def turned(n=300, degrees=40, seed=0):
    """Two classes in two columns, and the same turned."""
    rng = np.random.default_rng(seed)
    y = np.tile([0, 1], n // 2)
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centres = np.array([[-2.0, 0.0], [2.0, 0.0]])

    def draw():
        return centres[y] + 0.5 * rng.normal(size=(n, 2))

    return draw(), y.astype(np.int64), draw() @ turn.T, y


def context(X, y, Xt, *, net=None, weight=None, augmentation=None, seed=0):
    torch.manual_seed(seed)
    return Context(
        net or mlp(X.shape[1], 2),
        as_input_array(X),
        y,
        as_input_array(Xt),
        n_classes=2,
        weight=weight,
        group=None,
        augmentation=augmentation,
        device=CPU,
        precision="no",
        seed=seed,
    )


def run(around, method, epochs=10, snapshot=None):
    plan = Plan(epochs, 32, schedule="cosine")
    return adapt_net(around, method, plan=plan, learning_rate=3e-3, seed=0, snapshot=snapshot)


def source_only(step):
    out = step.outputs()
    return step.cross_entropy(out.source_scores)


def with_confusion(step):
    out = step.outputs()
    return step.cross_entropy(out.source_scores) + losses.class_confusion(out.target_scores)


def test_the_loss_is_of_paired_batches_and_sees_no_target_label():
    X, y, Xt, _ = turned()
    around = context(X, y, Xt[:100])
    seen = []

    def loss(step):
        seen.append(step)
        return source_only(step)

    history = run(around, Method(loss), epochs=2)
    rows = torch.cat([step.source_rows for step in seen[:10]])
    assert len(seen) == 20  # 300 rows in batches of 32, twice
    assert len(set(rows.tolist())) >= 300
    first = seen[0]
    assert torch.equal(first.source, around.source.pixels[first.source_rows])
    assert torch.equal(first.labels, torch.from_numpy(y)[first.source_rows])
    assert torch.equal(first.target, around.target.pixels[first.target_rows])
    assert [step.progress for step in seen] == pytest.approx(np.linspace(0, 1, 20))
    assert history.loss == pytest.approx(history.source_loss)


def test_source_weights_scale_the_cross_entropy():
    X, y, Xt, _ = turned(n=40)
    weight = np.random.default_rng(0).random(40)
    around = context(X, y, Xt, weight=weight)
    found = {}

    def loss(step):
        scores = step.outputs().source_scores
        value = step.cross_entropy(scores)
        log_p = F.log_softmax(scores, dim=1)
        w = torch.from_numpy(weight / weight.mean())[step.source_rows]
        by_hand = -sum(w[i] * log_p[i, c] for i, c in enumerate(step.labels)) / len(w)
        found[len(found)] = (value.item(), by_hand.item())
        return value

    run(around, Method(loss), epochs=1)
    for value, by_hand in found.values():
        assert value == pytest.approx(by_hand, rel=1e-5)
    prior = np.bincount(y, weights=weight) / weight.sum()
    assert around.source_prior.numpy() == pytest.approx(prior, rel=1e-5)


def test_a_target_loss_moves_the_boundary_towards_the_target():
    X, y, Xt, yt = turned(degrees=70)

    def accuracy(loss):
        around = context(X, y, Xt)
        run(around, Method(loss), epochs=20)
        return (around.predict(around.net).argmax(dim=1).numpy() == yt).mean()

    alone, adapted = accuracy(source_only), accuracy(with_confusion)
    assert adapted > alone + 0.03


def test_a_domain_head_gets_a_gradient_and_so_do_the_features_reversed():
    X, y, Xt, _ = turned()
    around = context(X, y, Xt)
    head = nn.Linear(around.n_features, 1)
    gradients = []

    def loss(step):
        out = step.outputs()
        source, target = out.source_features, out.target_features
        plain = losses.domain_loss(head(source).squeeze(1), head(target).squeeze(1))
        turned_ = losses.domain_loss(
            head(losses.reverse_gradient(source, 0.5)).squeeze(1),
            head(losses.reverse_gradient(target, 0.5)).squeeze(1),
        )
        a, b = (torch.autograd.grad(v, target, retain_graph=True)[0] for v in (plain, turned_))
        (c,) = torch.autograd.grad(turned_, head.weight, retain_graph=True)
        gradients.append((a, b, c))
        return step.cross_entropy(out.source_scores) + turned_

    before = head.weight.detach().clone()
    run(around, Method(loss, modules={"head": head}), epochs=1)
    for a, b, c in gradients:
        assert torch.allclose(b, -0.5 * a, atol=1e-8)
        assert c.abs().max() > 1e-4
    assert not torch.equal(before, head.weight)


def noisy(batch, generator):
    return batch + 0.1 * torch.randn(batch.shape, generator=generator)


def test_an_adaptation_that_was_stopped_ends_with_the_same_bits(tmp_path):
    X, y, Xt, _ = turned()

    class Stop(Exception):
        pass

    def adapt(path=None, stop_at=None):
        around = context(X, y, Xt, augmentation=noisy)
        teacher = MovingAverage(around.net, 0.9)
        epochs = []

        def loss(step):
            scores = teacher(step.target)
            own = step.scores(step.augment(step.target))
            pseudo, _ = losses.pseudo_label_loss(own, scores.softmax(dim=1), 0.6)
            return source_only(step) + pseudo

        def after_epoch(done):
            epochs.append(done)
            if len(epochs) == stop_at:
                raise Stop

        method = Method(
            loss,
            companions={"teacher": teacher},
            after_step=lambda: teacher.update(around.net),
            after_epoch=after_epoch,
        )
        history = run(around, method, 6, None if path is None else Snapshot(path, "same"))
        return {**around.net.state_dict(), **teacher.state_dict(prefix="t.")}, history

    whole, history = adapt()
    path = tmp_path / "run.safetensors"
    with pytest.raises(Stop):
        adapt(path, stop_at=4)
    resumed, its_history = adapt(path)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    assert history == its_history


def test_a_network_of_tables_is_saved_with_its_scaling(tmp_path):
    X, y, Xt, _ = turned(n=40)
    around = context(X, y, 3 * Xt + 7)
    net = TrainedNet(around.net, np.array(["a", "b"]), (2,), backbone="mlp", device="cpu")
    net.save(tmp_path / "net.safetensors")
    back = TrainedNet.load(tmp_path / "net.safetensors", device="cpu")
    assert np.array_equal(back.predict_proba(Xt), net.predict_proba(Xt))
    assert back.features(Xt).shape == (40, 64)
    assert repr(back) == "TrainedNet(mlp, 2 classes, columns 2)"
    with pytest.raises(ValueError, match="must have 2 columns"):
        back.predict(np.zeros((3, 4)))


def test_predictions_are_of_the_whole_sample_in_evaluation_mode():
    X, y, Xt, _ = turned(n=1200)
    around = context(X, y, Xt)
    run(around, Method(source_only), epochs=1)
    around.net.train()
    scores = around.predict(around.net)
    features = around.predict(around.net, of="source", features=True)
    assert around.net.training
    around.net.eval()
    with torch.no_grad():
        assert torch.allclose(scores, around.net(torch.tensor(Xt).float()), atol=1e-5)
        assert torch.allclose(features, around.net.embed(torch.tensor(X).float()), atol=1e-5)


def test_a_collapse_on_one_class_is_noticed():
    X, y, Xt, _ = turned()

    def all_to_the_first(step):
        out = step.outputs()
        return 20 * F.cross_entropy(
            out.target_scores, torch.zeros(len(step.target), dtype=torch.int64)
        )

    history = run(context(X, y, Xt), Method(all_to_the_first), epochs=3)
    assert history.target_share[-1] > 0.95
    assert "one class" in find_collapse(history, np.array([0.5, 0.5]), True)
    healthy = run(context(X, y, Xt), Method(source_only), epochs=3)
    assert find_collapse(healthy, np.array([0.5, 0.5]), True) is None


def test_a_rising_source_loss_is_noticed_and_a_falling_one_is_not():
    prior = np.array([0.5, 0.5])
    rising = History(source_loss=[0.3, 0.1, 0.6], target_share=[0.5])
    assert "rose from 0.10 to 0.60" in find_collapse(rising, prior, True)
    assert find_collapse(rising, prior, False) is None
    assert find_collapse(History(source_loss=[0.6, 0.2, 0.25]), prior, True) is None
    # A source that has nearly one class only may well give the target nearly one.
    assert find_collapse(History(target_share=[0.96]), np.array([0.95, 0.05]), True) is None


def test_the_average_is_the_recursion_by_hand():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = MovingAverage(net, 0.8)
    by_hand = net[0].weight.detach().clone()
    for k in range(1, 60):
        with torch.no_grad():
            net[0].weight.add_(0.1)
        net(torch.randn(4, 2))
        average.update(net)
        d = min(0.8, k / (k + 9))
        by_hand = d * by_hand + (1 - d) * net[0].weight.detach()
    assert torch.allclose(average.net[0].weight, by_hand, atol=1e-5)
    assert int(average.net[1].num_batches_tracked) == 59
    assert not average.train().training
    assert not average.net[1].training


def test_scale_gives_the_pooled_mean_zero_and_variance_one():
    rng = np.random.default_rng(0)
    a, b = (torch.tensor(rng.normal(m, s, size=(n, 3))) for m, s, n in ((5, 2, 400), (9, 1, 50)))
    scale = Scale(3)
    scale.set_from([a, b])
    z = [scale(x.float()).double() for x in (a, b)]
    mean = sum(x.mean(0) for x in z) / 2
    variance = sum((x**2).mean(0) for x in z) / 2 - mean**2
    assert mean.abs().max() < 1e-5
    assert variance.numpy() == pytest.approx(np.ones(3), rel=1e-4)
    constant = Scale(1)
    constant.set_from([torch.full((4, 1), 0.1), torch.full((4, 1), 0.1)])
    assert constant(torch.full((1, 1), 0.1)).abs().item() < 1e-6


def test_what_does_not_fit_is_said_before_training():
    images = np.zeros((4, 32, 32), dtype=np.uint8)
    y = np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"does not take inputs of shape \(32, 32, 1\)"):
        context(images, y, images, net=lenet(1, 2))
    wide = BlockNet(nn.Flatten(), nn.Linear(2, 5))
    with pytest.raises(ValueError, match=r"scores of shape \(2, 5\) for 2 rows and 2 classes"):
        context(np.zeros((4, 2)), y, np.zeros((4, 2)), net=wide)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([1.0, 2.0], r"must have shape \(n, columns\), got \(2,\)"),
        ([[1.0, np.nan]], "no NaN and no infinity"),
        ([[1e30, 1.0]], "too large for float32"),
        ([[1.0, 2.0, 3.0]], "must have 2 columns, as the network was trained with; got 3"),
    ],
)
def test_bad_rows_are_one_clear_error(rows, message):
    with pytest.raises(ValueError, match=message):
        as_row_array(rows, shape=(2,))


def test_stores_cut_rows_and_images():
    table = as_input_array(np.arange(6.0).reshape(3, 2))
    assert make_store(table, CPU).batch(torch.tensor([2, 0])).tolist() == [[4, 5], [0, 1]]
    images = as_input_array(np.random.default_rng(0).integers(0, 255, (3, 8, 8), dtype=np.uint8))
    assert make_store(images, CPU).batch(torch.tensor([1])).shape == (1, 1, 8, 8)
