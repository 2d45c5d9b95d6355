"""Pretext tasks: what they ask, that a network learns to answer, and that features come of it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.autograd import gradcheck  # noqa: E402

from shiftlab.deep import fine_tune, pretrain, training  # noqa: E402
from shiftlab.deep.losses.slowness import slowness  # noqa: E402
from shiftlab.deep.pretext import turned_copies  # noqa: E402
from shiftlab.deep.sequences import wandering_views  # noqa: E402


def arrows(n, seed):
    """A bright bar in the upper half, at a random column: which side is up can be seen."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 40, (n, 16, 16), dtype=np.uint8)
    for image, column in zip(X, rng.integers(2, 10, n), strict=True):
        image[2:7, column : column + 4] += 180
    return X


def test_slowness_is_its_formula():
    rng = np.random.default_rng(0)
    z = [torch.tensor(rng.normal(size=(4, 3)), requires_grad=True) for _ in range(3)]
    a, b, c = (x.detach().numpy() / np.linalg.norm(x.detach().numpy(), axis=1)[:, None] for x in z)
    total = 0.0
    for i in range(4):
        total += ((a[i] - b[i]) ** 2).sum() / 4
        total += max(0.0, 1.5 - np.linalg.norm(a[i] - c[i])) ** 2 / 4
    assert slowness(*z, margin=1.5).item() == pytest.approx(total, rel=1e-6)
    assert gradcheck(lambda *x: slowness(*x, margin=1.5), tuple(z))


def test_turned_copies_are_right_angles():
    X = np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1)
    turned, names = turned_copies(X)
    assert turned[0, ..., 0].tolist() == [[0, 1], [2, 3]]
    assert turned[2, ..., 0].tolist() == [[1, 3], [0, 2]]  # counter-clockwise
    assert names.tolist()[::2] == ["turned 0", "turned 90", "turned 180", "turned 270"]


def test_views_wander_as_the_moves_say():
    X = np.zeros((40, 21, 21), dtype=np.uint8)
    X[:, 10, 10] = 255
    frames, moves = wandering_views(X, length=3, step=2 / 21, turn=0.0, random_state=0)
    assert np.array_equal(frames[:, 0, ..., 0], X)
    for film, move in zip(frames, moves, strict=True):
        for t in (1, 2):
            row, column = np.unravel_index(film[t, ..., 0].argmax(), (21, 21))
            steps = (move[:t] - 1).sum(axis=0)  # a step is a pixel
            assert (column - 10, row - 10) == (steps[0], steps[1])
    assert set(np.unique(moves)) == {0, 1, 2}


def test_a_turn_is_seen_where_the_moves_say():
    X = np.zeros((30, 21, 21), dtype=np.uint8)
    X[:, 10, 11:19] = 255  # a hand that points to the right
    frames, moves = wandering_views(X, length=2, step=0.0, turn=90.0, random_state=1)
    for film, move in zip(frames, moves, strict=True):
        now = film[1, ..., 0]
        tip = {0: now[16, 10], 1: now[10, 16], 2: now[4, 10]}  # positive: counter-clockwise
        assert tip[int(move[0, 2])] > 200


@pytest.mark.parametrize("task", ["rotation", "exemplar", "slowness", "ego_motion"])
def test_each_pretext_is_learnt(task):
    X, epochs = arrows(60, 0), 8
    if task == "exemplar":  # images that can be told apart, one step an epoch
        coarse = np.random.default_rng(0).integers(0, 255, (12, 4, 4), dtype=np.uint8)
        X, epochs = np.kron(coarse, np.ones((4, 4), dtype=np.uint8)), 40
    net = pretrain(X, task, epochs=epochs, batch_size=32, device="cpu", random_state=0)
    assert net.history.loss[-1] < 0.9 * net.history.loss[0]
    if task == "rotation":
        turned, names = turned_copies(arrows(40, 1)[..., None])
        assert np.mean(net.predict(turned) == names) > 0.9
    tuned = fine_tune(net, X, np.arange(len(X)) % 2, probe=True, epochs=0, device="cpu")
    assert tuned.classes.tolist() == [0, 1]


@pytest.mark.parametrize("task", ["rotation", "ego_motion"])
def test_a_pretraining_that_was_stopped_ends_with_equal_bits(task, tmp_path, monkeypatch):
    X = arrows(20, 0)
    given = {"epochs": 3, "device": "cpu", "random_state": 0}
    whole = pretrain(X, task, **given)
    save = training.Snapshot.save

    def stop(self, *args):
        save(self, *args)
        raise KeyboardInterrupt

    monkeypatch.setattr(training.Snapshot, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        pretrain(X, task, checkpoint=tmp_path / "run", **given)
    monkeypatch.setattr(training.Snapshot, "save", save)
    again = pretrain(X, task, checkpoint=tmp_path / "run", **given)
    assert np.array_equal(whole.features(X), again.features(X))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pretrain(arrows(4, 0), "jigsaw"), "task must be one of"),
        (lambda: pretrain(arrows(1, 0), "rotation"), "at least 2 images, got 1"),
        (lambda: pretrain(arrows(4, 0)[:, :8], "rotation"), "square images; got 8 x 16"),
        (lambda: wandering_views(arrows(4, 0), length=1), "length must be at least 2"),
    ],
)
def test_bad_input_is_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
