"""Deep adapters: each does what it is for, stops and goes on, and says when it collapsed."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import shiftlab
from shiftlab import (
    AFN,
    CDAN,
    DAN,
    DANN,
    JAN,
    MCC,
    MCD,
    MDD,
    DeepAdapt,
    DeepCORAL,
    DeepJDOT,
    Domain,
    SelfEnsembling,
    list_adapters,
)
from shiftlab.deep_adapter import DeepAdapter
from shiftlab.diagnosis.recommend import _fits
from shiftlab.registry import ADAPTERS

torch = pytest.importorskip("torch")

from planted import QUICK, last_step, moved_blobs, turn_a_little, turned_blobs  # noqa: E402


def images(seed=0, n=96):
    """Squares in one of two places, and the same on a bright ground."""
    rng = np.random.default_rng(seed)
    y = np.tile([0, 1], n // 2)
    X = rng.integers(0, 60, (n, 12, 12), dtype=np.uint8)
    X[y == 1, 1:6, 1:6] += 150
    X[y == 0, 6:11, 6:11] += 150
    return X, y, X // 2 + 90, y


def test_covariances_do_not_pull_a_network_without_batch_norm_to_one_answer():
    # With its whole weight from the first step all of LeNet's features died here.
    from shiftlab.data import load_digits5

    given = {"source": "offline", "size": 28, "channels": 3}
    source, target = (
        load_digits5(name, "train", **given).take(np.arange(300)) for name in ("mnist_m", "usps")
    )
    model = DeepCORAL("lenet", epochs=5, random_state=0, device="cpu")
    model.fit(source, target.unlabelled())
    assert model.net_.history.source_loss[-1] < 1.9  # the logarithm of ten classes is 2.30


@pytest.mark.parametrize(
    ("adapter", "draw"),
    [
        (DeepCORAL(weight=3.0), moved_blobs),
        *((kind(), moved_blobs) for kind in (DANN, CDAN, MCC, DeepAdapt, DAN, JAN, DeepJDOT, MCD)),
        (MDD(weight=0.3), turned_blobs),
        (AFN(), turned_blobs),
        (SelfEnsembling(augmentation=turn_a_little), turned_blobs),
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


def test_without_weight_all_are_the_source_alone_to_the_bit():
    X, y, Xt, _ = moved_blobs(0)
    first, *others = (
        kind(weight=0.0, random_state=0, **QUICK).fit((X, y), Xt).predict_proba(Xt)
        for kind in (DeepCORAL, MCC, DAN, JAN, AFN, DeepJDOT)
    )
    for other in others:
        assert_array_equal(other, first)


def test_two_classifiers_raise_their_discrepancy_and_the_features_lower_it():
    from shiftlab.deep.losses import discrepancy

    X, y, Xt, _ = moved_blobs(0)
    found = {}
    for weight in (0.0, 1.0):
        context, method, step = last_step(MCD(weight=weight, random_state=0, **QUICK), X, y, Xt)
        rival = method.modules["rival"]
        found[weight] = torch.autograd.grad(
            method.loss(step), [rival.weight, context.net.features[1][0].weight]
        )
    context, method, step = last_step(MCD(random_state=0, **QUICK), X, y, Xt)
    rival = method.modules["rival"]
    features = context.net.embed(torch.cat([step.source, step.target]))[64:]
    apart = 3 * discrepancy(context.net.head(features), rival(features))
    by_hand = torch.autograd.grad(apart, [rival.weight, context.net.features[1][0].weight])
    full = 2 / (1 + np.exp(-10)) - 1
    for sign, plain, weighted, wanted in zip((-1, 1), *found.values(), by_hand, strict=True):
        assert torch.allclose(weighted - plain, sign * full * wanted, atol=1e-6)
        assert wanted.abs().max() > 1e-4


@pytest.mark.parametrize("kind", [DANN, CDAN])
def test_the_domain_head_learns_and_the_features_unlearn(kind):
    """The gradient of the head is that of its loss, not zero; the features' is turned round."""
    X, y, Xt, _ = moved_blobs(0)
    gradients = {}
    for weight in (0.0, 1.0):
        context, method, step = last_step(kind(weight=weight, random_state=0, **QUICK), X, y, Xt)
        head = method.modules["domain_head"]
        method.loss(step).backward()
        gradients[weight] = (
            [p.grad.clone() for p in head.parameters()],
            context.net.features[1][0].weight.grad.clone(),
        )
    for plain, reversed_ in zip(gradients[0.0][0], gradients[1.0][0], strict=True):
        assert torch.allclose(plain, reversed_, atol=1e-7)
        assert plain.abs().max() > 1e-4
    assert (gradients[0.0][1] - gradients[1.0][1]).abs().max() > 1e-3


