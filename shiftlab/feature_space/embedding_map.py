"""Describe rows of two vocabularies by the mean vector of their words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes

from shiftlab.adapter import Adapter, Facts
from shiftlab.domain import Domain
from shiftlab.feature_space.dictionary_map import read_dictionary
from shiftlab.feature_space.two_spaces import Sample, TwoSpaces

__all__ = ["EmbeddingMap"]

Floats = NDArray[np.float64]


class EmbeddingMap(TwoSpaces):
    r"""Map counts of words to the vectors of the words, of which both sides share a space.

    .. math:: x \mapsto \frac{(x - \bar x)\, V_S}{\sigma_S}, \qquad
              z \mapsto \frac{(z - \bar z)\, V_T R}{\sigma_T}

    with the words' vectors as rows of :math:`V_S` and :math:`V_T`, scaled to length one, and
    :math:`\sigma` the root mean square of the mapped rows. Vectors that were aligned before
    are taken as they are (R = I). Vectors of two models of their own are turned onto each
    other by a seed dictionary, with :math:`R = \arg\min \lVert V_T R - M V_S \rVert` over the
    words that it holds and orthogonal matrices (Procrustes).

    It helps where near words in the space mean the same in both languages, and the label follows
    from what a text is about. It harms where opposite words have nearly the same vector, as good
    and bad often have, and where the class shares differ, since each side is centred. Weight
    the counts first (tf-idf): frequent words without meaning pull all means together. On reviews in
    a made-up vocabulary it won 13.3 ± 2.9 points over 50 labelled target rows alone, of which a
    source of noise won 4.2: in few dimensions the target's labels go farther
    (``experiments/two_vocabularies``).

    Time O(nnz k + m k^2 + k^3) for k dimensions and m seed words, memory O((d + e + n) k).

    Parameters
    ----------
    estimator : estimator, default=None
        Trained on the mapped source and the mapped labelled target rows.
    source_vectors : array of shape (d_source, k), default=None
        A vector for each column of the source; zeros for words without one. Required.
    target_vectors : array of shape (d_target, k), default=None
        A vector for each column of the target. Required.
    dictionary : mapping, default=None
        As in `DictionaryMap`; None where the vectors share a space already.

    Attributes
    ----------
    source_ : Domain
        The mapped source, followed by the mapped labelled rows of the target.
    rotation_ : ndarray of shape (k, k)
        R.

    Raises
    ------
    ValueError
        In `fit`, without vectors, or where their shapes do not match the columns or each other.

    References
    ----------
    C. Xing, D. Wang, C. Liu, Y. Lin, "Normalized Word Embedding and Orthogonal Transform for
    Bilingual Word Translation", NAACL 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from shiftlab import Domain, EmbeddingMap
    >>> rng = np.random.default_rng(20)
    >>> y = np.arange(600) % 2
    >>> X = rng.poisson(0.3 + 0.3 * (np.arange(40) // 10 == y[:, None]))  # ten words for each class
    >>> order = rng.permutation(40)
    >>> Z, w = X[300:600, order], y[300:600]  # other texts, in other words
    >>> target = Domain(Z, w, labelled=np.arange(300) < 2)
    >>> X, y = X[:300], y[:300]
    >>> noise, shuffled = rng.permuted(X, axis=0), rng.permutation(y)  # words as often, in any text
    >>> V = rng.normal(size=(4, 10))[np.arange(40) // 10] + rng.normal(size=(40, 10)) / 3
    >>> model = EmbeddingMap(LogisticRegression(), source_vectors=V, target_vectors=V[order])
    >>> [round(model.fit(s, target).score(Z, w), 1) for s in ((X, y), (noise, y), (X, shuffled))]
    [0.8, 0.7, 0.7]
    >>> round(LogisticRegression().fit(Z[:2], w[:2]).score(Z, w), 1)  # without a source
    0.6
    """

    facts: ClassVar[Facts] = Facts(
        handles=("feature_space",),
        assumes="Vectors of the words lie in one space, and the label follows from their mean.",
        target_labels="optional",
        inputs=("dense", "sparse", "frame"),
        bridge="word_vectors",
        own_columns=True,
        cost="O(nnz k) for vectors of length k",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Adapter._parameter_constraints,
        "source_vectors": ["array-like", None],
        "target_vectors": ["array-like", None],
        "dictionary": [Mapping, None],
    }
    _sparse: ClassVar[bool] = True

    rotation_: Floats

    def __init__(
        self,
        estimator: Any = None,
        *,
        source_vectors: Any = None,
        target_vectors: Any = None,
        dictionary: Any = None,
    ) -> None:
        self.estimator = estimator
        self.source_vectors = source_vectors
        self.target_vectors = target_vectors
        self.dictionary = dictionary

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        V, W = (
            _vectors(given, domain.n_features, name)
            for given, domain, name in (
                (self.source_vectors, source, "source_vectors"),
                (self.target_vectors, target, "target_vectors"),
            )
        )
        if V.shape[1] != W.shape[1]:
            raise ValueError(
                f"EmbeddingMap: source_vectors have {V.shape[1]} dimensions, but target_vectors "
                f"{W.shape[1]}; both must be of one length"
            )
        self.rotation_ = np.eye(V.shape[1])
        if self.dictionary is not None:
            words = read_dictionary(self.dictionary, source, target, "EmbeddingMap")
            seeds = np.flatnonzero(np.diff(words.indptr))
            self.rotation_ = orthogonal_procrustes(W[seeds], words[seeds] @ V)[0]
        self._sides = [V, W @ self.rotation_]
        return super()._adapt(source, target)

    def _learn(self, source: Sample, target: Sample) -> None:
        self._means, self._scales = [], []
        for side, vectors in zip((source, target), self._sides, strict=True):
            mapped = np.asarray(side.X @ vectors)
            mean = side.weight @ mapped
            size = float(np.sqrt(side.weight @ ((mapped - mean) ** 2).sum(axis=1)))
            self._means.append(mean)
            self._scales.append(size if size > 0 else 1.0)

    def _map_source(self, X: Any) -> Any:
        return (np.asarray(X @ self._sides[0]) - self._means[0]) / self._scales[0]

    def _map_target(self, X: Any) -> Any:
        return (np.asarray(X @ self._sides[1]) - self._means[1]) / self._scales[1]


def _vectors(given: Any, n_columns: int, name: str) -> Floats:
    if given is None:
        raise ValueError(
            f"EmbeddingMap needs {name}, a vector for each column of that side. Without vectors, a "
            "dictionary is enough for DictionaryMap, and parallel rows for CrossLingualLSA."
        )
    try:
        vectors = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"EmbeddingMap: {name} must be rows of numbers: {error}") from error
    if vectors.ndim != 2 or len(vectors) != n_columns:
        raise ValueError(
            f"EmbeddingMap: {name} must have shape ({n_columns}, k), with a row for each column of "
            f"that side; got shape {vectors.shape}"
        )
    if not np.isfinite(vectors).all() or not vectors.any():
        raise ValueError(
            f"EmbeddingMap: {name} must be finite numbers, and not all zero: zeros stand for a "
            "column without a vector"
        )
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)
