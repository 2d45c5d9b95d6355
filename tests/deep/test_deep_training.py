"""The training loop: planted problems, random state, stopping, errors."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from shiftlab.deep import Augmentation, BlockNet, TrainedNet, TrainingError  # noqa: E402
from shiftlab.deep import train_classifier as train  # noqa: E402
from shiftlab.deep.backbones import rates_by_block  # noqa: E402
from shiftlab.deep.batches import batch_sizes  # noqa: E402
from shiftlab.deep.classifier import encode_labels, stratified_split  # noqa: E402
from shiftlab.deep.schedules import one_cycle  # noqa: E402
from shiftlab.deep.training import Plan, _parameter_groups, fit_loop  # noqa: E402

CPU = torch.device("cpu")


def squares(n=48, size=12, seed=0, names=("left", "right")):
    """Dark noise with one bright square, on the left or on the right."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (n, size, size), dtype=np.uint8)
    side = rng.integers(0, 2, n)
    side[:2] = [0, 1]
    for image, s in zip(images, side, strict=True):
        column = 1 if s == 0 else size - 5
        image[4:8, column : column + 4] += 150
    return images, np.array(names)[side]


def small_net(n_classes=2):
    torch.manual_seed(0)
    features = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.LazyLinear(8)
    )
    features(torch.zeros(2, 1, 12, 12))
    return BlockNet(features, nn.Linear(8, n_classes))


def weights(net: TrainedNet):
    return {k: v.clone() for k, v in net.net.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def fit(**changes):
    X, y = squares()
    settings = {
        "backbone": small_net(),
        "epochs": 3,
        "batch_size": 16,
        "augmentation": None,
        "device": "cpu",
        "random_state": 0,
    }
    return train(X, y, **(settings | changes))


def test_planted_problem_is_learned_and_generalises():
    X, y = squares(96)
    X_new, y_new = squares(60, seed=1)
    quiet = Augmentation(rotation=5, scale=0, shift=0, noise=0.05)
    net = train(X, y, epochs=6, augmentation=quiet, device="cpu", random_state=0)
    assert (net.predict(X_new) == y_new).mean() > 0.95
    # Polarity inversion was trained: dark squares on a bright ground are read too.
    assert (net.predict(255 - X_new) == y_new).mean() > 0.95


def test_loss_of_the_first_step_is_the_cross_entropy_of_the_batch():
    X, y = squares(16)
    net = small_net()
    batch = torch.from_numpy(X).float()[:, None]
    std, mean = torch.std_mean(batch, dim=(1, 2, 3), keepdim=True, correction=0)
    net.train()
    log_p = torch.log_softmax(net((batch - mean) / std), dim=1)
    codes = np.unique(y, return_inverse=True)[1]
    by_hand = -sum(log_p[i, c].item() for i, c in enumerate(codes)) / 16
    trained = train(
        X,
        y,
        backbone=small_net(),
        epochs=1,
        batch_size=16,
        augmentation=None,
        device="cpu",
        precision="float32",
        random_state=0,
    )
    assert trained.history.loss == pytest.approx([by_hand], rel=1e-4)


def test_same_seed_same_bits_and_another_seed_other_bits():
    first, again, other = (
        fit(augmentation=Augmentation(), random_state=seed) for seed in (3, 3, 4)
    )
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(other))
    assert first.history.loss == again.history.loss


def test_named_backbone_has_the_same_bits_whatever_the_global_state():
    X, y = squares(16)
    torch.manual_seed(1)
    a = train(X, y, epochs=1, device="cpu", random_state=0)
    torch.manual_seed(2)
    b = train(X, y, epochs=1, device="cpu", random_state=0)
    assert same(weights(a), weights(b))


def test_global_random_states_and_threads_are_left_alone():
    net = small_net()
    net.features.append(nn.Dropout(0.5))
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    threads = torch.get_num_threads()
    X, y = squares()
    train(X, y, backbone=net, epochs=2, device="cpu", random_state=0)
    train(X, y, epochs=1, device="cpu", random_state=0)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.get_num_threads() == threads


def test_dropout_is_decided_by_the_seed():
    net = small_net()
    net.features.append(nn.Dropout(0.5))
    torch.manual_seed(1)
    a = fit(backbone=net)
    torch.manual_seed(2)
    b = fit(backbone=net)
    assert same(weights(a), weights(b))


