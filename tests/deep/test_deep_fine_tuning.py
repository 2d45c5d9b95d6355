"""Parts of fine-tuning: the probe, objectives, stages, batch-norm modes, resuming."""

import copy

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from shiftlab.deep import BlockNet, fine_tune, search_freeze, train_classifier  # noqa: E402
from shiftlab.deep import training as training_module  # noqa: E402
from shiftlab.deep.images import ImageStore  # noqa: E402
from shiftlab.deep.objectives import (  # noqa: E402
    channel_attention,
    co_tuning_objective,
    delta_objective,
    l2_sp_objective,
    spectral_objective,
)
from shiftlab.deep.probe import fit_head  # noqa: E402
from shiftlab.deep.stages import open_blocks, set_statistics  # noqa: E402


def corners(n, seed, names=(0, 1, 2), invert=False):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (n, 12, 12), dtype=np.uint8)
    codes = np.arange(n) % len(names)
    for image, code in zip(images, codes, strict=True):
        row, column = [(1, 1), (1, 7), (7, 1), (7, 7)][code]
        image[row : row + 4, column : column + 4] += 150
    return (255 - images if invert else images), np.array(names)[codes]


def small_net(n_classes=3):
    torch.manual_seed(0)
    features = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU()),
        nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Linear(54, 8), nn.BatchNorm1d(8), nn.ReLU()),
    )
    return features, nn.Linear(8, n_classes)


@pytest.fixture(scope="module")
def trained():
    X, y = corners(90, 0)
    return train_classifier(
        X,
        y,
        backbone=small_net(),
        epochs=8,
        batch_size=16,
        augmentation=None,
        device="cpu",
        random_state=0,
    )


QUICK = {"epochs": 3, "device": "cpu", "random_state": 0}


def state(net):
    return {k: v.clone() for k, v in net.net.state_dict().items()}


