"""OffTheShelf: the layers it takes, augmentation, the cache, labels it may see."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

torch = pytest.importorskip("torch")

from shiftlab import Domain, OffTheShelf, transferability  # noqa: E402
from shiftlab.deep import feature_cache, layers, train_classifier  # noqa: E402
from shiftlab.deep.images import ImageStore  # noqa: E402


def corners(n, seed, names=(0, 1, 2), invert=False):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (n, 12, 12), dtype=np.uint8)
    codes = np.arange(n) % len(names)
    for image, code in zip(images, codes, strict=True):
        row, column = [(1, 1), (1, 7), (7, 1), (7, 7)][code]
        image[row : row + 4, column : column + 4] += 150
    return (255 - images if invert else images), np.array(names)[codes]


@pytest.fixture(scope="module")
def trained():
    X, y = corners(60, 0)
    return train_classifier(X, y, epochs=4, device="cpu", random_state=0)


def few(n=60, labelled=24, **changes):
    X, y = corners(n, 1, names=("a", "b", "c"), **changes)
    return Domain(X, y, labelled=np.arange(n) < labelled)


def test_features_are_the_layers_outputs_averaged_over_places(trained):
    X, _ = corners(9, 2)
    model = OffTheShelf(backbone=trained, layers=["conv4", "conv1"]).fit(corners(9, 0), few())
    x = ImageStore(X[..., None], torch.device("cpu")).batch(torch.arange(9))
    with torch.no_grad():
        maps = {}
        for name, block in trained.net.features.named_children():
            x = block(x)
            maps[name] = x.mean(dim=(2, 3)).numpy()
    expected = np.concatenate([maps["conv4"], maps["conv1"]], axis=1)
    assert np.allclose(model.transform(X), expected, atol=1e-5)
    below_head = OffTheShelf(backbone=trained).fit(corners(9, 0), few())
    assert np.array_equal(below_head.transform(X), trained.features(X))


def test_the_estimator_is_trained_on_the_labelled_target_rows_alone(trained):
    target = few(invert=True)
    model = OffTheShelf(LogisticRegression(C=5.0), backbone=trained).fit(corners(9, 0), target)
    own = LogisticRegression(C=5.0).fit(trained.features(target.X[:24]), target.y[:24])
    X, y = corners(60, 5, names=("a", "b", "c"), invert=True)
    assert np.allclose(model.predict_proba(X), own.predict_proba(trained.features(X)), atol=1e-6)
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert model.score(X, y) > 0.8


def test_without_target_labels_it_is_trained_on_the_source(trained):
    X, y = corners(30, 3)
    model = OffTheShelf(LogisticRegression(), backbone=trained).fit((X, y), few().unlabelled())
    own = LogisticRegression().fit(trained.features(X), y)
    assert np.array_equal(model.predict(X), own.predict(trained.features(X)))
    with pytest.raises(ValueError, match="neither the target nor the source has any"):
        OffTheShelf(LogisticRegression(), backbone=trained).fit(X, X)


def test_changed_copies_are_trained_on_and_averaged_over(trained):
    target = few(labelled=6)
    model = OffTheShelf(
        LogisticRegression(), backbone=trained, views=3, test_views=4, random_state=0
    ).fit(corners(9, 0), target)
    assert model.source_.X.shape == (24, 128)
    assert model.source_.y.tolist() == target.y[:6].tolist() * 4
    first, second = model.source_.X[:6], model.source_.X[6:12]
    assert np.array_equal(first, trained.features(target.X[:6]))
    assert not np.allclose(first, second, atol=1e-3)
    X, _ = corners(9, 7)
    views = [model._features(X, view) for view in (0, 4, 5, 6, 7)]
    mean = np.mean([model.estimator_.predict_proba(view) for view in views], axis=0)
    assert np.allclose(model.predict_proba(X), mean)
    assert np.array_equal(model.predict(X), model.classes_[mean.argmax(axis=1)])


def test_features_come_from_the_cache_only_if_all_they_depend_on_is_the_same(
    trained, tmp_path, monkeypatch
):
    calls = []
    compute = feature_cache._compute

    def counted(*args):
        calls.append(1)
        return compute(*args)

    monkeypatch.setattr(feature_cache, "_compute", counted)
    target = few()
    given = {"backbone": trained, "cache": tmp_path / "features", "random_state": 0}
    first = OffTheShelf(KNeighborsClassifier(1), **given).fit(corners(9, 0), target)
    answers = first.predict(target.X)
    assert len(calls) == 2  # the labelled rows, then all
    again = OffTheShelf(KNeighborsClassifier(1), **given).fit(corners(9, 0), target)
    assert np.array_equal(again.predict(target.X), answers)
    assert len(calls) == 2
    changed = target.X.copy()
    changed[0, 0, 0] += 1
    again.predict(changed)
    assert len(calls) == 3
    OffTheShelf(KNeighborsClassifier(1), layers=["conv1"], **given).fit(corners(9, 0), target)
    assert len(calls) == 4
    X, y = corners(30, 9)
    other = train_classifier(X, y, epochs=1, device="cpu", random_state=1)
    OffTheShelf(KNeighborsClassifier(1), **{**given, "backbone": other}).fit(corners(9, 0), target)
    assert len(calls) == 5
    for path in (tmp_path / "features").glob("*.npy"):
        path.write_bytes(b"broken")
    assert np.array_equal(again.predict(target.X), answers)
    assert len(calls) == 6


def test_layers_scored_for_transfer_are_those_that_are_taken(trained):
    X, y = corners(30, 3, names=("a", "b", "c"))
    scores = transferability(trained, X, y, layer="conv3")
    taken = layers.layer_outputs(trained, X, ["conv3"])["conv3"]
    alone = transferability(None, taken, y, source_proba=trained.predict_proba(X))
    assert scores == alone
    with pytest.raises(ValueError, match=r"layers must be among the blocks \['conv1'"):
        transferability(trained, X, y, layer="conv9")
    with pytest.raises(ValueError, match=r"one label a row, shape \(30,\)"):
        transferability(trained, X, y[:3])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layers": ["conv9"]}, r"layers must be among the blocks .*got \['conv9'\]"),
        ({"layers": []}, "layers must be among the blocks"),
        ({"views": -1}, "'views' parameter"),
    ],
)
def test_bad_input_is_one_clear_error(trained, given, message):
    with pytest.raises(ValueError, match=message):
        OffTheShelf(LogisticRegression(), backbone=trained, **given).fit(corners(9, 0), few())


def test_wrong_channels_and_tables_are_one_clear_error(trained):
    X, y = corners(9, 0)
    colour = np.repeat(X[..., None], 3, axis=3)
    with pytest.raises(ValueError, match=r"\(12, 12, 1\); got \(12, 12, 3\)"):
        OffTheShelf(LogisticRegression(), backbone=trained).fit((colour, y), (colour, y))
    with pytest.raises(ValueError, match="OffTheShelf needs images"):
        OffTheShelf(LogisticRegression()).fit((np.zeros((9, 4)), y), (np.zeros((9, 4)), y))
