from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import chisquare

from shiftlab.data import DataFileError
from shiftlab.data.generated import _split_faces
from shiftlab.data.glyphs import (
    GlyphBank,
    glyphs_from_fonts,
    glyphs_from_npz,
    legible,
    normalise,
)
from shiftlab.data.render import STREET, SYNTH, _colours, render_digits
from shiftlab.data.warp import blur, glyph_maps, sample_glyphs, smooth_fields


@pytest.fixture(scope="module")
def bank() -> GlyphBank:
    return glyphs_from_fonts()


def asymmetric(size: int = 32) -> np.ndarray:
    picture = np.zeros((1, size, size), np.float32)
    picture[0, 2:-2, 2:-2] = np.random.RandomState(0).uniform(size=(size - 4, size - 4))
    return picture


def draw(picture: np.ndarray, size: int, **options: object) -> np.ndarray:
    given = {"height": size, "aspect": 1.0, "angle": 0.0, "centre": (size / 2, size / 2)} | options
    arrays = {key: np.array([value], dtype=float) for key, value in given.items()}
    return sample_glyphs(picture, np.array([0]), glyph_maps(**arrays), size)[0]


def test_a_quarter_turn_is_rot90() -> None:
    picture = asymmetric()
    turned = draw(picture, 32, angle=np.pi / 2)
    np.testing.assert_allclose(turned, np.rot90(picture[0], -1), atol=1e-4)


def test_a_shift_by_whole_pixels_is_roll() -> None:
    picture = asymmetric()
    moved = draw(picture, 32, centre=(18, 15))
    np.testing.assert_allclose(moved, np.roll(picture[0], (-1, 2), axis=(0, 1)), atol=1e-4)


def test_perspective_maps_a_planted_point_where_the_formula_says() -> None:
    tilt = np.array([[0.01, -0.005]])
    maps = glyph_maps(
        np.array([20.0]), np.array([0.8]), np.zeros(1), np.array([[16.0, 16.0]]), tilt
    )
    u, v, w = maps[0] @ np.array([22.0, 12.0, 1.0])
    depth = 1 + 0.01 * 6 - 0.005 * -4
    assert w == pytest.approx(depth)
    assert (u / w, v / w) == pytest.approx((6 / 16 / depth, -4 / 20 / depth))


def test_blur_is_a_gaussian_filter_away_from_the_border() -> None:
    images = np.random.RandomState(0).uniform(size=(3, 32, 32)).astype(np.float32)
    sigma = np.array([0.0, 0.8, 1.5])
    blurred = blur(images, sigma)
    np.testing.assert_allclose(blurred[0], images[0], atol=1e-6)
    for number in (1, 2):
        expected = gaussian_filter(images[number].astype(float), sigma[number], truncate=8)
        inside = slice(8, -8)
        np.testing.assert_allclose(
            blurred[number][inside, inside], expected[inside, inside], atol=2e-3
        )
    coloured = blur(np.stack([images] * 3, axis=3), sigma)
    for channel in range(3):
        np.testing.assert_allclose(coloured[..., channel], blurred, atol=1e-5)


def test_smooth_fields_stay_in_range_and_are_smooth() -> None:
    fields = smooth_fields(np.random.RandomState(0), 50, 32, 4)
    assert np.abs(fields).max() <= 1
    # Neighbouring pixels are 1/8 of a cell apart, and two corners differ by at most 2.
    assert np.abs(np.diff(fields, axis=1)).max() <= 2 / 8 + 1e-6


def test_normalised_glyphs_have_one_height_and_an_empty_border() -> None:
    for height, width in [(40, 9), (7, 30), (28, 28)]:
        picture = np.zeros((60, 60), np.uint8)
        picture[5 : 5 + height, 3 : 3 + width] = 255
        rows, columns = np.nonzero(normalise(picture))
        assert (rows.min(), rows.max()) == (2, 29)
        expected = np.clip(round(width * 28 / height), 1, 30)
        assert columns.max() - columns.min() + 1 == expected
        assert abs((columns.max() + columns.min()) / 2 - 15.5) <= 0.5
    assert normalise(np.zeros((9, 9), np.uint8)) is None