def equal(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


# -- the probe ---------------------------------------------------------------------------------


def test_a_fitted_head_is_a_stationary_point_of_its_objective():
    rng = np.random.default_rng(0)
    f, y = rng.normal(size=(30, 5)) + 3.0, rng.integers(0, 4, 30)
    start, bias = rng.normal(size=(4, 5)), rng.normal(size=4)
    W, b = fit_head(f, y, start, bias, strength=0.7)
    s = ((f - f.mean(axis=0)) ** 2).sum() / 30
    residual = (softmax(f @ W.T + b, axis=1) - np.eye(4)[y]) / 30
    assert np.abs(residual.T @ f + 0.7 * s / 30 * (W - start)).max() < 1e-4
    assert np.abs(residual.sum(axis=0)).max() < 1e-5


def test_a_fitted_head_from_zero_is_logistic_regression():
    rng = np.random.default_rng(1)
    f, y = rng.normal(size=(40, 3)), rng.integers(0, 3, 40)
    W, b = fit_head(f, y, np.zeros((3, 3)), np.zeros(3), strength=2.0)
    s = ((f - f.mean(axis=0)) ** 2).sum() / 40
    other = LogisticRegression(C=1 / (2.0 * s), tol=1e-9, max_iter=5000).fit(f, y)
    assert np.allclose(softmax(f @ W.T + b, axis=1), other.predict_proba(f), atol=1e-4)


def test_a_fitted_head_does_not_depend_on_the_scale_of_features_from_zero():
    rng = np.random.default_rng(2)
    f, y = rng.normal(size=(20, 3)), rng.integers(0, 2, 20)
    a = fit_head(f, y, np.zeros((2, 3)), np.zeros(2))
    b = fit_head(50 * f + 7, y, np.zeros((2, 3)), np.zeros(2))
    assert np.allclose(f @ a[0].T + a[1], (50 * f + 7) @ b[0].T + b[1], atol=1e-3)


def test_a_very_strong_penalty_keeps_the_source_s_head(trained):
    rng = np.random.default_rng(0)
    f, y = rng.normal(size=(20, 3)), rng.integers(0, 2, 20)
    start = rng.normal(size=(2, 3))
    W, _ = fit_head(f, y, start, np.zeros(2), strength=1e9)
    assert np.allclose(W, start, atol=1e-6)


def test_the_probe_alone_changes_nothing_but_the_head(trained):
    X, y = corners(30, 1, names=("a", "b", "c"), invert=True)
    tuned = fine_tune(trained, X, y, probe=True, epochs=0, device="cpu", random_state=0)
    assert equal(trained.net.features.state_dict(), tuned.net.features.state_dict())
    before = float(np.mean(trained.classes[trained.decision_function(X).argmax(axis=1)] >= 0))
    assert before == 1.0
    assert np.mean(tuned.predict(X) == y) > 0.9
    with pytest.raises(ValueError, match="epochs=0 trains nothing"):
        fine_tune(trained, X, y, epochs=0, device="cpu")


# -- regularisers ------------------------------------------------------------------------------


def batch_of(n=8, seed=3):
    X, y = corners(n, seed)
    store = ImageStore(X[..., None], torch.device("cpu"))
    return store.batch(torch.arange(n)), torch.from_numpy(y.astype(np.int64))


def test_l2_sp_objective_is_its_formula(trained):
    net = copy.deepcopy(trained.net)
    net.freeze_bottom(1)
    objective = l2_sp_objective(net, 0.3)
    before = [p.detach().clone() for p in net.parameters()]
    with torch.no_grad():
        for p in net.parameters():
            p += 0.01
    batch, codes = batch_of()
    net.eval()
    n_open = sum(p.numel() for b in net.blocks[1:] for p in b.parameters())
    expected = F.cross_entropy(net(batch), codes).item() + 0.15 * n_open * 0.01**2
    expected += 0.005 * sum(p.square().sum().item() for p in net.head.parameters())
    assert objective(batch, codes).item() == pytest.approx(expected, rel=1e-5)
    assert len(before) > 0


def test_channel_attention_is_a_softmax_of_what_each_channel_is_worth(trained):
    net, (batch, codes) = copy.deepcopy(trained.net).eval(), batch_of()
    found = channel_attention(net, batch, codes, ["1"])["1"]
    low = net.blocks[1](net.blocks[0](batch))
    losses = []
    for channel in range(6):
        mask = torch.ones(6)
        mask[channel] = 0.0
        scores = net.head(net.blocks[2](low * mask[:, None, None]))
        losses.append(F.cross_entropy(scores, codes).item())
    assert np.allclose(found.numpy(), softmax(losses), atol=1e-6)


def test_delta_objective_is_its_formula(trained):
    start, net = copy.deepcopy(trained.net), copy.deepcopy(trained.net)
    with torch.no_grad():
        for p in net.features.parameters():
            p += 0.05
    batch, codes = batch_of()
    net.eval()
    attention = {"0": torch.tensor([0.4, 0.3, 0.2, 0.1]), "2": torch.full((8,), 1 / 8)}
    got = delta_objective(net, attention, 0.5, start)(batch, codes).item()
    expected = F.cross_entropy(net(batch), codes).item()
    with torch.no_grad():
        a, b = net.blocks[0](batch), start.eval().blocks[0](batch)
        per_channel = ((a - b) ** 2).mean(dim=(0, 2, 3))
        expected += 0.5 * 0.5 * 4 * float(per_channel @ attention["0"])
        a, b = net.embed(batch), start.embed(batch)
        expected += 0.5 * 0.5 * float(((a - b) ** 2).mean(dim=0).sum())
        expected += 0.005 * sum(p.square().sum().item() for p in net.head.parameters())
    assert got == pytest.approx(expected, rel=1e-5)


def test_spectral_and_co_tuning_objectives_are_their_formulas(trained):
    net, (batch, codes) = copy.deepcopy(trained.net).eval(), batch_of()
    plain = F.cross_entropy(net(batch), codes).item()
    with torch.no_grad():
        smallest = np.linalg.svd(net.embed(batch).numpy(), compute_uv=False)[-1]
    got = spectral_objective(net, 0.1)(batch, codes).item()
    assert got == pytest.approx(plain + 0.1 * smallest**2, rel=1e-4)
    torch.manual_seed(0)
    head, relation = nn.Linear(8, 5), torch.softmax(torch.randn(3, 5), dim=1)
    with torch.no_grad():
        log_p = log_softmax(head(net.embed(batch)).numpy(), axis=1)
    second = -np.mean(np.sum(relation.numpy()[codes.numpy()] * log_p, axis=1))
    got = co_tuning_objective(net, head, relation, 2.0)(batch, codes).item()
    assert got == pytest.approx(plain + 2.0 * second, rel=1e-5)


def test_a_strong_l2_sp_stays_nearer_to_the_source_than_none(trained):
    X, y = corners(30, 1, names=("a", "b", "c"), invert=True)

    def moved(**given):
        tuned = fine_tune(trained, X, y, **{**QUICK, "epochs": 6}, weight_decay=0.0, **given)
        return sum(
            (a - b).square().sum().item()
            for a, b in zip(
                tuned.net.features.parameters(), trained.net.features.parameters(), strict=True
            )
        )

    assert moved(penalty="l2_sp", strength=10.0) < 0.5 * moved()


@pytest.mark.parametrize("penalty", ["l2_sp", "delta", "bss", "co_tuning"])
@pytest.mark.parametrize("freeze", [0, 2, 3])
def test_frozen_blocks_are_bit_identical_under_every_penalty(trained, penalty, freeze):
    X, y = corners(24, 1, names=("a", "b", "c"), invert=True)
    tuned = fine_tune(trained, X, y, freeze=freeze, penalty=penalty, probe=True, **QUICK)
    for position, (old, new) in enumerate(zip(trained.net.blocks, tuned.net.blocks, strict=True)):
        same = [
            torch.equal(a, b)
            for a, b in zip(old.state_dict().values(), new.state_dict().values(), strict=True)
        ]
        assert all(same) if position < freeze else not all(same)


# -- stages and batch norm -----------------------------------------------------------------------


def test_gradual_unfreezing_opens_blocks_from_the_top(trained, monkeypatch):
    assert [open_blocks(d, 2) for d in (0.0, 0.1, 0.17, 0.34, 0.5, 1.0)] == [0, 0, 1, 2, 2, 2]
    X, y = corners(32, 1, names=("a", "b", "c"), invert=True)
    seen = []
    original = BlockNet.freeze_bottom

    def spy(self, n):
        seen.append(n)
        original(self, n)

    monkeypatch.setattr(BlockNet, "freeze_bottom", spy)
    tuned = fine_tune(trained, X, y, freeze=1, gradual=True, **{**QUICK, "epochs": 6})
    assert seen == [1, 3, 2, 1, 0]  # as asked, the head alone, one block more, all, set free
    low, mid = ((n.net.blocks[0][0].weight, n.net.blocks[1][0].weight) for n in (trained, tuned))
    assert torch.equal(low[0], mid[0])
    assert not torch.equal(low[1], mid[1])


def test_statistics_of_the_source_stay_though_the_weights_move(trained):
    X, y = corners(30, 1, invert=True)
    tuned = fine_tune(trained, X, y, freeze=1, batch_norm="source", **QUICK)
    moved = fine_tune(trained, X, y, freeze=1, **QUICK)
    for position in (1, 2):
        old = next(m for m in trained.net.blocks[position] if hasattr(m, "running_mean"))
        new = next(m for m in tuned.net.blocks[position] if hasattr(m, "running_mean"))
        other = next(m for m in moved.net.blocks[position] if hasattr(m, "running_mean"))
        assert torch.equal(old.running_mean, new.running_mean)
        assert torch.equal(old.running_var, new.running_var)
        assert not torch.equal(old.weight, new.weight)
        assert not torch.equal(old.running_mean, other.running_mean)


def test_statistics_of_the_target_are_its_means_and_variances(trained):
    X, _ = corners(60, 5, invert=True)
    store = ImageStore(X[..., None], torch.device("cpu"))
    net = copy.deepcopy(trained.net)
    set_statistics(net, store, freeze=1)
    with torch.no_grad():
        below = net.blocks[0].eval()(store.batch(torch.arange(60)))
        maps = net.blocks[1][0](below)
    norm = net.blocks[1][1]
    assert torch.allclose(norm.running_mean, maps.mean(dim=(0, 2, 3)), atol=1e-5)
    assert torch.allclose(norm.running_var, maps.var(dim=(0, 2, 3)), rtol=1e-4)
    assert equal(trained.net.blocks[0].state_dict(), net.blocks[0].state_dict())
    assert norm.momentum == 0.1
    labelled, y = corners(12, 6, invert=True)
    tuned = fine_tune(trained, labelled, y, freeze=1, batch_norm="target", unlabelled=X, **QUICK)
    assert torch.equal(tuned.net.blocks[1][1].running_mean, norm.running_mean)


# -- stopping and going on -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"penalty": "co_tuning", "validation_fraction": 0.2, "gradual": True},
        {"penalty": "delta", "probe": True, "batch_norm": "target", "freeze": 1},
    ],
)
def test_a_fine_tuning_that_was_stopped_ends_with_equal_bits(trained, tmp_path, monkeypatch, given):
    X, y = corners(30, 1, names=("a", "b", "c"), invert=True)
    given = {**QUICK, "epochs": 5, **given}
    whole = fine_tune(trained, X, y, **given)
    path = tmp_path / "run.safetensors"
    kept = training_module.Snapshot.save
    count = []

    def stop(self, *args):
        kept(self, *args)
        count.append(1)
        if len(count) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(training_module.Snapshot, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(trained, X, y, checkpoint=path, **given)
    monkeypatch.setattr(training_module.Snapshot, "save", kept)
    again = fine_tune(trained, X, y, checkpoint=path, **given)
    assert equal(whole.net.state_dict(), again.net.state_dict())
    assert whole.history == again.history
    with pytest.raises(ValueError, match="of another training"):
        fine_tune(trained, X, y, checkpoint=path, **{**given, "learning_rate": 1e-4})


def test_a_training_of_a_classifier_that_was_stopped_ends_with_equal_bits(tmp_path, monkeypatch):
    X, y = corners(30, 1)
    given = {"backbone": small_net(), "epochs": 4, "device": "cpu", "random_state": 0}
    whole = train_classifier(X, y, **given)
    path = tmp_path / "source.safetensors"
    kept = training_module.Snapshot.save

    def stop(self, *args):
        kept(self, *args)
        raise KeyboardInterrupt

    monkeypatch.setattr(training_module.Snapshot, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        train_classifier(X, y, checkpoint=path, **given)
    monkeypatch.setattr(training_module.Snapshot, "save", kept)
    again = train_classifier(X, y, checkpoint=path, **given)
    assert equal(whole.net.state_dict(), again.net.state_dict())


# -- how much to freeze --------------------------------------------------------------------------


def test_the_search_scores_every_number_of_blocks_on_rows_it_has_not_trained_on(trained):
    X, y = corners(18, 1, names=("a", "b", "c"), invert=True)
    found = search_freeze(
        trained, X, y, probe=True, epochs=2, device="cpu", random_state=0, classes=["a", "b", "c"]
    )
    assert sorted(found) == [0, 1, 2, 3]
    assert all(value > 0 for value in found.values())
    again = search_freeze(
        trained, X, y, probe=True, epochs=2, device="cpu", random_state=0, classes=["a", "b", "c"]
    )
    assert found == again
    # Labels that say nothing: whatever is frozen, held-out rows cost at least about log 3.
    noise = np.random.default_rng(0).permutation(y)
    worthless = search_freeze(trained, X, noise, epochs=2, device="cpu", random_state=0)
    assert min(worthless.values()) > 0.9