def test_cdan_maps_wide_features_at_random():
    model = CDAN(random_state=0, device="cpu")
    rng = np.random.default_rng(0)
    y = np.arange(120) % 60
    source, target = (Domain(rng.normal(size=(120, 80)), labels) for labels in (y, None))
    for width, n_modules in ((60, 0), (80, 1)):
        net = (torch.nn.Flatten(), torch.nn.Linear(80, 60))
        if width == 60:
            net = (torch.nn.Linear(80, 60), torch.nn.Linear(60, 60))
        context, *_ = model.set_params(backbone=net)._context(
            source, target, torch.device("cpu"), 0
        )
        assert len(model._method(context).companions) == n_modules


def test_no_global_state_of_torch_is_touched():
    X, y, Xt, _ = moved_blobs(0)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for kind in (DANN, CDAN, DeepAdapt):
        kind(random_state=0, epochs=1, device="cpu").fit((X, y), Xt)
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_of_torch_is_imported_before_a_fit():
    names = [name for name in ADAPTERS if getattr(shiftlab, name).facts.deep]
    code = f"import sys, shiftlab; made = [getattr(shiftlab, n)() for n in {names}]\n"
    code += "print(len(made), *{'torch', 'accelerate', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert len(names) > 15
    assert done.stdout.split() == [str(len(names)), "numpy"]


@pytest.mark.parametrize("space", ["", "    "])
def test_what_adapters_share_is_in_their_docstrings_with_and_without_indentation(space):
    # Python 3.13 takes it out.
    marks = [f"{space}<{part} of every deep adapter>\n" for part in ("backbone", "attributes")]
    kind = type("Own", (DeepAdapter,), {"__doc__": "".join(marks)})
    lines = kind.__doc__.splitlines()
    assert all(line.startswith(space) for line in lines)
    names = [line.split(" : ")[0] for line in lines if not line.startswith(space + " ")]
    named = ["backbone", "net_", "collapse_", "classes_", "source_"]
    assert names == [space + name for name in named]


def test_a_collapse_is_a_warning_and_an_attribute():
    X, y, Xt, _ = moved_blobs(0)
    model = DAN(weight=1e5, learning_rate=0.03, random_state=0, **QUICK)
    with pytest.warns(UserWarning, match="DAN collapsed: the network gives 100%"):
        model.fit((X, y), Xt)
    assert "one class" in model.collapse_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.set_params(weight=0.0).fit((X, y), Xt).collapse_ is None


def test_deep_adapt_hides_parts_of_the_target_and_gives_the_source_other_grounds(monkeypatch):
    from shiftlab.deep import Augmentation
    from shiftlab.deep.images import standardise

    X, y, Xt, _ = images()
    seen = []
    monkeypatch.setattr(
        Augmentation, "__call__", lambda self, batch, _: seen.append((self, batch)) or batch
    )
    epochs = 10
    DeepAdapt(epochs=epochs, batch_size=32, device="cpu", random_state=0).fit((X, y), Xt)
    source, target = (standardise(torch.as_tensor(part)[:, None].float()) for part in (X, Xt))

    def is_one_of(rows, batch):
        return bool((rows - batch[0]).flatten(1).abs().amax(dim=1).min() < 1e-5)

    of_source = [is_one_of(source, batch) for _, batch in seen]
    assert of_source == [not is_one_of(target, batch) for _, batch in seen]
    assert sum(of_source) >= epochs
    for (change, _), first in zip(seen, of_source, strict=True):
        assert change.background == (0.5 if first else 0.0)
        assert not (first and change.hole)
    # Neither before the teacher has settled nor in the last part, of whole images alone.
    holes = [change.hole for (change, _), first in zip(seen, of_source, strict=True) if not first]
    n = len(holes)
    assert holes == [0.5 if 0.3 <= step / n < 0.8 else 0.0 for step in range(n)]


