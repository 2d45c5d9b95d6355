"""Shapes of digits in many typefaces, the raw material of the rendered domains."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .formats import reading
from .raw import Split

__all__ = [
    "GLYPH_SIZE",
    "GlyphBank",
    "glyphs_from_fonts",
    "glyphs_from_npz",
    "legible",
    "normalise",
]

GLYPH_SIZE = 32
_HEIGHT = 28  # of a normalised glyph, leaving two empty pixels above and below
_LEAST_INK = 0.09
_MAX_FACES = 240
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GlyphBank:
    """White digits on black, cut to their outline and scaled to one height.

    Parameters
    ----------
    images : ndarray of shape (n, 32, 32), uint8
        Glyphs, 28 pixels high and centred.
    labels : ndarray of shape (n,), int64
        Digits.
    faces : ndarray of shape (n,), int64
        Typeface of each glyph: whole faces go to one split, never half of one.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.data.glyphs import GlyphBank
    >>> bank = GlyphBank(np.zeros((10, 32, 32), np.uint8), np.arange(10), np.zeros(10, int))
    >>> bank.n_faces
    1
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    faces: NDArray[np.int64]

    @property
    def n_faces(self) -> int:
        """Number of typefaces."""
        return len(np.unique(self.faces))

    def fingerprint(self) -> str:
        """Hash of the content: equal banks render equal images."""
        digest = hashlib.sha256()
        for part in (self.images, self.labels, self.faces):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]

    def with_faces(self, faces: NDArray[np.int64]) -> GlyphBank:
        """The part of the bank that belongs to ``faces``."""
        keep = np.isin(self.faces, faces)
        return GlyphBank(self.images[keep], self.labels[keep], self.faces[keep])


