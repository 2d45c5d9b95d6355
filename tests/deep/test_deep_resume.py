"""Training that is stopped and taken up again, and what is kept when it fails."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from shiftlab.deep.batches import draw_epoch, steps_an_epoch  # noqa: E402
from shiftlab.deep.schedules import SCHEDULES  # noqa: E402
from shiftlab.deep.snapshot import Snapshot  # noqa: E402
from shiftlab.deep.training import History, Hooks, Plan, TrainingError, fit_loop  # noqa: E402

CPU = torch.device("cpu")


class Stop(Exception):
    """Stands in for a kill."""


def train(path=None, *, stop_at=None, fingerprint="a", after=lambda history: None):
    """A net with dropout, batch norm and channels-last convolutions, and noise of its own."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.3), nn.Flatten(), nn.Linear(64, 2)
    ).to(memory_format=torch.channels_last)
    X = torch.randn(16, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    noise = torch.Generator().manual_seed(2)

    def loss(first, second):
        batch = X[torch.cat([first, second])]
        batch = batch + 0.1 * torch.randn(batch.shape, generator=noise)
        return net(batch).square().mean()

    def after_epoch(done, history):
        after(history)
        if stop_at is not None and len(history.loss) == stop_at + 1:
            raise Stop

    snapshot = None if path is None else Snapshot(path, fingerprint, {"noise": noise})
    history = fit_loop(
        net,
        loss,
        [10, 16],
        groups=[(net, 0.01)],
        plan=Plan(5, 4, weight_decay=0.1),
        device=CPU,
        precision="no",
        seed=3,
        hooks=Hooks(after_epoch=after_epoch),
        snapshot=snapshot,
    )
    return net.state_dict(), history


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("stop_at", [1, 3])
def test_killed_and_resumed_is_the_uninterrupted_training_to_the_bit(tmp_path, stop_at):
    whole, history = train()
    path = tmp_path / "run.safetensors"
    with pytest.raises(Stop):
        train(path, stop_at=stop_at)
    resumed, its_history = train(path)
    assert same(whole, resumed)
    assert history == its_history
    # And a training that is done stays done.
    again, _ = train(path)
    assert same(whole, again)


def test_resuming_repeats_only_the_epoch_that_was_stopped(tmp_path):
    path = tmp_path / "run.safetensors"
    with pytest.raises(Stop):
        train(path, stop_at=3)
    seen = []
    train(path, after=lambda history: seen.append(len(history.loss)))
    assert seen == [4, 5]


def test_a_snapshot_of_another_training_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    train(path)
    with pytest.raises(ValueError, match="is of another training"):
        train(path, fingerprint="b")


def test_a_loss_that_is_no_number_keeps_the_last_good_epoch(tmp_path):
    path = tmp_path / "run.safetensors"
    torch.manual_seed(0)
    net = nn.Linear(2, 1)
    calls = []

    def loss(rows):
        calls.append(1)
        value = net(torch.ones(len(rows), 2)).square().mean()
        return value * float("nan") if len(calls) > 6 else value

    with pytest.raises(TrainingError, match=r"became nan in epoch 4 of 9.*run\.safetensors"):
        fit_loop(
            net,
            loss,
            8,
            groups=[(net, 0.1)],
            plan=Plan(9, 4),
            device=CPU,
            precision="no",
            seed=0,
            snapshot=Snapshot(path, "x"),
        )
    state, progress = _read(path)
    assert len(progress["loss"]) == 3
    assert all(torch.isfinite(v).all() for v in state.values() if v.is_floating_point())


def _read(path):
    from shiftlab.deep import load_checkpoint

    state, metadata = load_checkpoint(path)
    return state, metadata["progress"]


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "python"],
)
def test_out_of_memory_is_one_clear_error(error):
    net = nn.Linear(2, 1)

    def loss(rows):
        raise error

    with pytest.raises(TrainingError, match="out of memory on cpu with batch_size=4; lower"):
        fit_loop(
            net, loss, 8, groups=[(net, 0.1)], plan=Plan(1, 4), device=CPU, precision="no", seed=0
        )