def test_the_given_network_is_not_changed():
    net = small_net()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    fit(backbone=net)
    assert same(before, net.state_dict())


def test_images_and_labels_are_not_changed_and_may_be_read_only():
    X, y = squares()
    X.flags.writeable = False
    y.flags.writeable = False
    net = train(X, y, backbone=small_net(), epochs=1, device="cpu", random_state=0)
    assert net.predict(X).shape == y.shape


@pytest.mark.parametrize("n", range(2, 40))
def test_batches_cover_all_rows_and_none_is_single(n):
    for size in (2, 3, 4, 7):
        sizes = batch_sizes(n, size)
        assert sum(sizes) == n
        assert min(sizes) >= 2
        assert max(sizes) <= size + 1


def test_last_batch_of_one_row_trains_with_batch_norm():
    X, y = squares(33)
    features = nn.Sequential(nn.Flatten(), nn.Linear(144, 4), nn.BatchNorm1d(4))
    net = train(
        X,
        y,
        backbone=(features, nn.Linear(4, 2)),
        epochs=2,
        batch_size=16,
        device="cpu",
        augmentation=None,
        random_state=0,
    )
    assert np.isfinite(net.history.loss).all()


def test_one_cycle_rises_to_one_and_falls():
    values = [one_cycle(p) for p in np.linspace(0, 1, 101)]
    assert max(values) == pytest.approx(1.0)
    assert int(np.argmax(values)) == 20
    assert np.all(np.diff(values[:21]) > 0)
    assert np.all(np.diff(values[20:]) < 0)
    # Half way down, the cosine is half way.
    assert one_cycle(0.6) == pytest.approx((1 + 1e-4) / 2)


def test_the_step_is_adamw_by_the_book():
    """One step on a quadratic: w - lr (m/sqrt(v) + decay w), with lr at the cycle's start."""
    layer = nn.Linear(2, 1, bias=False)
    start = torch.tensor([[1.0, -2.0]])
    layer.weight.data = start.clone()
    fit_loop(
        layer,
        lambda rows: (layer.weight**2).sum() / 2,
        2,
        groups=[(layer, 0.1)],
        plan=Plan(1, 2, weight_decay=0.5, clip=1e9),
        device=CPU,
        precision="no",
        seed=0,
    )
    rate = 0.1 * one_cycle(0.0)
    # The first Adam step is the gradient's sign.
    expected = start * (1 - rate * 0.5) - rate * torch.sign(start)
    assert torch.allclose(layer.weight.data, expected, atol=1e-6)


def test_no_weight_decay_on_biases_and_norms():
    net = small_net()
    groups = _parameter_groups([(net, 0.1)], 0.5)
    decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    assert decayed == {id(p) for p in net.parameters() if p.ndim > 1}
    assert sum(len(g["params"]) for g in groups) == len(list(net.parameters()))


def test_layer_wise_rates_equal_the_formula():
    net = small_net()
    rates = rates_by_block(net, 0.3, 0.7)
    n_blocks = len(net.blocks)
    assert rates == [0.3 * 0.7 ** (n_blocks - b) for b in range(n_blocks + 1)]
    groups = _parameter_groups(list(zip([*net.blocks, net.head], rates, strict=True)), 0.0)
    of = {id(p): g["lr"] for g in groups for p in g["params"]}
    assert of[id(net.features[0].weight)] == pytest.approx(0.3 * 0.7**5)
    assert of[id(net.head.bias)] == pytest.approx(0.3)


def test_early_stopping_restores_the_best_epoch():
    """A validation loss that is scripted: lowest after the second of at most six epochs."""
    layer = nn.Linear(1, 1, bias=False)
    seen = []
    script = iter([3.0, 1.0, 2.0, 2.5, 2.5, 2.5])

    def validation():
        seen.append(layer.weight.detach().clone())
        return next(script)

    history = fit_loop(
        layer,
        lambda rows: layer.weight.sum(),
        4,
        groups=[(layer, 0.1)],
        plan=Plan(6, 4, patience=2),
        device=CPU,
        precision="no",
        seed=0,
        validation_loss=validation,
    )
    assert history.best_epoch == 1
    assert len(history.loss) == 4
    assert torch.equal(layer.weight.data, seen[1])
    assert not torch.equal(seen[1], seen[-1])


