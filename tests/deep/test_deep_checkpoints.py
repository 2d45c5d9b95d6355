"""Checkpoints, trained nets, devices: what is written comes back, and nothing is executed."""

import copy
import os
import pickle
import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from shiftlab.deep import (  # noqa: E402
    BlockNet,
    TrainedNet,
    build_backbone,
    digit_cnn,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    train_classifier,
)
from shiftlab.deep.devices import (  # noqa: E402
    accelerator_on,
    resolve_device,
    resolve_precision,
    seeded,
)

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (20, 12, 12), dtype=np.uint8)


def a_net(classes=("no", "perhaps", "yes"), channels=1):
    with seeded(0, CPU):
        net = build_backbone("digit_cnn", channels, len(classes))
    return TrainedNet(
        net, np.array(classes), (12, 12, channels), backbone="digit_cnn", device="cpu"
    )


def own_net():
    return BlockNet(nn.Sequential(nn.Flatten(), nn.Linear(144, 5), nn.Tanh()), nn.Linear(5, 2))


@pytest.mark.parametrize(
    "classes",
    [("no", "perhaps", "yes"), (3, 5, 7), (-1, 1), (False, True), (0.5, 1.5)],
    ids=["str", "int", "signed", "bool", "float"],
)
def test_saved_net_comes_back_to_the_bit(tmp_path, classes):
    net = a_net(classes)
    net.save(tmp_path / "net.safetensors")
    back = TrainedNet.load(tmp_path / "net.safetensors", device="cpu")
    assert np.array_equal(back.decision_function(IMAGES), net.decision_function(IMAGES))
    assert np.array_equal(back.classes, net.classes)
    assert back.classes.dtype == net.classes.dtype
    assert (back.image_shape, back.backbone) == (net.image_shape, "digit_cnn")


def test_own_network_comes_back_into_a_copy_of_the_given_one(tmp_path):
    trained = TrainedNet(own_net(), np.array([0, 1]), (12, 12, 1), device="cpu")
    trained.save(tmp_path / "net.safetensors")
    empty = own_net()
    before = copy.deepcopy(empty.state_dict())
    back = TrainedNet.load(tmp_path / "net.safetensors", backbone=empty, device="cpu")
    assert np.array_equal(back.features(IMAGES), trained.features(IMAGES))
    assert all(torch.equal(before[k], v) for k, v in empty.state_dict().items())
    with pytest.raises(ValueError, match="give it as backbone="):
        TrainedNet.load(tmp_path / "net.safetensors")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    a_net().save(path)
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        a_net((1, 2)).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


def test_saving_into_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        a_net().save(tmp_path / "none" / "net.safetensors")


def test_tied_and_strided_weights_can_be_saved(tmp_path):
    weight = torch.arange(6.0).reshape(2, 3)
    save_checkpoint(tmp_path / "a.safetensors", {"a": weight, "b": weight, "t": weight.T}, {})
    state, _ = load_checkpoint(tmp_path / "a.safetensors")
    assert torch.equal(state["a"], state["b"])
    assert torch.equal(state["t"], weight.T)