def test_other_errors_pass_through():
    net = nn.Linear(2, 1)

    def loss(rows):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug") as caught:
        fit_loop(
            net, loss, 8, groups=[(net, 0.1)], plan=Plan(1, 4), device=CPU, precision="no", seed=0
        )
    assert not isinstance(caught.value, TrainingError)


def test_accumulated_gradients_are_the_mean_over_batches():
    """Two batches of 4, accumulated, are one of 8 for a loss that is a mean."""
    X = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))

    def weights(batch_size, accumulate):
        torch.manual_seed(0)
        net = nn.Linear(3, 1)
        fit_loop(
            net,
            lambda rows: (net(X[rows]) ** 2).mean(),
            8,
            groups=[(net, 0.1)],
            plan=Plan(1, batch_size, accumulate=accumulate, schedule="constant"),
            device=CPU,
            precision="no",
            seed=0,
        )
        return net.weight.detach()

    assert torch.allclose(weights(4, 2), weights(8, 1), atol=1e-6)
    assert not torch.allclose(weights(4, 1), weights(8, 1), atol=1e-3)


def test_validated_trainings_keep_the_best_epoch_across_a_stop(tmp_path):
    def run(path, script, epochs_before_stop=None):
        torch.manual_seed(0)
        layer = nn.Linear(1, 1, bias=False)
        values = iter(script)

        def after_epoch(done, history):
            if len(history.loss) == epochs_before_stop:
                raise Stop

        history = fit_loop(
            layer,
            lambda rows: layer.weight.sum(),
            4,
            groups=[(layer, 0.1)],
            plan=Plan(6, 4, patience=3),
            device=CPU,
            precision="no",
            seed=0,
            validation_loss=lambda: next(values),
            hooks=Hooks(after_epoch=after_epoch),
            snapshot=None if path is None else Snapshot(path, "x"),
        )
        return layer.weight.detach().clone(), history

    script = [3.0, 1.0, 2.0, 2.5, 2.6, 0.5]
    whole, history = run(None, script)
    assert history.best_epoch == 1
    assert len(history.loss) == 5
    path = tmp_path / "run.safetensors"
    with pytest.raises(Stop):
        run(path, script, epochs_before_stop=4)
    resumed, its_history = run(path, script[3:])
    assert torch.equal(whole, resumed)
    assert dataclasses.asdict(its_history) == dataclasses.asdict(history)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_schedules_peak_at_one_and_warm_up(name):
    values = np.array([SCHEDULES[name](p) for p in np.linspace(0, 1, 1001)])
    assert values.max() == pytest.approx(1.0, abs=1e-3)
    assert (values >= 0).all()
    if name != "constant":
        assert values[0] == pytest.approx(0.04)
        assert values[-1] <= 0.01


def test_cosine_and_staircase_are_their_formulas():
    assert SCHEDULES["cosine"](0.05 + 0.95 / 3) == pytest.approx(0.75)
    assert [SCHEDULES["step"](p) for p in (0.49, 0.5, 0.74, 0.75)] == [1.0, 0.1, 0.1, 0.01]


@pytest.mark.parametrize(("n", "m"), [(10, 16), (3, 50), (64, 64), (7, 1)])
def test_paired_batches_are_full_and_use_every_row_as_often(n, m):
    generator = torch.Generator().manual_seed(0)
    steps = draw_epoch([n, m], 4, 1, generator)
    assert len(steps) == steps_an_epoch([n, m], 4) == -(-max(n, m) // 4)
    for side, size in enumerate((n, m)):
        batches = [step[side] for step in steps]
        assert all(len(rows) == min(4, size) for rows in batches)
        counts = np.bincount(torch.cat(batches).numpy(), minlength=size)
        assert counts.max() - counts.min() <= 1
        assert size < 4 or all(len(set(rows.tolist())) >= 3 for rows in batches[:1])


def test_history_takes_back_what_it_was_saved_as():
    history = History([1.0], [2.0], 0, [0.5], [0.9])
    assert History(**dataclasses.asdict(history)) == history
