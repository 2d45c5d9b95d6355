"""Where the rows of a study of tables come from, and how they are prepared."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from shiftlab.data.gaussian_shifts import GAUSSIAN_SHIFTS, make_gaussian_shift
from shiftlab.data.imbalanced import IMBALANCED, TARGETS, make_imbalanced
from shiftlab.data.tables import (
    AMAZON_REVIEWS,
    OFFICE_CALTECH,
    load_amazon_reviews,
    load_office_caltech,
    table_signature,
)
from shiftlab.domain import Domain
from shiftlab.experiments.seeds import derive_seed

__all__ = ["DATA", "PREPARATIONS", "DataSet", "Pair", "prepared_pair"]

N_TOPICS = 400  # components of the truncated SVD


@dataclass(frozen=True)
class Pair:
    """One transfer of a study.

    Parameters
    ----------
    source : Domain
        Labelled training rows.
    target : Domain
        All rows of the target with their labels, which the study hides from the methods.
    scored : bool array of shape (n,)
        Rows of the target that count.
    trained : bool array of shape (n,) or None
        Rows that the target-supervised reference trains on; None where it is measured by
        cross-validation on the rows that count.
    """

    source: Domain
    target: Domain
    scored: NDArray[np.bool_]
    trained: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class DataSet:
    """The pairs of a study.

    Parameters
    ----------
    pairs : tuple of (str, str)
        All of them.
    load : callable
        ``(source, target, seed, root)`` to a `Pair`.
    signature : callable
        ``root`` to a name of the exact data; raises where they are not there.
    seeded : bool, default=False
        Whether the rows depend on the seed.
    """

    pairs: tuple[tuple[str, str], ...]
    load: Callable[[str, str, int, str | None], Pair]
    signature: Callable[[str | None], str]
    seeded: bool = False


def _office(source: str, target: str, seed: int, root: str | None) -> Pair:
    tested = load_office_caltech(target, root)
    return Pair(load_office_caltech(source, root), tested, np.ones(len(tested), dtype=bool))


def _reviews(source: str, target: str, seed: int, root: str | None) -> Pair:
    tested = load_amazon_reviews(target, root=root)
    scored = tested.group == 1
    trained = load_amazon_reviews(source, split=0, root=root)
    return Pair(trained, tested, scored, ~scored)


def _gaussians(source: str, target: str, seed: int, root: str | None) -> Pair:
    drawn, tested = make_gaussian_shift(
        target,  # type: ignore[arg-type]
        random_state=derive_seed("draw", target, seed),
    )
    return Pair(drawn, tested, np.ones(len(tested), dtype=bool))


def _imbalanced(source: str, target: str, seed: int, root: str | None) -> Pair:
    drawn, tested = make_imbalanced(source, target, derive_seed("draw", f"{source}/{target}", seed))
    return Pair(drawn, tested, np.ones(len(tested), dtype=bool))


DATA: Mapping[str, DataSet] = {
    "office_caltech": DataSet(
        tuple(permutations(OFFICE_CALTECH, 2)),
        _office,
        functools.partial(table_signature, "office_caltech"),
    ),
    "amazon_reviews": DataSet(
        tuple(permutations(AMAZON_REVIEWS, 2)),
        _reviews,
        functools.partial(table_signature, "amazon_reviews"),
    ),
    "shift_types": DataSet(
        tuple(("source", kind) for kind in GAUSSIAN_SHIFTS),
        _gaussians,
        lambda root: "generated=1",
        seeded=True,
    ),
    "imbalance": DataSet(
        tuple((name, target) for name in IMBALANCED for target in TARGETS),
        _imbalanced,
        lambda root: "generated=1",
        seeded=True,
    ),
}
"""Name of a study's data to where they come from."""


def _as_they_are(source: Any, target: Any) -> tuple[Any, Any]:
    return source, target


def _zscore(source: Any, target: Any) -> tuple[Any, Any]:
    """Divide each row by its sum, then give each column mean 0 and variance 1 in each domain."""
    return _standard(source), _standard(target)


def _standard(counts: Any) -> NDArray[np.float64]:
    X = np.asarray(counts, dtype=np.float64)
    sums = X.sum(axis=1, keepdims=True)
    X = X / np.where(sums > 0, sums, 1.0)
    spread = X.std(axis=0)
    return np.asarray((X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def _words(source: Any, target: Any) -> tuple[Any, Any]:
    """Take log(1 + count) and scale each row to unit length."""
    from sklearn.preprocessing import normalize

    return normalize(sp.csr_matrix(source).log1p()), normalize(sp.csr_matrix(target).log1p())


def _topics(source: Any, target: Any) -> tuple[Any, Any]:
    """Reduce the words' rows of both domains together to the leading singular directions."""
    from sklearn.decomposition import TruncatedSVD

    words = sp.vstack(_words(source, target), format="csr")
    reduced = TruncatedSVD(N_TOPICS, random_state=0).fit_transform(words)
    n = source.shape[0]
    return reduced[:n], reduced[n:]


PREPARATIONS: Mapping[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "none": _as_they_are,
    "zscore": _zscore,
    "words": _words,
    "svd": _topics,
}
"""Name of a preparation to what it does; none of them looks at a label."""


# The cells of a pair come one after the other, and two preparations may take turns.
@functools.lru_cache(maxsize=2)
def prepared_pair(
    data: str, prepare: str, source: str, target: str, seed: int, root: str | None
) -> Pair:
    """Load a pair and prepare its rows.

    Parameters
    ----------
    data : str
        A name of `DATA`.
    prepare : str
        A name of `PREPARATIONS`.
    source, target : str
        The pair.
    seed : int
        Of the draw, where rows are drawn.
    root : str or None
        Folder of local data.

    Returns
    -------
    Pair
    """
    pair = DATA[data].load(source, target, seed, root)
    X_source, X_target = PREPARATIONS[prepare](pair.source.X, pair.target.X)
    return Pair(
        Domain(X_source, pair.source.y, name=source),
        Domain(X_target, pair.target.y, name=target),
        pair.scored,
        pair.trained,
    )
