"""Deep adapters that are killed, run out of memory, or are given what cannot be trained on."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from shiftlab import ADDA, DIRTT, SHOT, TENT, AdaBN, AdaMatch, DeepAdapt

torch = pytest.importorskip("torch")

from planted import moved_blobs  # noqa: E402

from shiftlab.deep.snapshot import Snapshot  # noqa: E402
from shiftlab.deep.training import TrainingError  # noqa: E402

GIVEN = {"epochs": 3, "batch_size": 32, "device": "cpu", "random_state": 0}


@pytest.mark.parametrize("kind", [AdaBN, TENT, SHOT, ADDA, AdaMatch, DIRTT])
@pytest.mark.parametrize("stop_at", [1, 2, 4, 5])
def test_stopped_in_either_part_it_ends_with_the_same_bits(kind, stop_at, tmp_path, monkeypatch):
    two_parts = kind not in (AdaBN, AdaMatch)
    if stop_at > 3 and not two_parts:
        pytest.skip("has one part of three epochs")
    given = {**GIVEN, "pretrain_epochs": 3} if two_parts else GIVEN
    X, y, Xt, _ = moved_blobs(0, n=90)
    whole = kind(**given).fit((X, y), Xt)
    path = tmp_path / "run.safetensors"
    saves, save = [], Snapshot.save

    def stop(self, *arguments):
        save(self, *arguments)
        saves.append(self.path)
        if len(saves) == stop_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(Snapshot, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        kind(checkpoint=path, **given).fit((X, y), Xt)
    resumed = kind(checkpoint=path, **given).fit((X, y), Xt)
    assert len(saves) == (6 if two_parts else 3)  # no epoch twice
    assert_array_equal(whole.predict_proba(Xt), resumed.predict_proba(Xt))
    assert whole.net_.history == resumed.net_.history


SCRIPT = """
import sys
import numpy as np
from shiftlab import DeepAdapt
rng = np.random.default_rng(0)
y = np.tile([0, 1], 40)
X = (np.indices((80, 12, 12))[1] < 6 + 3 * y[:, None, None]) * rng.integers(60, 200, (80, 12, 12))
X = X.astype(np.uint8)
model = DeepAdapt(epochs=4, batch_size=16, device="cpu", random_state=0, checkpoint=sys.argv[1])
np.save(sys.argv[2], model.fit((X, y), 255 - X).predict_proba(X))
"""


def test_a_process_that_is_killed_goes_on_to_the_same_numbers(tmp_path):
    """Killed without notice, wherever it stands, twice."""
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(SCRIPT), encoding="utf-8")

    def start(name):
        paths = [str(tmp_path / f"{name}{ending}") for ending in (".safetensors", ".npy")]
        return subprocess.Popen([sys.executable, str(script), *paths])

    assert start("whole").wait() == 0
    checkpoint = tmp_path / "cut.safetensors"
    for _ in range(2):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        process = start("cut")
        while process.poll() is None:
            if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.01)
        process.wait()
        assert checkpoint.exists()
    assert start("cut").wait() == 0
    whole, cut = (np.load(tmp_path / f"{name}.npy") for name in ("whole", "cut"))
    assert_array_equal(whole, cut)
    assert sorted(os.listdir(tmp_path)) == [
        *("cut.npy", "cut.safetensors", "run.py", "whole.npy", "whole.safetensors"),
    ]


class Fragile(torch.nn.Module):
    """A layer whose device is full from a given pass on, or that gives no numbers."""

    passes = 0
    limit = 10**9
    error: Exception | None = None

    def forward(self, batch):
        if self.training:
            type(self).passes += 1
        if type(self).passes > type(self).limit:
            if type(self).error is not None:
                raise type(self).error
            return batch * float("nan")
        return batch


def fragile_net():
    features = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), Fragile())
    torch.manual_seed(0)
    return features, torch.nn.Linear(8, 3)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), "out of memory on cpu with batch_size"),
        (None, "the training loss became nan in epoch 3 of 3; lower learning_rate"),
    ],
    ids=["memory", "nan"],
)
def test_a_failure_keeps_the_last_good_epoch_and_goes_on_from_it(
    error, message, tmp_path, monkeypatch
):
    X, y, Xt, _ = moved_blobs(0, n=90)
    path = tmp_path / "run.safetensors"
    net = fragile_net()
    monkeypatch.setattr(Fragile, "limit", 10**9)
    whole = DeepAdapt(net, **GIVEN).fit((X, y), Xt)
    monkeypatch.setattr(Fragile, "error", error)
    monkeypatch.setattr(Fragile, "limit", Fragile.passes + 45)  # within the third of 20 steps
    with pytest.raises(TrainingError, match=message) as caught:
        DeepAdapt(net, checkpoint=path, **GIVEN).fit((X, y), Xt)
    assert "the last epoch that ended well is in" in str(caught.value)
    assert str(path) in str(caught.value)
    monkeypatch.setattr(Fragile, "limit", 10**9)
    resumed = DeepAdapt(net, checkpoint=path, **GIVEN).fit((X, y), Xt)
    assert_array_equal(whole.predict_proba(Xt), resumed.predict_proba(Xt))


def test_a_learning_rate_that_is_too_high_is_said():
    X, y, Xt, _ = moved_blobs(0, n=90)
    with pytest.raises(TrainingError, match=r"lower learning_rate \(now 1e\+30\)"):
        DeepAdapt(**{**GIVEN, "learning_rate": 1e30}).fit((X, y), Xt)


def test_images_of_another_size_are_named():
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 20)
    X, small = (rng.integers(0, 256, (40, s, s), dtype=np.uint8) for s in (12, 8))
    with pytest.raises(ValueError, match=r"12.*8|8.*12"):
        DeepAdapt(**GIVEN).fit((X, y), small)
    model = DeepAdapt(**GIVEN).fit((X, y), X)
    with pytest.raises(ValueError, match=r"12.*8|8.*12"):
        model.predict(small)
    with pytest.raises(ValueError, match=r"does not take inputs of shape \(12, 12, 1\)"):
        DeepAdapt("lenet", **GIVEN).fit((X, y), X)


@pytest.mark.parametrize(("kind", "name"), [(SHOT, "pretrain_epochs"), (AdaBN, "epochs")])
def test_a_network_that_nothing_trains_is_refused(kind, name):
    X, y, Xt, _ = moved_blobs(0, n=90)
    with pytest.raises(
        ValueError, match=f"{name}=0 needs a backbone that is trained already.*'mlp'"
    ):
        kind("mlp", **{**GIVEN, name: 0}).fit((X, y), Xt)


def test_a_label_outside_of_the_head_is_one_clear_error():
    X, y, Xt, _ = moved_blobs(0, n=90)
    two = (torch.nn.Linear(4, 8), torch.nn.Linear(8, 2))
    with pytest.raises(ValueError, match=r"scores of shape \(2, 2\) for 2 rows and 3 classes"):
        DeepAdapt(two, **GIVEN).fit((X, y), Xt)
    trained = AdaBN(**GIVEN).fit((X, y), Xt).net_
    with pytest.raises(ValueError, match=r"trained on the classes \[0, 1, 2\] and the source has"):
        SHOT(trained, pretrain_epochs=0, **GIVEN).fit((X, np.where(y == 2, 7, y)), Xt)
