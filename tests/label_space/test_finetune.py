"""FineTune: new head, frozen blocks, few labels, early stopping."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from shiftlab import Domain, FineTune  # noqa: E402
from shiftlab.deep import TrainedNet, fine_tune, train_classifier  # noqa: E402
from shiftlab.deep.transfer import replace_head  # noqa: E402

QUICK = {"epochs": 4, "pretrain_epochs": 2, "device": "cpu", "random_state": 0}


def corners(n, seed, names=(0, 1, 2), invert=False):
    """Dark noise with one bright square in a corner, one corner a class."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (n, 12, 12), dtype=np.uint8)
    codes = np.arange(n) % len(names)
    for image, code in zip(images, codes, strict=True):
        row, column = [(1, 1), (1, 7), (7, 1), (7, 7)][code]
        image[row : row + 4, column : column + 4] += 150
    return (255 - images if invert else images), np.array(names)[codes]


def net_with(*, norm=True):
    """A small network without pooling, so that corners can be told apart."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, stride=2)]
    layers += [nn.BatchNorm2d(8)] if norm else []
    layers += [nn.ReLU(), nn.Flatten(), nn.Linear(200, 16), nn.BatchNorm1d(16), nn.ReLU()]
    return nn.Sequential(*layers), nn.Linear(16, 3)


@pytest.fixture(scope="module")
def pretrained():
    X, y = corners(90, 0)
    return train_classifier(
        X,
        y,
        backbone=net_with(),
        epochs=10,
        batch_size=16,
        augmentation=None,
        device="cpu",
        random_state=0,
    )


def few_labels(n=90, labelled=30, **changes):
    X, y = corners(n, 1, **changes)
    return Domain(X, y, labelled=np.arange(n) < labelled, name="target")


def test_a_trained_net_learns_other_string_labels(pretrained):
    target = few_labels(names=("ant", "bee", "cat"), invert=True)
    X_new, y_new = corners(60, 2, names=("ant", "bee", "cat"), invert=True)
    model = FineTune(pretrained, epochs=12, learning_rate=3e-3, device="cpu", random_state=0)
    model.fit(corners(9, 0), target)
    assert model.classes_.tolist() == ["ant", "bee", "cat"]
    assert model.score(X_new, y_new) > 0.9
    assert model.predict(X_new).dtype == np.dtype("<U3")


def test_a_subset_and_a_superset_of_the_source_s_labels(pretrained):
    subset = few_labels(names=(0, 2))
    model = FineTune(pretrained, **QUICK).fit(corners(9, 0), subset)
    assert model.classes_.tolist() == [0, 2]
    assert set(model.predict(subset.X)) <= {0, 2}
    superset = few_labels(labelled=60, names=(0, 1, 2, 9))
    model = FineTune(pretrained, epochs=15, learning_rate=3e-3, device="cpu", random_state=0)
    model.fit(corners(9, 0), superset)
    X_new, y_new = corners(60, 2, names=(0, 1, 2, 9))
    assert model.classes_.tolist() == [0, 1, 2, 9]
    assert model.score(X_new, y_new) > 0.85


def test_declared_classes_without_labels_have_their_column(pretrained):
    target = few_labels().with_(classes=[0, 1, 2, 3])
    model = FineTune(pretrained, **QUICK).fit(corners(9, 0), target)
    assert model.predict_proba(target.X).shape == (90, 4)


def test_head_rows_of_shared_classes_are_kept(pretrained):
    net = copy.deepcopy(pretrained.net)
    replace_head(net, pretrained.classes, np.array([2, 5, 0]), seed=0)
    old, new = pretrained.net.head, net.head
    assert torch.equal(new.weight[0], old.weight[2])
    assert torch.equal(new.weight[2], old.weight[0])
    assert torch.equal(new.bias[[0, 2]], old.bias[[2, 0]])
    # The fresh row has the range of a fresh Linear, 1 / sqrt(inputs).
    assert new.weight[1].abs().max().item() <= 1 / 4
    assert not torch.equal(new.weight[1], old.weight[1])


def test_equal_label_sets_start_from_the_source_s_predictions(pretrained):
    """One step at a vanishing rate, with the norm layers frozen: nothing is lost."""
    X, y = corners(30, 1)
    tuned = fine_tune(
        pretrained, X, y, freeze=7, epochs=1, learning_rate=1e-12, device="cpu", random_state=0
    )
    assert np.allclose(tuned.decision_function(X), pretrained.decision_function(X), atol=1e-4)


def test_head_that_ends_a_sequential_is_replaced():
    features, _ = net_with()
    head = nn.Sequential(nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3))
    X, y = corners(30, 0)
    trained = train_classifier(X, y, backbone=(features, head), epochs=1, device="cpu")
    tuned = fine_tune(trained, X, np.where(y == 0, "a", "b"), epochs=1, device="cpu")
    assert tuned.net.head[-1].out_features == 2
    assert tuned.net.head[0].out_features == 6


@pytest.mark.parametrize("freeze", [0, 2, 5, 7])
def test_frozen_blocks_are_bit_identical_statistics_and_all(pretrained, freeze):
    X, y = corners(30, 1, names=("a", "b", "c"), invert=True)
    tuned = fine_tune(pretrained, X, y, freeze=freeze, epochs=3, device="cpu", random_state=0)
    for position, (old, new) in enumerate(
        zip(pretrained.net.blocks, tuned.net.blocks, strict=True)
    ):
        state, other = old.state_dict(), new.state_dict()
        unchanged = [torch.equal(state[k], other[k]) for k in state]
        if position < freeze:
            assert all(unchanged), f"block {position} moved"
        else:
            # Conv, norm and linear layers have state; it has to have moved.
            assert not state or not any(unchanged), f"block {position} stood still"


def test_frozen_blocks_of_the_digit_cnn_are_bit_identical():
    X, y = corners(24, 0)
    trained = train_classifier(X, y, epochs=1, device="cpu", random_state=0)
    tuned = fine_tune(trained, 255 - X, y, freeze=3, epochs=1, device="cpu", random_state=0)
    moved = {
        name.split(".")[1]
        for name, value in trained.net.features.state_dict(prefix="features.").items()
        if not torch.equal(value, tuned.net.state_dict()[name])
    }
    assert moved == {"conv4", "conv5"}


def test_the_pretrained_net_is_not_changed(pretrained):
    before = copy.deepcopy(pretrained.net.state_dict())
    FineTune(pretrained, **QUICK).fit(corners(9, 0), few_labels())
    assert all(torch.equal(before[k], v) for k, v in pretrained.net.state_dict().items())
    assert all(p.requires_grad for p in pretrained.net.parameters())


def test_hidden_target_labels_are_never_used(pretrained):
    target = few_labels()
    shuffled = target.y.copy()
    shuffled[30:] = np.random.default_rng(0).permutation(shuffled[30:])
    other = Domain(target.X, shuffled, labelled=target.labelled)
    a, b = (FineTune(pretrained, **QUICK).fit(corners(9, 0), t) for t in (target, other))
    assert np.array_equal(a.predict_proba(target.X), b.predict_proba(target.X))


def test_same_seed_same_bits_pretraining_included():
    source, target = corners(24, 0), few_labels()
    a, b = (FineTune(net_with(), **QUICK).fit(source, target) for _ in range(2))
    c = FineTune(net_with(), **{**QUICK, "random_state": 1}).fit(source, target)
    assert np.array_equal(a.predict_proba(target.X), b.predict_proba(target.X))
    assert not np.array_equal(a.predict_proba(target.X), c.predict_proba(target.X))


def test_a_trained_backbone_needs_no_source_labels(pretrained):
    X, y = corners(24, 0)
    target = few_labels()
    a = FineTune(pretrained, **QUICK).fit(X, target)
    b = FineTune(pretrained, **QUICK).fit((X, y), target)
    assert np.array_equal(a.predict_proba(target.X), b.predict_proba(target.X))
    with pytest.raises(ValueError, match="FineTune needs a labelled source"):
        FineTune(**QUICK).fit(X, target)


def test_a_saved_net_is_the_same_as_the_net():
    X, y = corners(24, 0)
    target = few_labels()
    trained = train_classifier(X, y, epochs=1, device="cpu", random_state=0)

    def proba(backbone):
        model = FineTune(backbone, epochs=1, device="cpu", random_state=0)
        return model.fit(X, target).predict_proba(target.X)

    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "source.safetensors"
        trained.save(path)
        expected = proba(trained)
        assert np.array_equal(proba(path), expected)
        assert np.array_equal(proba(str(path)), expected)


def test_one_label_a_class_trains_all_epochs_without_validation(pretrained):
    model = FineTune(
        pretrained,
        freeze=0,
        epochs=5,
        validation_fraction=0.2,
        patience=1,
        device="cpu",
        random_state=0,
    ).fit(corners(9, 0), few_labels(labelled=3))
    history = model.net_.history
    assert len(history.loss) == 5
    assert history.validation_loss == []
    assert history.best_epoch is None


def test_early_stopping_keeps_the_epoch_of_the_lowest_validation_loss(pretrained):
    target = few_labels(n=90, labelled=60, names=("a", "b", "c"))
    model = FineTune(
        pretrained,
        epochs=60,
        learning_rate=0.05,
        validation_fraction=0.2,
        patience=2,
        device="cpu",
        random_state=0,
    ).fit(corners(9, 0), target)
    history = model.net_.history
    assert history.best_epoch == int(np.argmin(history.validation_loss))
    assert len(history.loss) == min(history.best_epoch + 1 + 2, 60)


@pytest.mark.parametrize(("labelled", "validates"), [(240, False), (252, True)])
def test_by_default_fifty_validation_rows_are_the_least(pretrained, labelled, validates):
    target = few_labels(n=252, labelled=labelled)
    model = FineTune(pretrained, epochs=1, device="cpu", random_state=0)
    history = model.fit(corners(9, 0), target).net_.history
    assert bool(history.validation_loss) is validates


def test_transform_gives_the_features_and_source_the_labelled_rows(pretrained):
    target = few_labels(names=("a", "b", "c"))
    model = FineTune(pretrained, **QUICK).fit(corners(9, 0), target)
    assert np.array_equal(model.transform(target.X), model.net_.features(target.X))
    assert np.array_equal(model.source_.X, model.transform(target.X[:30]))
    assert np.array_equal(model.source_.y, target.y[:30])


def test_decision_function_agrees_with_predict(pretrained):
    target = few_labels(names=("a", "b"))
    model = FineTune(pretrained, **QUICK).fit(corners(9, 0), target)
    decision, proba = model.decision_function(target.X), model.predict_proba(target.X)
    assert decision.shape == (90,)
    assert np.allclose(decision, np.log(proba[:, 1] / proba[:, 0]), atol=1e-4)
    assert np.array_equal(model.predict(target.X) == "b", decision > 0)


def test_clone_parameters_and_pickle(pretrained):
    model = FineTune(pretrained, freeze=2, **QUICK)
    other = clone(model)
    assert other.get_params()["freeze"] == 2
    assert isinstance(other.backbone, TrainedNet)
    assert other.backbone is not pretrained
    target = few_labels()
    fitted = other.fit(corners(9, 0), target)
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(target.X), fitted.predict_proba(target.X))


def test_colour_images():
    X, y = corners(24, 0)
    colour = np.repeat(X[..., None], 3, axis=3)
    target = Domain(255 - colour, y, labelled=np.arange(24) < 12)
    model = FineTune(epochs=1, pretrain_epochs=1, device="cpu", random_state=0)
    assert model.fit((colour, y), target).predict(colour).shape == (24,)


def test_input_is_not_changed(pretrained):
    X, y = corners(30, 1)
    kept = X.copy(), y.copy()
    FineTune(pretrained, **QUICK).fit(X, (X, y))
    assert np.array_equal(X, kept[0])
    assert np.array_equal(y, kept[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"freeze": 9}, "freeze must be between 0 and 5"),
        ({"freeze": -1}, "'freeze' parameter"),
        ({"layer_decay": 0.0}, "'layer_decay' parameter"),
        ({"batch_size": 1}, "'batch_size' parameter"),
        ({"backbone": "resnet9000"}, r"backbone='resnet9000' is unknown"),
        ({"device": "abacus"}, "device='abacus' is no device"),
    ],
)
def test_bad_parameters_are_one_clear_error(changes, message):
    with pytest.raises(ValueError, match=message):
        FineTune(**{**QUICK, **changes}).fit(corners(9, 0), few_labels())


def test_bad_input_is_one_clear_error(pretrained):
    images = corners(9, 0)
    with pytest.raises(ValueError, match=r"FineTune needs images .* source has shape \(9, 4\)"):
        FineTune(**QUICK).fit((np.zeros((9, 4)), np.arange(9) % 2), (np.zeros((9, 4)), images[1]))
    with pytest.raises(ValueError, match="FineTune needs some labelled target rows"):
        FineTune(**QUICK).fit(images, images[0])
    with pytest.raises(ValueError, match="at least two classes; got only one class"):
        FineTune(**QUICK).fit(images, (images[0], np.zeros(9)))
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*none\.safetensors"):
        FineTune("none.safetensors", device="cpu").fit(images, images)
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Linear"):
        FineTune((nn.Flatten(), nn.ReLU()), **QUICK).fit(images, images)
    other = np.zeros((9, 14, 14), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"\(12, 12, 1\); got \(14, 14, 1\)"):
        FineTune(pretrained, **QUICK).fit((other, images[1]), (other, images[1]))


def test_the_adapter_imports_without_torch_and_fit_says_what_to_install():
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch':\n"
        "            raise ModuleNotFoundError('No module named torch', name='torch')\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import numpy as np\n"
        "from shiftlab import FineTune\n"
        "assert 'torch' not in sys.modules\n"
        "X, y = np.zeros((4, 8, 8), dtype=np.uint8), np.arange(4) % 2\n"
        "try: FineTune().fit((X, y), (X, y))\n"
        "except ImportError as e: print(e)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == (
        "FineTune needs torch; install it with: pip install 'shiftlab[deep]'"
    )


def test_the_rule_by_labels_a_class_and_the_settings_given(pretrained):
    few = FineTune(pretrained, **QUICK).fit(corners(9, 0), few_labels(labelled=3))
    assert (few.freeze_, few.probe_) == (7, True)  # the head alone, at its optimum
    assert few.net_.history.loss == []
    some = FineTune(pretrained, **QUICK).fit(corners(9, 0), few_labels(labelled=30))
    assert (some.freeze_, some.probe_) == (0, False)  # the source's head knows these labels
    assert len(some.net_.history.loss) == 4
    new = few_labels(labelled=30, names=("ant", "bee", "cat"))
    assert FineTune(pretrained, **QUICK).fit(corners(9, 0), new).probe_
    own = FineTune(pretrained, freeze=2, probe=False, **QUICK)
    own.fit(corners(9, 0), few_labels(labelled=3))
    assert (own.freeze_, own.probe_) == (2, False)


def test_many_labels_let_go_of_the_source_unless_told_to_hold(pretrained):
    def fitted(labelled, **given):
        model = FineTune(pretrained, freeze=7, **{**QUICK, "epochs": 1}, **given)
        return model.fit(corners(9, 0), few_labels(n=120, labelled=labelled))

    assert [fitted(n).penalty_ for n in (30, 57, 60)] == ["l2_sp", "l2_sp", None]
    assert fitted(60, strength=0.1).penalty_ == "l2_sp"  # a strength of nothing would be ignored
    assert fitted(60, penalty="bss").penalty_ == "bss"
    assert fitted(30, penalty=None).penalty_ is None


def test_search_takes_the_number_of_blocks_with_the_lowest_held_out_loss(pretrained):
    model = FineTune(pretrained, freeze="search", **{**QUICK, "epochs": 2})
    model.fit(corners(9, 0), few_labels(labelled=15))
    assert sorted(model.freeze_scores_) == list(range(8))
    assert model.freeze_scores_[model.freeze_] == min(model.freeze_scores_.values())
    with pytest.raises(ValueError, match="freeze='search' needs at least 2 labelled target rows"):
        model.fit(corners(9, 0), few_labels(labelled=3))


def test_early_stopping_works_with_five_labels_a_class(pretrained):
    model = FineTune(
        pretrained,
        epochs=30,
        learning_rate=0.05,
        validation_fraction=0.2,
        patience=2,
        device="cpu",
        random_state=0,
    ).fit(corners(9, 0), few_labels(labelled=15, names=("a", "b", "c")))
    history = model.net_.history
    assert len(history.validation_loss) == len(history.loss) < 30
    assert history.best_epoch == int(np.argmin(history.validation_loss))
    X_new, y_new = corners(60, 2, names=("a", "b", "c"))
    assert model.score(X_new, y_new) > 0.8


def test_statistics_of_the_target_see_unlabelled_rows_but_no_hidden_label(pretrained):
    target = few_labels(invert=True)
    model = FineTune(pretrained, batch_norm="target", freeze=0, **QUICK)
    a = model.fit(corners(9, 0), target).predict_proba(target.X)
    fewer = target.take(np.arange(40))
    b = model.fit(corners(9, 0), fewer).predict_proba(target.X)
    assert not np.array_equal(a, b)
    hidden = target.y.copy()
    hidden[30:] = 0
    other = Domain(target.X, hidden, labelled=target.labelled)
    assert np.array_equal(model.fit(corners(9, 0), other).predict_proba(target.X), a)


def test_a_fit_that_was_killed_in_either_training_ends_with_equal_bits(tmp_path, monkeypatch):
    from shiftlab.deep import training

    source, target = corners(24, 0), few_labels(labelled=12)
    model = FineTune(net_with(), freeze=0, **QUICK)
    expected = model.fit(source, target).predict_proba(target.X)
    save = training.Snapshot.save
    for stop_at in (1, 4):  # in the second epoch of the source's, in the third of the target's
        count = []

        def stop(self, *args, count=count, stop_at=stop_at):
            save(self, *args)
            count.append(1)
            if len(count) == stop_at:
                raise KeyboardInterrupt

        resumable = clone(model).set_params(checkpoint=tmp_path / f"run{stop_at}")
        monkeypatch.setattr(training.Snapshot, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            resumable.fit(source, target)
        monkeypatch.setattr(training.Snapshot, "save", save)
        assert np.array_equal(resumable.fit(source, target).predict_proba(target.X), expected)
    with pytest.raises(ValueError, match="is in a folder that does not exist"):
        clone(model).set_params(checkpoint=tmp_path / "none" / "run").fit(source, target)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"penalty": "l3"}, "'penalty' parameter"),
        ({"batch_norm": "none"}, "'batch_norm' parameter"),
        ({"strength": -1.0}, "'strength' parameter"),
        ({"freeze": "some"}, "'freeze' parameter"),
    ],
)
def test_bad_settings_of_the_fine_tuning_are_one_clear_error(pretrained, changes, message):
    with pytest.raises(ValueError, match=message):
        FineTune(pretrained, **{**QUICK, **changes}).fit(corners(9, 0), few_labels())


def test_bar_six_of_inputs(pretrained):
    """Wrong channels, one label in a class, a label that is not in the label set."""
    colour = np.zeros((9, 12, 12, 3), dtype=np.uint8)
    y = np.arange(9) % 3
    with pytest.raises(ValueError, match=r"\(12, 12, 1\); got \(12, 12, 3\)"):
        FineTune(pretrained, **QUICK).fit((colour, y), (colour, y))
    one_each = few_labels(labelled=3)
    assert FineTune(pretrained, **QUICK).fit(corners(9, 0), one_each).classes_.tolist() == [0, 1, 2]
    model = FineTune(pretrained, **QUICK).fit(corners(9, 0), few_labels())
    X, y = corners(6, 3, names=(0, 9))
    assert 0.0 <= model.score(X, y) < 1.0  # 9 was never seen: such rows are wrong, not an error
    with pytest.raises(ValueError, match=r"y holds labels that classes does not list: \[9\]"):
        FineTune(pretrained, **QUICK).fit(corners(9, 0), Domain(X, y, classes=[0, 1]))