def test_faces_that_are_no_digits_are_dropped(bank: GlyphBank) -> None:
    good = bank.with_faces(np.unique(bank.faces)[:12])
    boxes = np.zeros((10, 32, 32), np.uint8)
    boxes[:, 2:30, 6:26] = 255  # what a fallback font draws for every character
    first = good.images[np.lexsort((good.labels, good.faces))][:10]
    shuffled = np.roll(first, 3, axis=0)  # digits, but the wrong ones
    hairline = (first > 250).astype(np.uint8) * 20
    extra = np.concatenate([boxes, shuffled, hairline])
    mixed = GlyphBank(
        np.concatenate([good.images, extra]),
        np.concatenate([good.labels, np.tile(np.arange(10), 3)]),
        np.concatenate([good.faces, np.repeat([9001, 9002, 9003], 10)]),
    )
    kept = np.unique(legible(mixed).faces)
    assert set(kept).isdisjoint({9001, 9002, 9003})
    assert len(kept) >= 11


def test_unusable_font_files_are_skipped_and_none_at_all_is_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    with pytest.raises(FileNotFoundError, match="no font with legible digits"):
        glyphs_from_fonts([broken])


def test_damaged_glyph_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "chars74k_fnt.npz"
    np.savez(path, X_train=np.zeros((2, 28, 28), np.uint8))
    with pytest.raises(DataFileError, match=r"chars74k_fnt\.npz"):
        glyphs_from_npz(path, "train")


def test_domains_and_splits_share_no_face(bank: GlyphBank) -> None:
    parts = [half for domain in (0, 1) for half in _split_faces(bank, domain).values()]
    faces = [set(part.faces.tolist()) for part in parts]
    assert sum(len(f) for f in faces) == len(set().union(*faces)) == bank.n_faces
    assert all(faces)


def test_rendering_is_seeded(bank: GlyphBank) -> None:
    one = render_digits(40, bank, SYNTH, random_state=1)
    again = render_digits(40, bank, SYNTH, random_state=1)
    other = render_digits(40, bank, SYNTH, random_state=2)
    np.testing.assert_array_equal(one.X, again.X)
    np.testing.assert_array_equal(one.y, again.y)
    assert (one.X != other.X).mean() > 0.5
    assert one.X.dtype == np.uint8
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    render_digits(5, bank, STREET, random_state=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("style", [SYNTH, STREET], ids=["synth", "street"])
def test_labels_follow_the_prior(bank: GlyphBank, style) -> None:
    y = render_digits(2000, bank, style, random_state=0).y
    expected = 2000 * np.array(style.prior)
    assert chisquare(np.bincount(y, minlength=10), expected).pvalue > 0.001


@pytest.mark.parametrize("style", [SYNTH, STREET], ids=["synth", "street"])
def test_digit_and_background_differ_by_the_least_contrast(style) -> None:
    background, colour = _colours(np.random.RandomState(0), 5000, style)
    assert 0 <= background.min() <= background.max() <= 1
    assert 0 <= colour.min() <= colour.max() <= 1
    assert np.linalg.norm(background - colour, axis=1).min() >= style.contrast[0] - 1e-9
    luma = (background - colour) @ [0.299, 0.587, 0.114]
    assert np.abs(luma).min() >= 0.12 - 1e-6


@pytest.mark.parametrize("style", [SYNTH, STREET], ids=["synth", "street"])
def test_the_label_can_be_read_from_the_image(bank: GlyphBank, style) -> None:
    from skimage.feature import hog
    from sklearn.linear_model import LogisticRegression

    digits = render_digits(1800, bank, style, random_state=0)
    options = {"pixels_per_cell": (8, 8), "cells_per_block": (2, 2), "channel_axis": -1}
    features = np.stack([hog(image, **options) for image in digits.X])
    model = LogisticRegression(C=10, max_iter=200).fit(features[:1400], digits.y[:1400])
    # Chance is .1 (.19 for street numbers). Real SVHN gives about .8 with 6,000 images.
    assert model.score(features[1400:], digits.y[1400:]) > 0.55


def test_bad_arguments_are_named(bank: GlyphBank) -> None:
    with pytest.raises(ValueError, match="n must be at least 0, got -1"):
        render_digits(-1, bank, SYNTH)
    few = bank.labels < 8
    lacking = GlyphBank(bank.images[few], bank.labels[few], bank.faces[few])
    with pytest.raises(ValueError, match=r"it lacks \[8, 9\]"):
        render_digits(5, lacking, SYNTH)
    assert len(render_digits(0, bank, SYNTH).y) == 0


@pytest.mark.slow
def test_ten_thousand_images_take_less_than_twenty_seconds(bank: GlyphBank) -> None:
    from time import process_time

    start = process_time()
    digits = render_digits(10_000, bank, STREET, random_state=0)
    assert process_time() - start < 20
    assert len(digits.y) == 10_000
