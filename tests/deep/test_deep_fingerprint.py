"""The name of a training: what changes it, what does not, and that it stays what it was."""

import hashlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from shiftlab import DANN, DeepCORAL, Domain  # noqa: E402
from shiftlab.deep.fingerprint import fingerprint  # noqa: E402

RNG = np.random.default_rng(0)
X, y = RNG.normal(size=(40, 3)), np.arange(40) % 2


def name_of(
    kind=DANN, *, seed=7, rows=X, labels=y, target=X + 1, importance=None, group=None, **given
):
    model = kind(**{"random_state": 0, "device": "cpu"} | given)
    source = Domain(rows, labels, weight=importance, group=group)
    context, *_ = model._context(source, Domain(target), torch.device("cpu"), seed)
    return model._fingerprint(context, seed)


CHANGES = {
    "kind": {"kind": DeepCORAL},
    "seed": {"seed": 8},
    "epochs": {"epochs": 21},
    "batch_size": {"batch_size": 32},
    "learning_rate": {"learning_rate": 1e-3},
    "augmentation": {"augmentation": None},
    "weight of the loss": {"weight": 0.5},
    "backbone": {"backbone": (torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))},
    "rows": {"rows": X + 1e-3},
    "rows in another order": {"rows": X[::-1]},
    "labels": {"labels": 1 - y},
    "target rows": {"target": X + 2},
    "fewer target rows": {"target": (X + 1)[:-1]},
    "weights of rows": {"importance": np.linspace(1, 2, 40)},
    "groups": {"group": np.arange(40) % 3},
}


def test_each_setting_and_all_data_change_the_name_of_a_training():
    names = {what: name_of(**change) for what, change in CHANGES.items()} | {"none": name_of()}
    assert len(set(names.values())) == len(CHANGES) + 1
    free = {"checkpoint": "else.where", "progress": True, "random_state": 5, "device": "auto"}
    assert name_of(**free) == names["none"]
    # a parameter that is added later is in one of the two lists
    counted = {key for change in CHANGES.values() for key in change}
    assert set(DANN().get_params(deep=False)) <= counted | set(free)


def test_the_name_is_a_hash_of_settings_and_bytes_that_snapshots_on_disks_were_written_with():
    model = DeepCORAL(epochs=3, random_state=0, device="cpu")
    context, *_ = model._context(Domain(X, y), Domain(X + 1), torch.device("cpu"), 7)
    given = model.get_params(deep=False)
    names = ("augmentation", "batch_size", "epochs", "learning_rate", "weight")
    what = ("DeepCORAL", 7, {name: repr(given[name]) for name in names})
    parts = [context.source.pixels, context.target.pixels, context.labels]
    parts += context.net.state_dict().values()
    expected = hashlib.sha256(repr(what).encode())
    for part in parts:
        expected.update(repr(tuple(part.shape)).encode() + part.numpy().tobytes())
    assert model._fingerprint(context, 7) == expected.hexdigest()


def test_dtypes_shapes_and_the_text_of_objects_count():
    ones = np.ones(4, dtype=np.int32)
    assert fingerprint({"b": 1, "a": 2}, [ones]) == fingerprint({"a": 2, "b": 1}, [ones])
    floats = ones.view(np.float32)
    assert fingerprint({}, [ones]) != fingerprint({}, [floats])
    assert fingerprint({}, [ones], dtypes=False) == fingerprint({}, [floats], dtypes=False)
    assert fingerprint({}, [ones]) != fingerprint({}, [ones.reshape(2, 2)])
    assert fingerprint({}, [ones]) == fingerprint({}, [torch.ones(4, dtype=torch.int32)])
    words = [np.array(text, dtype=object) for text in (["a", "b"], ["a", "c"])]
    assert fingerprint({}, [words[0]]) != fingerprint({}, [words[1]])
    assert fingerprint({}, [words[0]]) == fingerprint({}, [words[0].copy()])
