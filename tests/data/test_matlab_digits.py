from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from shiftlab.data import DataFileError
from shiftlab.data.matlab import read_cell_mat, read_paired_mat, read_svhn_mat


def colour(n: int, size: int = 32) -> np.ndarray:
    return np.random.RandomState(n).randint(0, 256, (n, size, size, 3)).astype(np.uint8)


def test_svhn_has_the_row_number_last_and_writes_zero_as_ten(tmp_path: Path) -> None:
    X, path = colour(7), tmp_path / "train_32x32.mat"
    savemat(path, {"X": np.moveaxis(X, 0, 3), "y": np.array([[10, 1, 2, 3, 9, 10, 5]]).T})
    digits = read_svhn_mat(path)
    np.testing.assert_array_equal(digits.X, X)
    assert digits.y.tolist() == [0, 1, 2, 3, 9, 0, 5]


def test_svhn_with_as_many_rows_as_pixels(tmp_path: Path) -> None:
    X, path = colour(32), tmp_path / "train_32x32.mat"
    savemat(path, {"X": np.moveaxis(X, 0, 3), "y": np.ones((32, 1))})
    np.testing.assert_array_equal(read_svhn_mat(path).X, X)


@pytest.mark.parametrize("shape", [(28, 28, 1), (28, 28), (784,)])
def test_digit_five_mnist(tmp_path: Path, toy: dict, shape: tuple[int, ...]) -> None:
    path = tmp_path / "mnist_data.mat"
    savemat(
        path,
        {
            "train_28": (toy["X_train"] / 255.0).reshape(20, *shape),
            "test_28": (toy["X_test"] / 255.0).reshape(10, *shape),
            "train_32": np.zeros((20, 32, 32)),
            "test_32": np.zeros((10, 32, 32)),
            "label_train": np.eye(10)[toy["y_train"]],
            "label_test": np.eye(10)[toy["y_test"]],
        },
    )
    for half in ("train", "test"):
        digits = read_paired_mat(path, half)
        np.testing.assert_array_equal(digits.X, toy[f"X_{half}"])
        np.testing.assert_array_equal(digits.y, toy[f"y_{half}"])


def test_digit_five_mnist_m_and_synth(tmp_path: Path) -> None:
    X, y = colour(12, 28), np.arange(12) % 10
    one_hot, plain = tmp_path / "mnistm_with_label.mat", tmp_path / "syn_number.mat"
    labels = np.eye(10)[y]
    savemat(
        one_hot,
        {"train": X[:8], "label_train": labels[:8], "test": X[8:], "label_test": labels[8:]},
    )
    savemat(
        plain,
        {
            "train_data": X[:8],
            "train_label": y[:8, None],
            "test_data": X[8:],
            "test_label": y[8:, None],
        },
    )
    for path in (one_hot, plain):
        train, test = read_paired_mat(path, "train"), read_paired_mat(path, "test")
        np.testing.assert_array_equal(np.concatenate([train.X, test.X]), X)
        np.testing.assert_array_equal(np.concatenate([train.y, test.y]), y)


def test_digit_five_usps(tmp_path: Path, toy: dict) -> None:
    cell = np.empty((2, 2), dtype=object)
    for row, half in enumerate(("train", "test")):
        cell[row, 0] = toy[f"X_{half}"][:, None] / 255.0
        cell[row, 1] = toy[f"y_{half}"][:, None]
    path = tmp_path / "usps_28x28.mat"
    savemat(path, {"dataset": cell})
    for half in ("train", "test"):
        digits = read_cell_mat(path, half)
        np.testing.assert_array_equal(digits.X, toy[f"X_{half}"])
        np.testing.assert_array_equal(digits.y, toy[f"y_{half}"])


def test_other_variables_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "odd.mat"
    savemat(path, {"images": np.zeros((3, 4))})
    for read in (
        lambda: read_svhn_mat(path),
        lambda: read_paired_mat(path, "train"),
        lambda: read_cell_mat(path, "train"),
    ):
        with pytest.raises(DataFileError, match=r"odd\.mat: needs .* found images \(3, 4\)"):
            read()


@pytest.mark.parametrize("keep", [0, 60, 200, 1500])
def test_truncated_file_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "train_32x32.mat"
    savemat(path, {"X": np.moveaxis(colour(5), 0, 3), "y": np.ones((5, 1))}, do_compression=True)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataFileError, match=r"train_32x32\.mat"):
        read_svhn_mat(path)


def test_hdf5_file_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "train_32x32.mat"
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    path.write_bytes(header + bytes(600))
    with pytest.raises(DataFileError, match=r"train_32x32\.mat: .*7\.3"):
        read_svhn_mat(path)