def normalise(glyph: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Cut a glyph to its outline and scale it to 28 pixels height in a 32 x 32 frame.

    The aspect ratio is kept unless the result would be wider than the frame.

    Parameters
    ----------
    glyph : ndarray of shape (H, W), uint8
        White on black.

    Returns
    -------
    ndarray of shape (32, 32), uint8, or None
        None for an empty glyph.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.data.glyphs import normalise
    >>> bar = np.zeros((20, 20), np.uint8); bar[5:12, 9] = 255
    >>> np.flatnonzero(normalise(bar).max(axis=1)).size
    28
    """
    from PIL import Image

    rows, columns = np.flatnonzero(glyph.max(axis=1)), np.flatnonzero(glyph.max(axis=0))
    if rows.size == 0:
        return None
    cut = glyph[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    width = int(np.clip(round(cut.shape[1] * _HEIGHT / cut.shape[0]), 1, GLYPH_SIZE - 2))
    scaled = Image.fromarray(cut).resize((width, _HEIGHT), Image.Resampling.BILINEAR)
    frame = np.zeros((GLYPH_SIZE, GLYPH_SIZE), dtype=np.uint8)
    left, top = (GLYPH_SIZE - width) // 2, (GLYPH_SIZE - _HEIGHT) // 2
    frame[top : top + _HEIGHT, left : left + width] = np.asarray(scaled)
    return frame


def legible(bank: GlyphBank) -> GlyphBank:
    """Keep the faces that look like digits.

    A face stays when all ten digits are there, are ten different pictures, cover at
    least 9 % of the frame on average (dotted and hairline faces vanish in a blur), and
    at least eight of them correlate more with the mean picture of their own digit than
    with that of any other. That drops symbol, dingbat and fallback fonts, which
    carry the code points of digits but other pictures.

    Parameters
    ----------
    bank : GlyphBank
        Any bank.

    Returns
    -------
    GlyphBank
        The kept faces.
    """
    if len(bank.labels) == 0:
        return bank
    flat = bank.images.reshape(len(bank.images), -1).astype(np.float32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    means = np.stack([flat[bank.labels == digit].mean(axis=0) for digit in range(10)])
    right = (flat @ means.T).argmax(axis=1) == bank.labels
    kept = []
    for face in np.unique(bank.faces):
        mine = bank.faces == face
        complete = np.array_equal(np.sort(bank.labels[mine]), np.arange(10))
        if bank.images[mine].mean() < _LEAST_INK * 255:
            continue
        if complete and right[mine].sum() >= 8 and len(np.unique(flat[mine], axis=0)) == 10:
            kept.append(face)
    return bank.with_faces(np.array(kept, dtype=np.int64))


def glyphs_from_npz(path: Path, split: Split) -> GlyphBank:
    """Legible glyphs of one half of ``chars74k_fnt.npz``.

    Parameters
    ----------
    path : Path
        File with ``X_<split>`` (n, H, W), ``y_<split>`` and ``font_<split>``.
    split : {"train", "test"}
        Which half; the two share no face.

    Returns
    -------
    GlyphBank
        The glyphs.
    """
    with reading(path, ".npz"), np.load(path, allow_pickle=False) as archive:
        images = archive[f"X_{split}"]
        labels = archive[f"y_{split}"].astype(np.int64)
        faces = archive[f"font_{split}"].astype(np.int64)
    shapes = [normalise(image) for image in images]
    keep = np.array([shape is not None for shape in shapes])
    stack = np.stack([shape for shape in shapes if shape is not None])
    return legible(GlyphBank(stack, labels[keep], faces[keep]))


def font_files() -> list[Path]:
    """Font files: those that matplotlib ships, then those installed on the system."""
    import matplotlib
    from matplotlib.font_manager import findSystemFonts

    shipped = sorted(Path(matplotlib.get_data_path(), "fonts", "ttf").glob("*.ttf"))
    names = {path.name for path in shipped}
    system = (Path(name) for name in findSystemFonts())
    # Sorted by file name, so that the same fonts in other folders give the same bank.
    extra = {path.name: path for path in system if path.name not in names}
    return shipped + [extra[name] for name in sorted(extra)]


def _face(path: Path) -> list[NDArray[np.uint8]] | None:
    from PIL import Image, ImageDraw, ImageFont

    try:
        font = ImageFont.truetype(str(path), 56)
        shapes = []
        for digit in "0123456789":
            canvas = Image.new("L", (128, 128))
            ImageDraw.Draw(canvas).text((36, 24), digit, fill=255, font=font)
            shape = normalise(np.asarray(canvas))
            if shape is None:
                return None
            shapes.append(shape)
    except (OSError, ValueError):  # a bitmap, damaged or empty font: one face fewer
        return None
    return shapes


def glyphs_from_fonts(files: Iterable[Path] | None = None) -> GlyphBank:
    """Legible digits of font files.

    Parameters
    ----------
    files : iterable of Path, default=None
        Font files; None takes those that matplotlib ships and those of the system,
        the first 240 usable ones.

    Returns
    -------
    GlyphBank
        One face per file; unusable files are left out.

    Raises
    ------
    FileNotFoundError
        If no file holds legible digits.

    Examples
    --------
    >>> from shiftlab.data.glyphs import glyphs_from_fonts
    >>> glyphs_from_fonts().n_faces >= 8
    True
    """
    images: list[NDArray[np.uint8]] = []
    n_faces = 0
    for path in font_files() if files is None else files:
        shapes = _face(path)
        if shapes is not None:
            images += shapes
            n_faces += 1
        if n_faces == _MAX_FACES:
            break
    labels, faces = np.tile(np.arange(10), n_faces), np.repeat(np.arange(n_faces), 10)
    stack = np.stack(images) if images else np.empty((0, GLYPH_SIZE, GLYPH_SIZE), np.uint8)
    bank = legible(GlyphBank(stack, labels, faces))
    if bank.n_faces == 0:
        raise FileNotFoundError("no font with legible digits was found; matplotlib ships some")
    _log.debug("%d of %d faces are legible", bank.n_faces, n_faces)
    return bank
