"""The rows that the tests work on: one matrix, one split, one set of labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from shiftlab.diagnosis.columns import Column
from shiftlab.stats.learners import BlendedClassifier, BlendedRegressor
from shiftlab.stats.two_sample import halves

__all__ = [
    "Half",
    "Sample",
    "embed_sparse",
    "encode",
    "make_half",
    "own_random_state",
    "split_rows",
]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

LEVELS = 20
WIDEST = 300
COMPONENTS = 50
LARGEST = 1e100  # squares of larger values overflow


@dataclass(frozen=True)
class Half:
    """One half of the rows: matrices, responses and which responses are known.

    Responses are class codes or, in regression, numbers.
    """

    source: Floats
    target: Floats
    source_y: NDArray[Any]
    target_y: NDArray[Any]
    source_known: NDArray[np.bool_]
    target_known: NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """Both halves: ``learn`` for models, ``test`` for tests. No row is in both.

    ``learn_rows`` and ``test_rows`` are the positions of the rows, each a pair
    (source, target). ``domain_classifier`` and ``model`` are estimators to use instead of the
    default learners, or None.
    """

    learn: Half
    test: Half
    learn_rows: tuple[Rows, Rows]
    test_rows: tuple[Rows, Rows]
    task: str
    n_classes: int
    n_permutations: int
    alpha: float
    rng: np.random.Generator
    domain_classifier: Any = None
    model: Any = None

    def seed(self) -> int:
        """Draw a seed for a learner."""
        return int(self.rng.integers(2**31))

    def swapped(self) -> Sample:
        """Return the sample with the halves in each other's place."""
        return replace(
            self,
            learn=self.test,
            test=self.learn,
            learn_rows=self.test_rows,
            test_rows=self.learn_rows,
        )

    def new_domain_classifier(self) -> Any:
        """Make an unfitted classifier that is to tell source from target."""
        return self._fresh(self.domain_classifier) or BlendedClassifier(random_state=self.seed())

    def new_model(self) -> Any:
        """Make an unfitted model of Y."""
        default = BlendedRegressor if self.task == "regression" else BlendedClassifier
        return self._fresh(self.model) or default(random_state=self.seed())

    def _fresh(self, estimator: Any) -> Any:
        if estimator is None:
            return None
        copy = clone(estimator)
        seeds = {n: self.seed() for n in copy.get_params() if n.endswith("random_state")}
        # Not every estimator takes missing values.
        filled = SimpleImputer(strategy="median", keep_empty_features=True)
        return make_pipeline(filled, copy.set_params(**seeds))


def own_random_state(random_state: int | np.random.RandomState | None) -> np.random.RandomState:
    """Read a random state; None is fresh entropy, and NumPy's global generator stays as it was."""
    state: np.random.RandomState = check_random_state(
        np.random.RandomState() if random_state is None else random_state
    )
    return state


def make_half(
    matrices: tuple[Floats, Floats],
    responses: tuple[NDArray[Any], NDArray[Any]],
    known: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    rows: tuple[Rows, Rows],
) -> Half:
    """Take rows of both sides."""
    (xs, xt), (ys, yt), (ks, kt), (rs, rt) = matrices, responses, known, rows
    return Half(xs[rs], xt[rt], ys[rs], yt[rt], ks[rs], kt[rt])


def split_rows(known: tuple[NDArray[np.bool_], NDArray[np.bool_]], rng: np.random.Generator) -> Any:
    """Halve both sides, and the labelled rows of each: few labels must not fall on one half.

    Returns (learn rows, test rows), each a pair (source, target).
    """
    learn, test = [], []
    for side in known:
        parts = [np.flatnonzero(side), np.flatnonzero(~side)]
        chosen = [[part[rows] for rows in halves(part.size, rng)] for part in parts]
        learn.append(np.concatenate([first for first, _ in chosen]))
        test.append(np.concatenate([second for _, second in chosen]))
    return tuple(learn), tuple(test)


def encode(columns: list[Column], seed: int) -> tuple[Floats, Floats, list[int], list[str]]:
    """Turn columns into one matrix per side.

    Numbers stay (NaN and infinity become missing), categories become indicators of their
    20 most frequent levels, missing values get an indicator, constant columns go. Whatever
    is chosen is chosen from both samples together, blind to which row came from where, so
    that permutation tests on the result stay exact.

    Parameters
    ----------
    columns : list of Column
        What to encode.
    seed : int
        For the components of very wide matrices.

    Returns
    -------
    tuple of (source, target, owners, notes)
        ``owners`` holds, for every column of the matrices, the position of the column it was
        made from; it is empty where the matrices hold components of many columns.
    """
    parts: list[Floats] = []
    owners: list[int] = []
    notes: list[str] = []
    infinite: list[str] = []
    n = columns[0].source.size if columns else 0
    for position, column in enumerate(columns):
        pooled = np.concatenate([column.source, column.target])
        if np.isinf(pooled).any():
            infinite.append(column.name)
            pooled = np.where(np.isinf(pooled), np.nan, pooled)
        pooled = np.clip(pooled, -LARGEST, LARGEST)
        missing = np.isnan(pooled)
        if column.kind == "number":
            if not missing.all() and np.ptp(pooled[~missing]) > 0:
                parts.append(pooled[:, None])
        elif not missing.all():
            codes = pooled[~missing].astype(np.intp)
            frequency = np.bincount(codes, minlength=len(column.levels))
            top = np.argsort(-frequency, kind="stable")[:LEVELS]
            top = top[frequency[top] > 0]
            # the last of an exhaustive set of indicators follows from the others
            top = top[:-1] if top.size == np.count_nonzero(frequency) else top
            parts.append((pooled[:, None] == top).astype(np.float64))
        if 0 < missing.sum() < missing.size:
            parts.append(missing[:, None].astype(np.float64))
        owners += [position] * (sum(p.shape[1] for p in parts) - len(owners))
    if infinite:
        notes.append(
            f"Infinite values count as missing in: {', '.join(infinite[:5])}"
            + (f" and {len(infinite) - 5} more." if len(infinite) > 5 else ".")
        )
    matrix = np.hstack(parts) if parts else np.empty((0, 0))
    if matrix.shape[1] > WIDEST:
        n_components = min(COMPONENTS, matrix.shape[0] - 1)
        notes.append(
            f"{matrix.shape[1]} columns are tested together through their {n_components} main "
            "components."
        )
        filled = np.nan_to_num(StandardScaler().fit_transform(matrix), nan=0.0)
        matrix, owners = PCA(n_components, random_state=seed).fit_transform(filled), []
    return matrix[:n], matrix[n:], owners, notes


def embed_sparse(source: Any, target: Any, seed: int) -> tuple[Floats, Floats]:
    """Singular components of both samples together."""
    stacked = sp.vstack([source, target]).astype(np.float64)
    if stacked.count_nonzero() == 0:
        return np.empty((source.shape[0], 0)), np.empty((target.shape[0], 0))
    n_components = max(1, min(COMPONENTS, min(stacked.shape) - 1))
    scores = TruncatedSVD(n_components, random_state=seed).fit_transform(stacked)
    return scores[: source.shape[0]], scores[source.shape[0] :]
