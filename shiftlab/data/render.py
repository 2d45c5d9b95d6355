"""Render digits in colour: synthetic digits and street numbers, seeded and versioned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from shiftlab.feature_space.images import LUMA

from .glyphs import GlyphBank
from .raw import RawDigits
from .warp import blur, glyph_maps, sample_glyphs, smooth_fields

__all__ = ["RENDER_VERSION", "STREET", "SYNTH", "SceneStyle", "render_digits"]

RENDER_VERSION = 1  # raise it with any change that alters a pixel: it names the cache files
_SIZE = 32
_BATCH = 500
_LEAST_LUMA = 0.12  # between a digit and its background, of 1

Floats = NDArray[np.float64]
Range = tuple[float, float]


@dataclass(frozen=True)
class SceneStyle:
    """Ranges that the scenes of one domain are drawn from, uniformly.

    Parameters
    ----------
    height : tuple of float
        Height of a digit in pixels of a 32-pixel image.
    aspect : tuple of float
        Horizontal stretch of a digit.
    angle : tuple of float
        Rotation of the line of digits in degrees.
    tilt : float
        Largest perspective coefficient per pixel, 0 for none.
    jitter : float
        Largest offset of the middle in pixels.
    neighbour : float
        Probability of a digit on each side.
    gap : tuple of float
        Distance to a neighbour in units of a digit's height.
    contrast : tuple of float
        Distance between digit and background, in RGB of 0 to 1.
    saturation : float
        How far colours stray from gray: 1 is any colour, 0 is gray.
    outline : float
        Probability of a stroke of another colour around the digits.
    lighting : float
        Strength of uneven light over the image.
    clutter : float
        Strength of coloured structure in the background.
    blur : tuple of float
        Standard deviation of the blur in pixels.
    noise : tuple of float
        Standard deviation of pixel noise, in units of 0 to 1.
    prior : tuple of float
        Probabilities of the digits 0 to 9.

    Examples
    --------
    >>> from shiftlab.data.render import STREET
    >>> round(sum(STREET.prior), 6)
    1.0
    """

    height: Range
    aspect: Range
    angle: Range
    tilt: float
    jitter: float
    neighbour: float
    gap: Range
    contrast: Range
    saturation: float
    outline: float
    lighting: float
    clutter: float
    blur: Range
    noise: Range
    prior: tuple[float, ...] = (0.1,) * 10


SYNTH = SceneStyle(
    height=(17, 28), aspect=(0.75, 1.15), angle=(-28, 28), tilt=0.0, jitter=3.0,
    neighbour=0.5, gap=(0.62, 0.85), contrast=(0.35, 1.2), saturation=1.0, outline=0.35,
    lighting=0.08, clutter=0.12, blur=(0.2, 1.1), noise=(0.0, 0.02),
)  # fmt: skip

# House numbers favour low digits. These are the counts in SVHN's official training file.
_SVHN_COUNTS = (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659)
STREET = SceneStyle(
    height=(19, 32), aspect=(0.6, 1.05), angle=(-12, 12), tilt=0.009, jitter=2.2,
    neighbour=0.75, gap=(0.54, 0.74), contrast=(0.27, 0.8), saturation=0.2, outline=0.2,
    lighting=0.16, clutter=0.08, blur=(0.6, 1.7), noise=(0.008, 0.035),
    prior=tuple(count / sum(_SVHN_COUNTS) for count in _SVHN_COUNTS),
)  # fmt: skip


def _colours(rng: np.random.RandomState, n: int, style: SceneStyle) -> tuple[Floats, Floats]:
    """Background and digit colours (n, 3) at the style's distance from each other."""
    gray = rng.uniform(0.08, 0.92, (n, 1))
    background = gray + style.saturation * (rng.uniform(0, 1, (n, 3)) - gray)
    direction = rng.normal(size=(n, 3)) * style.saturation + rng.choice([-1.0, 1.0], (n, 1))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    step = direction * rng.uniform(*style.contrast, (n, 1))
    # Of the two ways along the direction, the one that stays inside the colour cube more.
    ahead, behind = np.clip(background + step, 0, 1), np.clip(background - step, 0, 1)
    further = np.abs(ahead - background).sum(1) >= np.abs(behind - background).sum(1)
    colour = np.where(further[:, None], ahead, behind)
    # Near the cube's faces clipping can eat the contrast; black or white always has enough.
    # Two colours of one brightness would leave nothing to see in gray.
    flat = np.linalg.norm(colour - background, axis=1) < style.contrast[0]
    flat |= np.abs((colour - background) @ LUMA) < _LEAST_LUMA
    bold = np.where((background @ LUMA)[:, None] < 0.5, 1.0, 0.0)
    return background, np.where(flat[:, None], bold, colour)


def _pick(
    rng: np.random.RandomState, labels: NDArray[np.int64], faces: NDArray[np.int64], bank: GlyphBank
) -> NDArray[np.int64]:
    """Row of the bank for each (label, face)."""
    row = np.full((10, int(bank.faces.max()) + 1), -1, dtype=np.int64)
    row[bank.labels, bank.faces] = np.arange(len(bank.labels))
    picked = row[labels, faces]
    # A face may lack a digit; any face that has it stands in.
    for i in np.flatnonzero(picked < 0):
        picked[i] = rng.choice(np.flatnonzero(bank.labels == labels[i]))
    return picked


