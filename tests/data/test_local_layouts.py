from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from shiftlab.data import DataFileError, describe_digits5, load_digits5
from shiftlab.data.local import find_local

IDX_NAMES = {
    "X_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "X_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def load_all(domain: str, root: Path) -> tuple[np.ndarray, np.ndarray]:
    halves = [
        load_digits5(domain, half, root=root, source="local", exclude_shared=False)
        for half in ("train", "test")
    ]
    return np.concatenate([d.X for d in halves]), np.concatenate([d.y for d in halves])


def assert_is_toy(domain: str, root: Path, toy: dict) -> None:
    X, y = load_all(domain, root)
    np.testing.assert_array_equal(X, np.concatenate([toy["X_train"], toy["X_test"]]))
    np.testing.assert_array_equal(y, np.concatenate([toy["y_train"], toy["y_test"]]))


@pytest.mark.parametrize("folder", ["", "digits", "MNIST/raw", "digit5/mnist", "Digit-Five"])
@pytest.mark.parametrize("compressed", [True, False])
def test_idx_files(tmp_path: Path, toy: dict, idx_bytes, folder: str, compressed: bool) -> None:
    place = tmp_path / folder
    place.mkdir(parents=True, exist_ok=True)
    for key, name in IDX_NAMES.items():
        content = idx_bytes(toy[key].astype(np.uint8))
        if compressed:
            (place / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (place / name).write_bytes(content)
    assert_is_toy("mnist", tmp_path, toy)


@pytest.mark.parametrize("folder", ["", "digits", "usps"])
def test_npz_files(tmp_path: Path, toy: dict, folder: str) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    np.savez(tmp_path / folder / "usps.npz", **toy)
    assert_is_toy("usps", tmp_path, toy)


def test_libsvm_files(tmp_path: Path, libsvm_bytes) -> None:
    rng = np.random.RandomState(0)
    X, y = rng.randint(0, 256, (15, 16, 16)).astype(np.uint8), np.arange(15) % 10
    (tmp_path / "USPS").mkdir()
    (tmp_path / "USPS" / "usps.bz2").write_bytes(bz2.compress(libsvm_bytes(X[:10], y[:10])))
    (tmp_path / "USPS" / "usps.t.bz2").write_bytes(bz2.compress(libsvm_bytes(X[10:], y[10:])))
    train = load_digits5("usps", "train", size=16, root=tmp_path)
    test = load_digits5("usps", "test", size=16, root=tmp_path)
    np.testing.assert_array_equal(np.concatenate([train.X, test.X]), X)
    np.testing.assert_array_equal(np.concatenate([train.y, test.y]), y)


@pytest.mark.parametrize("prefix", ["", "svhn_"])
def test_svhn_mat_files(tmp_path: Path, prefix: str) -> None:
    X = np.random.RandomState(0).randint(0, 256, (9, 32, 32, 3)).astype(np.uint8)
    y = np.arange(1, 10)
    for half, rows in (("train", slice(0, 6)), ("test", slice(6, 9))):
        content = {"X": np.moveaxis(X[rows], 0, 3), "y": y[rows, None]}
        savemat(tmp_path / f"{prefix}{half}_32x32.mat", content)
    train = load_digits5("svhn", "train", size=32, channels=3, root=tmp_path)
    np.testing.assert_array_equal(train.X, X[:6])
    assert load_digits5("svhn", "test", root=tmp_path).y.tolist() == [7, 8, 9]


def test_digit_five_mat_files(tmp_path: Path, toy: dict) -> None:
    cell = np.empty((2, 2), dtype=object)
    for row, half in enumerate(("train", "test")):
        cell[row, 0], cell[row, 1] = toy[f"X_{half}"][:, None], toy[f"y_{half}"][:, None]
    savemat(tmp_path / "usps_28x28.mat", {"dataset": cell})
    pairs = {
        "mnist_data.mat": ("train_28", "test_28", "label_train", "label_test"),
        "mnistm_with_label.mat": ("train", "test", "label_train", "label_test"),
        "syn_number.mat": ("train_data", "test_data", "train_label", "test_label"),
    }
    for name, keys in pairs.items():
        values = (toy["X_train"], toy["X_test"], toy["y_train"][:, None], toy["y_test"][:, None])
        savemat(tmp_path / name, dict(zip(keys, values, strict=True)))
    for domain in ("mnist", "mnist_m", "usps", "synth"):
        assert_is_toy(domain, tmp_path, toy)


@pytest.mark.parametrize("style", ["inside", "beside", "original"])
def test_image_folders(tmp_path: Path, toy: dict, style: str) -> None:
    base = tmp_path / "mnist_m"
    for half in ("train", "test"):
        folder = base / (f"mnist_m_{half}" if style == "original" else half)
        folder.mkdir(parents=True)
        lines = []
        for number, (image, label) in enumerate(
            zip(toy[f"X_{half}"], toy[f"y_{half}"], strict=True)
        ):
            Image.fromarray(image).save(folder / f"{number:08}.png")
            lines.append(f"{number:08}.png {label}")
        text = "\n".join(lines)
        if style == "inside":
            (folder / "labels.csv").write_text(text.replace(" ", ","))
        else:
            (base / f"{folder.name}_labels.txt").write_text(text)
    assert_is_toy("mnist_m", tmp_path, toy)


def test_unnamed_image_folders_belong_to_no_domain(tmp_path: Path, toy: dict) -> None:
    for half in ("train", "test"):
        (tmp_path / half).mkdir()
        Image.fromarray(toy["X_train"][0]).save(tmp_path / half / "0.png")
        (tmp_path / half / "labels.csv").write_text("0.png,0\n")
    assert find_local("svhn", tmp_path) is None
    assert find_local("usps", tmp_path) is None


def test_half_a_data_set_is_not_found(tmp_path: Path, toy: dict, idx_bytes) -> None:
    for key in ("X_train", "y_train", "X_test"):
        (tmp_path / IDX_NAMES[key]).write_bytes(idx_bytes(toy[key].astype(np.uint8)))
    assert find_local("mnist", tmp_path) is None
    with pytest.raises(FileNotFoundError, match="no mnist found under"):
        load_digits5("mnist", root=tmp_path, source="local")


def test_damaged_local_file_is_an_error_and_not_a_reason_to_go_elsewhere(
    tmp_path: Path, toy: dict
) -> None:
    np.savez(tmp_path / "usps.npz", **toy)
    path = tmp_path / "usps.npz"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataFileError, match=r"usps\.npz"):
        load_digits5("usps", root=tmp_path)


class TestSharedDigits:
    def write(self, root: Path, toy: dict, index: np.ndarray) -> None:
        np.savez(root / "mnist.npz", **toy)
        colour = np.repeat(toy["X_train"][index][..., None], 3, axis=3)
        test = np.array([3, 4])
        np.savez(
            root / "mnist_m.npz",
            X_train=255 - colour,
            y_train=toy["y_train"][index],
            idx_train=index.astype(np.int32),
            X_test=np.repeat(toy["X_test"][test][..., None], 3, axis=3),
            y_test=toy["y_test"][test],
            idx_test=test,
        )

    def test_mnist_leaves_out_what_mnist_m_uses(self, tmp_path: Path, toy: dict) -> None:
        index = np.array([5, 0, 17])
        self.write(tmp_path, toy, index)
        kept = np.setdiff1d(np.arange(20), index)
        train = load_digits5("mnist", "train", root=tmp_path)
        np.testing.assert_array_equal(train.X, toy["X_train"][kept])
        np.testing.assert_array_equal(train.y, toy["y_train"][kept])
        test = load_digits5("mnist", "test", root=tmp_path)
        np.testing.assert_array_equal(test.X, np.delete(toy["X_test"], [3, 4], axis=0))
        everything = load_digits5("mnist", "train", root=tmp_path, exclude_shared=False)
        np.testing.assert_array_equal(everything.X, toy["X_train"])
        record = describe_digits5(tmp_path)[0]
        assert (record.n_train, record.n_test) == (17, 8)
        assert "without the digits that MNIST-M uses" in record.note

    @pytest.mark.parametrize("wrong", ["labels", "range"])
    def test_an_index_that_points_elsewhere_is_refused(
        self, tmp_path: Path, toy: dict, wrong: str
    ) -> None:
        self.write(tmp_path, toy, np.array([5, 0, 17]))
        if wrong == "labels":
            toy = {**toy, "y_train": np.roll(toy["y_train"], 1)}
        else:
            toy = {**toy, "X_train": toy["X_train"][:10], "y_train": toy["y_train"][:10]}
        np.savez(tmp_path / "mnist.npz", **toy)
        with pytest.raises(DataFileError, match=r"mnist_m\.npz: idx_train.*exclude_shared=False"):
            load_digits5("mnist", "train", root=tmp_path)
        assert len(load_digits5("mnist", "train", root=tmp_path, exclude_shared=False)) > 0

    def test_an_unknown_index_is_said(self, tmp_path: Path, toy: dict) -> None:
        np.savez(tmp_path / "mnist.npz", **toy)
        np.savez(tmp_path / "mnist_m.npz", **toy)
        assert len(load_digits5("mnist", root=tmp_path)) == 20
        note = describe_digits5(tmp_path)[0].note
        assert "which of its digits MNIST-M uses is not known" in note

    def test_without_mnist_m_it_is_made_from_the_other_half(
        self, tmp_path: Path, toy: dict
    ) -> None:
        np.savez(tmp_path / "mnist.npz", **toy)
        kept = load_digits5("mnist", root=tmp_path)
        made = load_digits5("mnist_m", channels=3, root=tmp_path)
        assert made.name == "mnist_m (stand-in)"
        assert len(kept) == len(made) == 10
        # Together they are MNIST: every digit on exactly one side.
        labels = np.concatenate([kept.y, made.y])
        np.testing.assert_array_equal(np.sort(labels), np.sort(toy["y_train"]))


def test_one_domain_may_be_local_and_another_not(tmp_path: Path, toy: dict) -> None:
    np.savez(tmp_path / "usps.npz", **toy)
    assert load_digits5("usps", root=tmp_path).name == "usps"
    assert load_digits5("mnist_m", root=tmp_path).name == "mnist_m (stand-in)"


@pytest.mark.data
class TestRealData:
    def test_sizes_and_origin(self, real_digits: Path) -> None:
        records = {r.name: r for r in describe_digits5(real_digits)}
        assert {r.kind for r in records.values()} == {"local"}
        assert [name for name, r in records.items() if r.stand_in] == ["synth"]
        sizes = {name: (r.n_train, r.n_test) for name, r in records.items()}
        assert sizes["mnist"] == (48_000, 6_000)
        assert sizes["mnist_m"] == (12_000, 4_000)
        assert sizes["usps"] == (7_291, 2_007)
        assert sizes["svhn"] == (7_000, 3_000)
        assert "do not compare with papers" in records["svhn"].note
        assert "do not compare" not in records["usps"].note

    def test_mnist_holds_no_digit_of_mnist_m(self, real_digits: Path) -> None:
        digits = real_digits / "digits"
        with (
            np.load(digits / "mnist.npz", allow_pickle=False) as mnist,
            np.load(digits / "mnist_m.npz", allow_pickle=False) as mnist_m,
        ):
            for half in ("train", "test"):
                used = mnist_m[f"idx_{half}"]
                X, y = mnist[f"X_{half}"], mnist[f"y_{half}"]
                np.testing.assert_array_equal(y[used], mnist_m[f"y_{half}"])
                kept = load_digits5("mnist", half, root=real_digits)
                np.testing.assert_array_equal(kept.X, np.delete(X, used, axis=0))
                np.testing.assert_array_equal(kept.y, np.delete(y, used))
                strokes = {image.tobytes() for image in kept.X}
                assert not any(image.tobytes() in strokes for image in X[used])

    def test_rendered_from_chars74k_when_it_is_there(self, real_digits, few_rendered) -> None:
        synth = load_digits5("synth", "test", size=32, channels=3, root=real_digits)
        assert synth.X.shape == (few_rendered["test"], 32, 32, 3)
        note = describe_digits5(real_digits)[4].note
        assert "Chars74K" in note
