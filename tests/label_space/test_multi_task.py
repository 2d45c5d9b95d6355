"""MultiTask: one body, a head a task, and what it minimises."""

import numpy as np
import pytest
from scipy.special import log_softmax

torch = pytest.importorskip("torch")

from shiftlab import Domain, MultiTask  # noqa: E402
from shiftlab.deep import training  # noqa: E402
from shiftlab.deep.multi_task import joint_loss  # noqa: E402

QUICK = {"epochs": 3, "device": "cpu", "random_state": 0}


def rings(n, seed, names=("in", "out")):
    """Rows in the plane whose label is how far they are from the origin."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    far = (X[:, :2] ** 2).sum(axis=1) > 1.4
    return X, np.array(names)[far.astype(int)]


def few(n=200, labelled=12, seed=1):
    X, y = rings(n, seed, names=(0, 1))
    return Domain(X, y, labelled=np.arange(n) < labelled, name="target")


def test_the_loss_is_the_weighted_sum_of_mean_cross_entropies():
    torch.manual_seed(0)
    scores = [torch.randn(5, 3), torch.randn(2, 4)]
    codes = [torch.tensor([0, 2, 1, 1, 0]), torch.tensor([3, 0])]
    total = 0.0
    for s, c, weight in zip(scores, codes, (1.0, 0.3), strict=True):
        log_p = log_softmax(s.numpy(), axis=1)
        total += weight * np.mean([-log_p[i, k] for i, k in enumerate(c)])
    assert joint_loss(scores, codes, [1.0, 0.3]).item() == pytest.approx(total, rel=1e-5)
    second = log_softmax(scores[1].numpy(), axis=1)
    weighted = -(2.0 * second[0, 3] + 0.5 * second[1, 0]) / 2
    got = joint_loss(scores, codes, [0.0, 1.0], [None, torch.tensor([2.0, 0.5])])
    assert got.item() == pytest.approx(weighted, rel=1e-5)


def test_a_related_task_with_many_labels_helps_one_with_few():
    target, (X, y) = few(labelled=30), rings(1000, 5, names=(0, 1))
    given = {"epochs": 15, "device": "cpu", "random_state": 0}
    together = MultiTask(source_weight=10.0, **given).fit(rings(600, 0), target).score(X, y)
    alone = MultiTask(source_weight=1e-9, **given).fit(rings(600, 0), target).score(X, y)
    assert together > alone + 0.05  # .91 and .82 when this was written


def test_tasks_share_a_body_and_have_label_sets_of_their_own():
    near = Domain(*rings(80, 0, names=(3, 4)), name="near")
    rng = np.random.default_rng(3)
    other = Domain(rng.normal(size=(60, 4)), np.arange(60) % 3 + 7, name="other")
    model = MultiTask(**QUICK).fit([near, other], few())
    assert sorted(model.nets_) == ["near", "other"]
    assert model.nets_["near"].classes.tolist() == [3, 4]
    assert model.nets_["other"].classes.tolist() == [7, 8, 9]
    assert model.classes_.tolist() == [0, 1]
    X = rng.normal(size=(9, 4))
    features = model.net_.features(X)
    for net in model.nets_.values():
        assert np.array_equal(net.features(X), features)
    assert set(model.nets_["other"].predict(X)) <= {7, 8, 9}


def test_images_and_hidden_labels():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (40, 12, 12), dtype=np.uint8)
    y = np.arange(40) % 2
    images[y == 1, 3:9, 3:9] += 150
    target = Domain(255 - images, y, labelled=np.arange(40) < 8)
    hidden = y.copy()
    hidden[8:] = 1 - hidden[8:]
    other = Domain(255 - images, hidden, labelled=np.arange(40) < 8)
    source = (images, np.array(["empty", "full"])[y])
    a, b = (MultiTask(**QUICK).fit(source, t).predict_proba(images) for t in (target, other))
    assert np.array_equal(a, b)


def test_a_fit_that_was_stopped_ends_with_equal_bits(tmp_path, monkeypatch):
    source, target = rings(80, 0), few()
    whole = MultiTask(**QUICK).fit(source, target).predict_proba(target.X)
    save = training.Snapshot.save

    def stop(self, *args):
        save(self, *args)
        raise KeyboardInterrupt

    model = MultiTask(checkpoint=tmp_path / "run", **QUICK)
    monkeypatch.setattr(training.Snapshot, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        model.fit(source, target)
    monkeypatch.setattr(training.Snapshot, "save", save)
    assert np.array_equal(model.fit(source, target).predict_proba(target.X), whole)


def test_bad_input_is_one_clear_error():
    X, y = rings(40, 0)
    with pytest.raises(ValueError, match="MultiTask needs some labelled target rows"):
        MultiTask(**QUICK).fit((X, y), X)
    with pytest.raises(ValueError, match="at least two classes; got only one class"):
        MultiTask(**QUICK).fit((X, y), (X, np.zeros(40)))
    with pytest.raises(ValueError, match=r"two classes in each source; 'source' has only \[3\]"):
        MultiTask(**QUICK).fit((X, np.full(40, 3)), few())
