from __future__ import annotations

import sys

import numpy as np
import pytest

from shiftlab.data.mnist_m import (
    blend_difference,
    load_photos,
    make_mnist_m,
    photo_region,
    sample_patches,
)
from shiftlab.data.raw import RawDigits


def coordinate_photo(height: int, width: int) -> np.ndarray:
    """Pixels that say where they are: row, column, and a mark in the third channel."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, 9)], axis=2).astype(np.uint8)


def test_blend_is_the_absolute_difference_in_every_channel() -> None:
    rng = np.random.RandomState(0)
    digits = rng.randint(0, 256, (3, 5, 4)).astype(np.uint8)
    patches = rng.randint(0, 256, (3, 5, 4, 3)).astype(np.uint8)
    blended = blend_difference(digits, patches)
    for index in np.ndindex(3, 5, 4, 3):
        assert blended[index] == abs(int(patches[index]) - int(digits[index[:3]]))


def test_blend_with_black_is_the_patch_and_twice_is_not_lost() -> None:
    patches = np.random.RandomState(0).randint(0, 256, (2, 6, 6, 3)).astype(np.uint8)
    black = np.zeros((2, 6, 6), np.uint8)
    np.testing.assert_array_equal(blend_difference(black, patches), patches)
    np.testing.assert_array_equal(blend_difference(black + 255, patches), 255 - patches)


def test_blend_names_a_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"patches must have shape \(2, 6, 6, 3\)"):
        blend_difference(np.zeros((2, 6, 6), np.uint8), np.zeros((2, 6, 6), np.uint8))


def test_patches_are_unbroken_cuts_that_reach_every_border() -> None:
    photo = coordinate_photo(40, 50)
    patches = sample_patches([photo], 4000, 12, np.random.RandomState(0)).astype(int)
    tops, lefts = patches[:, 0, 0, 0], patches[:, 0, 0, 1]
    for number in range(0, 4000, 97):
        cut = photo[tops[number] :, lefts[number] :][:12, :12]
        np.testing.assert_array_equal(patches[number], cut)
    assert (tops.min(), tops.max()) == (0, 28)
    assert (lefts.min(), lefts.max()) == (0, 38)


def test_regions_of_the_splits_share_no_pixel_and_cover_the_photo() -> None:
    photo = coordinate_photo(30, 100)
    train, test = photo_region(photo, "train"), photo_region(photo, "test")
    assert set(np.unique(train[..., 1])).isdisjoint(np.unique(test[..., 1]))
    assert train.shape[1] + test.shape[1] == 100


def test_a_photo_that_is_too_small_is_named() -> None:
    with pytest.raises(ValueError, match="at least 28 pixels"):
        sample_patches([np.zeros((20, 90, 3), np.uint8)], 5, 28, np.random.RandomState(0))


def test_made_images_are_seeded_and_keep_labels_and_index() -> None:
    rng = np.random.RandomState(0)
    mnist = RawDigits(rng.randint(0, 256, (50, 28, 28)).astype(np.uint8), np.arange(50) % 10)
    index = np.array([7, 31, 2, 2])
    one = make_mnist_m(mnist, index, "train", random_state=3)
    again = make_mnist_m(mnist, index, "train", random_state=3)
    other = make_mnist_m(mnist, index, "train", random_state=4)
    np.testing.assert_array_equal(one.X, again.X)
    assert (one.X != other.X).any()
    np.testing.assert_array_equal(one.y, mnist.y[index])
    np.testing.assert_array_equal(one.mnist_index, index)


def test_the_patch_under_a_made_image_comes_from_the_region_of_its_split() -> None:
    mnist = RawDigits(np.zeros((40, 28, 28), np.uint8), np.zeros(40, int))  # only background
    for half in ("train", "test"):
        made = make_mnist_m(mnist, np.arange(40), half, random_state=0)
        for image in made.X[:10]:
            assert any(contains(photo_region(photo, half), image) for photo in load_photos())


def contains(region: np.ndarray, patch: np.ndarray) -> bool:
    height, width = region.shape[0] - 27, region.shape[1] - 27
    corner = (region[:height, :width] == patch[0, 0]).all(axis=2)
    return any((region[r : r + 28, c : c + 28] == patch).all() for r, c in np.argwhere(corner))


def test_missing_scikit_image_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ImportError, match=r"pip install 'shiftlab\[data\]'"):
        load_photos()