@pytest.mark.parametrize("wrapped", [False, True])
def test_plain_state_dict_with_data_parallel_names(tmp_path, wrapped):
    net = own_net()
    state = {f"module.{k}": v for k, v in net.state_dict().items()}
    torch.save({"state_dict": state} if wrapped else state, tmp_path / "net.pt")
    read, metadata = load_checkpoint(tmp_path / "net.pt")
    assert metadata == {}
    other = own_net()
    load_weights(other, read)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_only_a_prefix_of_all_names_is_removed(tmp_path):
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "net.pt")
    assert set(load_checkpoint(tmp_path / "net.pt")[0]) == {"module.a", "b"}


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path):
    marker = tmp_path / "executed"

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    torch.save({"weight": Bomb()}, tmp_path / "zip.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Bomb(), protocol=2))
    for name in ("zip.pt", "raw.pt"):
        with pytest.raises(ValueError, match="nothing in it was executed"):
            load_checkpoint(tmp_path / name)
    assert not marker.exists()


def test_damaged_and_missing_files_are_one_clear_error(tmp_path):
    path = tmp_path / "net.safetensors"
    a_net().save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="damaged"):
        TrainedNet.load(path)
    (tmp_path / "empty.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="damaged"):
        load_checkpoint(tmp_path / "empty.pt")
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        load_checkpoint(tmp_path / "none.pt")


def test_a_checkpoint_that_is_no_state_dict_is_refused(tmp_path):
    torch.save([1, 2, 3], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="must hold a state_dict"):
        load_checkpoint(tmp_path / "list.pt")


def test_weights_without_metadata_say_what_to_do(tmp_path):
    torch.save(digit_cnn(1, 2).state_dict(), tmp_path / "plain.pt")
    with pytest.raises(ValueError, match=r"was not written by TrainedNet\.save"):
        TrainedNet.load(tmp_path / "plain.pt")


def test_a_later_format_is_refused(tmp_path):
    save_checkpoint(tmp_path / "a.safetensors", {"a": torch.ones(1)}, {"version": 99})
    with pytest.raises(ValueError, match="format 99"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_a_mismatch_lists_names_and_shapes_and_changes_nothing():
    net = own_net()
    before = copy.deepcopy(net.state_dict())
    state = dict(own_net().state_dict())
    state["extra.weight"] = torch.zeros(2)
    del state["features.1.bias"]
    state["head.weight"] = torch.zeros(7, 5)
    with pytest.raises(ValueError, match="does not fit the network") as caught:
        load_weights(net, state)
    message = str(caught.value)
    assert "missing ['features.1.bias']" in message
    assert "unexpected ['extra.weight']" in message
    assert "head.weight has shape (7, 5), the network needs (2, 5)" in message
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_trained_net_can_be_pickled_and_copied():
    net = a_net()
    for other in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert other.net is not net.net
        assert np.array_equal(other.predict_proba(IMAGES), net.predict_proba(IMAGES))
        assert other.device == CPU


def test_a_pickle_from_a_machine_with_a_gpu_opens_without_one():
    net = a_net()
    state = net.__getstate__()
    state["device"] = "cuda:7"
    other = TrainedNet.__new__(TrainedNet)
    other.__setstate__(state)
    assert other.device == resolve_device("auto")
    assert np.allclose(other.predict_proba(IMAGES), net.predict_proba(IMAGES), atol=1e-5)


def test_predictions_are_consistent():
    net = a_net()
    scores, proba = net.decision_function(IMAGES), net.predict_proba(IMAGES)
    assert np.allclose(proba.sum(axis=1), 1.0)
    assert np.allclose(np.log(proba) - np.log(proba[:, :1]), scores - scores[:, :1], atol=1e-4)
    assert np.array_equal(net.predict(IMAGES), net.classes[proba.argmax(axis=1)])
    head = net.net.head
    by_hand = net.features(IMAGES) @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    assert np.allclose(by_hand, scores, atol=1e-5)


def test_prediction_does_not_depend_on_the_rows_beside_it():
    net = a_net()
    one_by_one = np.concatenate([net.decision_function(IMAGES[i : i + 1]) for i in range(20)])
    assert np.allclose(one_by_one, net.decision_function(IMAGES), atol=1e-5)


def test_no_rows_give_no_predictions():
    net = a_net()
    assert net.predict(IMAGES[:0]).shape == (0,)
    assert net.predict_proba(IMAGES[:0]).shape == (0, 3)
    assert net.features(IMAGES[:0]).shape == (0, 128)


def test_the_net_refuses_images_of_another_shape():
    with pytest.raises(ValueError, match=r"\(12, 12, 1\); got \(14, 12, 1\)"):
        a_net().predict(np.zeros((2, 14, 12), dtype=np.uint8))


@pytest.mark.skipif(torch.cuda.is_available(), reason="the machine has a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_an_absent_gpu_is_one_clear_error(device):
    with pytest.raises(ValueError, match="torch sees 0 CUDA device"):
        train_classifier(IMAGES, np.arange(20) % 2, device=device)


def test_precision_by_name():
    assert resolve_precision("bf16", CPU) == "bf16"
    assert resolve_precision("float32", CPU) == "no"
    assert resolve_precision("auto", CPU) in {"no", "bf16"}


def test_fits_of_different_precision_live_in_one_process():
    y = np.arange(20) % 2
    nets = [
        train_classifier(IMAGES, y, epochs=1, device="cpu", precision=p, random_state=0)
        for p in ("float32", "bf16", "float32")
    ]
    first, other, again = (net.decision_function(IMAGES) for net in nets)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    # Weights are float32 whatever the arithmetic was.
    assert {p.dtype for p in nets[1].net.parameters()} == {torch.float32}


def test_a_caller_s_own_accelerator_is_left_alone():
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState, PartialState

    singletons = (AcceleratorState, GradientState, PartialState)
    kept = [dict(s._shared_state) for s in singletons]
    try:
        mine = Accelerator(cpu=True, mixed_precision="no")
        with accelerator_on(CPU, "bf16") as inner:
            assert inner.mixed_precision == "bf16"
        assert mine.mixed_precision == "no"
        assert mine.device == CPU
        assert Accelerator(cpu=True, mixed_precision="no").mixed_precision == "no"
    finally:
        for state, values in zip(singletons, kept, strict=True):
            state._shared_state.clear()
            state._shared_state.update(values)


def test_accelerator_state_is_restored_after_an_error():
    from accelerate.state import AcceleratorState

    before = dict(AcceleratorState._shared_state)
    with pytest.raises(KeyError), accelerator_on(CPU, "bf16"):
        raise KeyError("inside")
    assert dict(AcceleratorState._shared_state) == before
    assert "ACCELERATE_TORCH_DEVICE" not in os.environ


def test_fits_in_two_threads_have_the_bits_of_fits_in_turn():
    y = np.arange(20) % 2
    found = {}

    def fit(seed):
        net = train_classifier(IMAGES, y, epochs=1, device="cpu", random_state=seed)
        found[seed] = net.decision_function(IMAGES)

    threads = [threading.Thread(target=fit, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in (0, 1):
        alone = train_classifier(IMAGES, y, epochs=1, device="cpu", random_state=seed)
        assert np.array_equal(found[seed], alone.decision_function(IMAGES))


def test_digit_cnn_has_the_size_it_says():
    count = sum(p.numel() for p in digit_cnn(1, 10).parameters())
    assert 260_000 < count < 300_000
    assert tuple(digit_cnn(3, 4).eval()(torch.zeros(1, 3, 8, 8)).shape) == (1, 4)
