from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shiftlab.data import DataFileError
from shiftlab.data.formats import read_idx, read_libsvm, read_npz, read_png_folder
from shiftlab.data.raw import check_digits


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_idx(tmp_path: Path, toy: dict, idx_bytes, compress) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(compress(idx_bytes(toy["X_train"])))
    labels.write_bytes(compress(idx_bytes(toy["y_train"].astype(np.uint8))))
    digits = read_idx(images, labels)
    np.testing.assert_array_equal(digits.X, toy["X_train"])
    np.testing.assert_array_equal(digits.y, toy["y_train"])
    assert digits.y.dtype == np.int64


def test_idx_damage_names_the_file(tmp_path: Path, toy: dict, idx_bytes) -> None:
    whole = idx_bytes(toy["X_train"])
    labels = tmp_path / "labels"
    labels.write_bytes(idx_bytes(toy["y_train"].astype(np.uint8)))
    damaged = {
        "short": whole[:-5],
        "half-gzip": gzip.compress(whole)[:-200],
        "empty": b"",
        "header-only": whole[:7],
        "not-idx": b"<html>" + whole,
        "floats": b"\x00\x00\x0d\x03" + whole[4:],
    }
    for name, content in damaged.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataFileError, match=name):
            read_idx(path, labels)
    with pytest.raises(DataFileError, match="labels where images were expected"):
        read_idx(labels, labels)


@pytest.mark.parametrize("compress", [bytes, bz2.compress])
def test_libsvm(tmp_path: Path, libsvm_bytes, compress) -> None:
    rng = np.random.RandomState(0)
    images, labels = rng.randint(0, 256, (12, 16, 16)), np.arange(12) % 10
    path = tmp_path / "usps.bz2"
    path.write_bytes(compress(libsvm_bytes(images, labels)))
    digits = read_libsvm(path)
    np.testing.assert_array_equal(digits.X, images)
    np.testing.assert_array_equal(digits.y, labels)


def test_libsvm_pixels_that_are_left_out_are_middle_gray(tmp_path: Path) -> None:
    path = tmp_path / "usps"
    path.write_text("10 1:-1 256:1\n")
    digits = read_libsvm(path)
    assert digits.y.tolist() == [9]
    assert digits.X[0, 0, 0] == 0
    assert digits.X[0, 15, 15] == 255
    assert digits.X[0, 5, 5] == 128


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 257:0.5\n", "feature 257"),
        ("1 0:0.5\n", "features 1 to 256"),
        ("0 1:0.5\n", "labels must be 1 to 10"),
        ("1 1:2.5\n", r"\[-1, 1\]"),
        ("1 1;2\n", "not a complete LIBSVM file"),
        ("", "holds no rows"),
    ],
)
def test_libsvm_damage(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "usps.t"
    path.write_text(content)
    with pytest.raises(DataFileError, match=message) as caught:
        read_libsvm(path)
    assert str(path) in str(caught.value)


def test_truncated_bz2(tmp_path: Path) -> None:
    path = tmp_path / "usps.bz2"
    path.write_bytes(bz2.compress(b"1 1:0.5\n" * 1000)[:-20])
    with pytest.raises(DataFileError, match=r"usps\.bz2"):
        read_libsvm(path)


def test_npz_prefers_native_pixels_and_keeps_the_index(tmp_path: Path, toy: dict) -> None:
    path = tmp_path / "usps.npz"
    native = np.random.RandomState(1).randint(0, 256, (20, 16, 16)).astype(np.uint8)
    np.savez(path, X16_train=native, idx_train=np.arange(20, 40), **toy)
    digits = read_npz(path, "train")
    np.testing.assert_array_equal(digits.X, native)
    np.testing.assert_array_equal(digits.mnist_index, np.arange(20, 40))
    np.testing.assert_array_equal(read_npz(path, "test").X, toy["X_test"])


def test_npz_damage(tmp_path: Path, toy: dict) -> None:
    path = tmp_path / "mnist.npz"
    np.savez(path, X_train=toy["X_train"], labels=toy["y_train"])
    with pytest.raises(DataFileError, match=r"mnist\.npz.*found \['X_train', 'labels'\]"):
        read_npz(path, "train")
    np.savez(path, **toy)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataFileError, match=r"mnist\.npz"):
        read_npz(path, "train")