def _over(
    scene: NDArray[np.float32], mask: NDArray[np.float32], colour: Floats
) -> NDArray[np.float32]:
    alpha = mask[..., None]
    painted: NDArray[np.float32] = scene + alpha * (
        colour[:, None, None, :].astype(np.float32) - scene
    )
    return painted


def _batch(
    rng: np.random.RandomState,
    labels: NDArray[np.int64],
    bank: GlyphBank,
    fill: NDArray[np.float32],
    stroke: NDArray[np.float32],
    style: SceneStyle,
) -> NDArray[np.uint8]:
    n = len(labels)
    background, colour = _colours(rng, n, style)
    outlined = rng.uniform(size=n) < style.outline
    stroke_colour = np.clip(background + 0.5 * rng.uniform(-1, 1, (n, 3)), 0, 1)
    height, aspect = rng.uniform(*style.height, n), rng.uniform(*style.aspect, n)
    angle = np.deg2rad(rng.uniform(*style.angle, n))
    tilt = rng.uniform(-style.tilt, style.tilt, (n, 2))
    centre = _SIZE / 2 + rng.uniform(-style.jitter, style.jitter, (n, 2))
    faces = rng.choice(np.unique(bank.faces), n)

    light = smooth_fields(rng, n, _SIZE, 2)[..., None] * style.lighting
    structure = np.stack([smooth_fields(rng, n, _SIZE, 6) for _ in range(3)], axis=3)
    strength = style.clutter * rng.uniform(0, 1, (n, 1, 1, 1)).astype(np.float32)
    scene = background[:, None, None, :].astype(np.float32) + strength * structure
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for side in (-1, 1, 0):  # the digit itself last, over its neighbours
        shown = np.ones(n, dtype=bool) if side == 0 else rng.uniform(size=n) < style.neighbour
        digit = labels if side == 0 else rng.randint(0, 10, n)
        which = _pick(rng, digit, faces, bank)
        apart = side * rng.uniform(*style.gap, n) * height * aspect
        # The glyph fills 28 of the 32 pixels of its picture.
        maps = glyph_maps(
            height * fill.shape[1] / 28, aspect, angle, centre + along * apart[:, None], tilt
        )
        visible = shown[:, None, None]
        ring = sample_glyphs(stroke, which, maps, _SIZE) * (visible & outlined[:, None, None])
        scene = _over(scene, ring, stroke_colour)
        scene = _over(scene, sample_glyphs(fill, which, maps, _SIZE) * visible, colour)
    scene = blur(scene + light, rng.uniform(*style.blur, n))
    sigma = rng.uniform(*style.noise, (n, 1, 1, 1)).astype(np.float32)
    scene = scene + sigma * rng.standard_normal(scene.shape).astype(np.float32)
    image: NDArray[np.uint8] = np.clip(np.rint(scene * 255), 0, 255).astype(np.uint8)
    return image


def render_digits(
    n: int,
    bank: GlyphBank,
    style: SceneStyle,
    *,
    random_state: int | np.random.RandomState | None = None,
) -> RawDigits:
    """Render ``n`` scenes with a digit in the middle.

    A line of one to three digits of one typeface in one colour is placed, rotated and
    stretched; a stroke may surround it; light is uneven, the background has structure;
    then the image is blurred and noise is added. The label is the middle digit.
    The idea of such scenes for ``SYNTH`` is SynthDigits' [1]_. About 0.3 ms an image.

    Parameters
    ----------
    n : int
        Number of images.
    bank : GlyphBank
        Typefaces to draw from.
    style : SceneStyle
        ``SYNTH``, ``STREET`` or another.
    random_state : int, RandomState or None, default=None
        Seed; the same seed and bank give the same bits.

    Returns
    -------
    RawDigits
        Images (n, 32, 32, 3) and their digits.

    Raises
    ------
    ValueError
        If ``n`` is negative or the bank lacks a digit.

    References
    ----------
    .. [1] Y. Ganin and V. Lempitsky, "Unsupervised domain adaptation by
       backpropagation", ICML 2015.

    Examples
    --------
    >>> from shiftlab.data.glyphs import glyphs_from_fonts
    >>> from shiftlab.data.render import SYNTH, render_digits
    >>> render_digits(4, glyphs_from_fonts(), SYNTH, random_state=0).X.shape
    (4, 32, 32, 3)
    """
    if n < 0:
        raise ValueError(f"n must be at least 0, got {n}")
    missing = sorted(set(range(10)) - set(bank.labels.tolist()))
    if missing:
        raise ValueError(f"bank must hold all ten digits, it lacks {missing}")
    from scipy.ndimage import grey_dilation

    rng = check_random_state(random_state)
    fill = bank.images.astype(np.float32) / np.float32(255)
    # Pictures keep a border of two empty pixels, which the stroke must leave empty too.
    stroke = grey_dilation(fill, size=(1, 3, 3)).astype(np.float32)
    labels = rng.choice(10, size=n, p=style.prior).astype(np.int64)
    out = np.empty((n, _SIZE, _SIZE, 3), dtype=np.uint8)
    for start in range(0, n, _BATCH):
        rows = slice(start, start + _BATCH)
        out[rows] = _batch(rng, labels[rows], bank, fill, stroke, style)
    return RawDigits(out, labels)