def test_deep_adapt_learns_probabilities_first_and_labels_then(monkeypatch):
    from shiftlab.deep import losses

    X, y, Xt, _ = moved_blobs(0)
    asked = []
    real = losses.pseudo_label_loss

    def watched(scores, probabilities, confidence, *, soft):
        asked.append(soft)
        return real(scores, probabilities, confidence, soft=soft)

    monkeypatch.setattr(losses, "pseudo_label_loss", watched)
    DeepAdapt(epochs=10, batch_size=32, device="cpu", random_state=0).fit((X, y), Xt)
    n = len(asked)
    assert n >= 10
    assert asked == [step / n < 0.3 for step in range(n)]


@pytest.mark.parametrize("kind", [DANN, CDAN, DeepAdapt, SelfEnsembling])
def test_a_fit_that_was_stopped_goes_on_to_the_same_bits(kind, tmp_path, monkeypatch):
    X, y, Xt, _ = images()
    given = {"epochs": 3, "batch_size": 32, "device": "cpu", "random_state": 0}
    whole = kind(**given).fit((X, y), Xt)
    path = tmp_path / "run.safetensors"
    from shiftlab.deep.snapshot import Snapshot

    saves, save = [], Snapshot.save

    def stop(self, *arguments):
        save(self, *arguments)
        saves.append(1)
        if len(saves) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Snapshot, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        kind(checkpoint=path, **given).fit((X, y), Xt)
    resumed = kind(checkpoint=path, **given).fit((X, y), Xt)
    assert len(saves) == 3
    assert_array_equal(whole.predict_proba(Xt), resumed.predict_proba(Xt))
    with pytest.raises(ValueError, match="is of another training"):
        kind(checkpoint=path, **given).fit((X, y), 255 - Xt)


def test_images_with_a_network_of_ones_own_are_saved_and_loaded(tmp_path):
    X, y, Xt, yt = images()
    torch.manual_seed(0)
    net = (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 8)), torch.nn.Linear(8, 2))
    before = net[1].weight.detach().clone()
    model = MCC(net, augmentation=None, epochs=5, device="cpu", random_state=0).fit((X, y), Xt)
    assert torch.equal(net[1].weight, before)
    assert model.score(Xt, yt) > 0.9
    assert model.transform(Xt).shape == (96, 8)
    model.net_.save(tmp_path / "net.safetensors")
    back = shiftlab.deep.TrainedNet.load(tmp_path / "net.safetensors", backbone=net, device="cpu")
    assert_array_equal(back.predict(Xt), model.predict(Xt))


def test_bad_input_is_one_clear_error(tmp_path):
    X, y, Xt, _ = images()
    with pytest.raises(ValueError, match="in a folder that does not exist"):
        DANN(checkpoint=tmp_path / "no" / "run.safetensors").fit((X, y), Xt)
    with pytest.raises(ValueError, match="backbone='resnet' is unknown"):
        DANN("resnet").fit((X, y), Xt)
    with pytest.raises(ValueError, match=r"does not take inputs of shape \(12, 12, 1\)"):
        DANN("mlp").fit((X, y), Xt)
    with pytest.raises(ValueError, match="at least two classes"):
        DANN().fit((X, np.zeros(96)), Xt)


def test_networks_are_recommended_for_images_alone():
    from types import SimpleNamespace

    def situation(inputs):
        return SimpleNamespace(
            texts=None,
            inputs=inputs,
            task="classification",
            overlap=True,
            n_source_labels=10,
            n_target_labels=0,
        )

    deep = [a.facts for a in list_adapters("marginal", needs="torch")]
    assert len(deep) >= 4
    assert not any(_fits(facts, situation("dense")) for facts in deep)
    assert all(_fits(f, situation("images")) for f in deep if not f.several_sources)