def test_npz_never_unpickles(tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    trap = np.array([{"a": 1}], dtype=object)
    np.savez(path, X_train=trap, y_train=trap)
    with pytest.raises(DataFileError, match="allow_pickle=False"):
        read_npz(path, "train")


@pytest.mark.parametrize("header", ["", "filename,label\n"])
@pytest.mark.parametrize("separator", [" ", ",", ", ", "\t"])
def test_png_folder(tmp_path: Path, header: str, separator: str) -> None:
    rng = np.random.RandomState(0)
    images = rng.randint(0, 256, (4, 9, 9, 3)).astype(np.uint8)
    lines = []
    for number in (2, 0, 3, 1):
        Image.fromarray(images[number]).save(tmp_path / f"{number:05}.png")
        lines.append(f"{number:05}.png{separator}{number}\n")
    labels = tmp_path / "labels.csv"
    labels.write_text(header + "".join(lines))
    digits = read_png_folder(tmp_path, labels)
    assert digits.y.tolist() == [2, 0, 3, 1]
    np.testing.assert_array_equal(digits.X, images[[2, 0, 3, 1]])


def test_png_folder_damage(tmp_path: Path) -> None:
    inside = tmp_path / "train"
    inside.mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "secret.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(inside / "a.png")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(inside / "b.png")
    (inside / "c.png").write_bytes((inside / "a.png").read_bytes()[:40])
    labels = inside / "labels.txt"
    for content, message in [
        ("../secret.png 1\n", "leads out of the folder"),
        (f"{tmp_path}/secret.png 1\n", "leads out of the folder"),
        ("a.png 1\nmissing.png 2\n", r"names 'missing\.png'"),
        ("a.png 1\nb.png 2\n", r"b\.png: has shape \(9, 9\)"),
        ("c.png 1\n", r"c\.png: not a complete image file"),
        ("a.png 1\na.png x\n", "line 2 must be 'filename label'"),
        ("a.png 11\n", "digits 0 to 9"),
        ("\n", "holds no rows"),
    ]:
        labels.write_text(content)
        with pytest.raises(DataFileError, match=message):
            read_png_folder(inside, labels)


def test_check_digits_understands_one_hot_ten_and_unit_floats() -> None:
    images = np.linspace(0, 1, 3 * 16).reshape(3, 4, 4)
    digits = check_digits(images, np.eye(10)[[7, 0, 9]], Path("f"))
    assert digits.y.tolist() == [7, 0, 9]
    np.testing.assert_array_equal(digits.X, np.rint(images * 255))
    ten = check_digits(images, np.array([[10], [1], [9]]), Path("f"), ten_is_zero=True)
    assert ten.y.tolist() == [0, 1, 9]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 4, 4)), np.arange(3), "2 images but 3 labels"),
        (np.zeros((2, 16)), np.arange(2), r"got \(2, 16\)"),
        (np.zeros((2, 4, 4)) - 1, np.arange(2), "pixel values"),
        (np.zeros((2, 4, 4)) + np.nan, np.arange(2), "pixel values"),
        (np.zeros((2, 4, 4)), np.array([0, 10]), "digits 0 to 9, got 0 to 10"),
        (np.zeros((2, 4, 4)), np.array([0.5, 1]), "whole numbers"),
        (np.zeros((2, 4, 4)), np.array(["a", "b"]), "whole numbers"),
    ],
)
def test_check_digits_refuses(images: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataFileError, match=message):
        check_digits(images, labels, Path("f"))