def test_validation_rows_are_not_trained_on():
    """Labels of held-out rows are turned round; training alone cannot notice."""
    X, y = squares(40)
    rng = np.random.RandomState(0)
    rng.randint(2**31 - 1)
    codes = encode_labels(y, n=40)[1]
    held_out = stratified_split(codes, 0.25, rng)
    one = train(
        X, y, backbone=small_net(), epochs=1, validation_fraction=0.25, device="cpu", random_state=0
    )
    X_changed = X.copy()
    X_changed[held_out] = 255 - X_changed[held_out][:, ::-1, ::-1]
    two = train(
        X_changed,
        y,
        backbone=small_net(),
        epochs=1,
        validation_fraction=0.25,
        device="cpu",
        random_state=0,
    )
    assert same(weights(one), weights(two))
    assert one.history.validation_loss != two.history.validation_loss


@pytest.mark.parametrize(("per_class", "expected"), [(1, 0), (2, 0), (3, 1), (5, 1), (10, 2)])
def test_stratified_split_takes_the_same_of_each_class(per_class, expected):
    codes = np.repeat(np.arange(3), per_class)
    rows = stratified_split(codes, 0.2, np.random.RandomState(0))
    assert np.bincount(codes[rows], minlength=3).tolist() == [expected] * 3


def test_a_loss_that_is_no_number_is_one_error():
    class Broken(nn.Module):
        def forward(self, x):
            return x / 0.0 * 0.0

    features = nn.Sequential(nn.Flatten(), nn.Linear(144, 4), Broken())
    with pytest.raises(TrainingError, match=r"loss became nan in epoch 1 of 3.*learning_rate"):
        fit(backbone=(features, nn.Linear(4, 2)))


def test_history_has_a_finite_loss_for_each_epoch():
    history = fit(epochs=4).history
    assert len(history.loss) == 4
    assert all(math.isfinite(v) for v in history.loss)
    assert history.best_epoch is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        ({"batch_size": 1}, "batch_size must be an integer of at least 2, got 1"),
        ({"learning_rate": 0.0}, "learning_rate must be a positive number"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0"),
        ({"validation_fraction": 1.0}, r"validation_fraction must be in \[0, 1\)"),
        ({"patience": 3}, "patience needs a validation_fraction"),
        ({"precision": "fp8"}, "precision must be 'auto', 'float32' or 'bf16'"),
        ({"device": "abacus"}, "device='abacus' is no device"),
        ({"backbone": "resnet9000"}, r"backbone='resnet9000' is unknown; use one of \['digit_cnn'"),
    ],
)
def test_bad_settings_are_one_clear_error(changes, message):
    with pytest.raises(ValueError, match=message):
        fit(**changes)


def test_a_backbone_that_is_no_network_is_a_type_error():
    with pytest.raises(TypeError, match="'features' and 'head', or a pair"):
        fit(backbone=nn.Linear(3, 2))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a"] * 48, r"at least two classes; got 1 class\(es\), \['a'\]"),
        (["a", "b"], r"must have shape \(48,\), one label an image; got shape \(2,\)"),
        ([0.0, math.nan] * 24, "must have no NaN"),
    ],
)
def test_bad_labels_are_one_clear_error(labels, message):
    X, _ = squares()
    with pytest.raises(ValueError, match=message):
        train(X, labels, device="cpu")


@pytest.mark.parametrize(
    "names",
    [("a", "b"), (False, True), (-1, 1), (0.5, 2.5)],
    ids=["str", "bool", "signed", "float"],
)
def test_labels_of_any_kind_come_back_as_they_were(names):
    X, y = squares(names=names)
    net = train(
        X,
        y,
        backbone=small_net(),
        epochs=8,
        batch_size=8,
        device="cpu",
        random_state=0,
        augmentation=None,
    )
    predicted = net.predict(X)
    assert predicted.dtype == y.dtype
    assert (predicted == y).mean() > 0.9


def test_progress_bar_is_shown_on_request(capsys):
    fit(epochs=2, progress=True)
    shown = capsys.readouterr().out
    assert "2/2 epochs" in shown
    fit(epochs=2)
    assert capsys.readouterr().out == ""
