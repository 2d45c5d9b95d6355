from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shiftlab.data import to_common_images
from shiftlab.feature_space.images import luma, resize_images, resize_matrix


@pytest.mark.parametrize(("old", "new"), [(16, 28), (28, 32), (32, 28), (8, 28), (32, 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_is_pillows_bilinear_within_one_level(old: int, new: int, channels: int) -> None:
    shape = (20, old, old) if channels == 1 else (20, old, old, 3)
    images = np.random.RandomState(old + new).randint(0, 256, shape).astype(np.uint8)
    expected = [
        np.asarray(Image.fromarray(image).resize((new, new), Image.Resampling.BILINEAR))
        for image in images
    ]
    difference = resize_images(images, new).astype(int) - np.stack(expected)
    assert np.abs(difference).max() <= 1


def test_enlarging_reproduces_a_ramp_between_the_outer_pixel_centres() -> None:
    position = (np.arange(28) + 0.5) * 16 / 28 - 0.5
    inside = (position >= 0) & (position <= 15)
    interpolated = resize_matrix(16, 28) @ np.arange(16)
    np.testing.assert_allclose(interpolated[inside], position[inside], atol=1e-5)


def test_resize_weights_are_averages() -> None:
    for old, new in [(16, 28), (32, 28), (28, 5)]:
        matrix = resize_matrix(old, new)
        assert (matrix >= 0).all()
        np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)
        # Antialiased: when shrinking, no input pixel is skipped.
        assert (matrix.sum(axis=0) > 0).all()


def test_rows_do_not_influence_each_other_across_chunks() -> None:
    images = np.random.RandomState(0).randint(0, 256, (4100, 6, 6)).astype(np.uint8)
    together = resize_images(images, 9)
    for row in (0, 4095, 4096, 4099):
        np.testing.assert_array_equal(together[row], resize_images(images[row : row + 1], 9)[0])


def test_gray_is_repeated_and_colour_becomes_bt601_luma() -> None:
    rng = np.random.RandomState(0)
    gray = rng.randint(0, 256, (5, 12, 12)).astype(np.uint8)
    colour = to_common_images(gray, size=12, channels=3)
    for channel in range(3):
        np.testing.assert_array_equal(colour[..., channel], gray)
    np.testing.assert_array_equal(to_common_images(colour, size=12), gray)

    rgb = rng.randint(0, 256, (5, 12, 12, 3)).astype(np.uint8)
    expected = [
        [round(0.299 * r + 0.587 * g + 0.114 * b) for r, g, b in image.reshape(-1, 3).tolist()]
        for image in rgb
    ]
    np.testing.assert_array_equal(luma(rgb).reshape(5, -1), expected)


def test_input_is_not_changed_and_not_copied_without_need() -> None:
    images = np.random.RandomState(0).randint(0, 256, (3, 28, 28)).astype(np.uint8)
    before = images.copy()
    assert np.shares_memory(to_common_images(images), images)
    to_common_images(images, size=32, channels=3)[:] = 0
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.full((2, 4, 4), 200.0), {}, r"uint8, or float in 0..1.*got float64 in 200..200"),
        (np.zeros((2, 4, 4), np.int64), {}, "got int64"),
        (np.full((2, 4, 4), "a"), {}, "got <U1"),
        (np.zeros((2, 4, 4), np.uint8), {"size": (4, 0)}, "size must be a positive integer"),
        (np.zeros((4, 4), np.uint8), {}, r"got \(4, 4\)"),
        (np.zeros((2, 4, 4, 4), np.uint8), {}, r"got \(2, 4, 4, 4\)"),
        (np.zeros((2, 0, 4), np.uint8), {}, "at least one pixel"),
        (np.zeros((2, 4, 4), np.uint8), {"channels": 2}, "channels must be 1 or 3, got 2"),
        (np.zeros((2, 4, 4), np.uint8), {"size": 0}, "size must be a positive integer"),
        (np.zeros((2, 4, 4), np.uint8), {"size": 2.5}, "size must be a positive integer"),
    ],
)
def test_bad_input_is_named(images: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_common_images(images, **options)


def test_encodings_become_bytes_and_sides_may_differ() -> None:
    images = np.random.RandomState(0).randint(0, 256, (3, 6, 4)).astype(np.uint8)
    for other in (images / 255, (images / 255).astype(np.float32), images.astype(np.uint16) * 257):
        np.testing.assert_array_equal(to_common_images(other, (6, 4)), images)
    flags = to_common_images(images > 100, (6, 4))
    np.testing.assert_array_equal(flags, np.where(images > 100, 255, 0))
    wide = to_common_images(images, (3, 8))
    assert wide.shape == (3, 3, 8)
    tall = to_common_images(images.transpose(0, 2, 1), (8, 3))
    np.testing.assert_array_equal(tall.transpose(0, 2, 1), wide)


def test_no_images_stay_no_images() -> None:
    assert to_common_images(np.empty((0, 16, 16), np.uint8), 28, 3).shape == (0, 28, 28, 3)


@pytest.mark.data
def test_usps_from_16_pixels_is_the_28_pixel_version_in_use(real_digits) -> None:
    with np.load(real_digits / "digits" / "usps.npz", allow_pickle=False) as usps:
        resized = to_common_images(usps["X16_test"], 28).astype(int)
        assert np.abs(resized - usps["X_test"]).max() <= 1
