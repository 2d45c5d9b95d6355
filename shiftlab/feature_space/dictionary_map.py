"""Translate the target's words into the source's by a bilingual dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from shiftlab.adapter import Adapter, Facts
from shiftlab.domain import Domain
from shiftlab.feature_space.two_spaces import Sample, TwoSpaces

__all__ = ["DictionaryMap", "read_dictionary"]


def read_dictionary(
    dictionary: Mapping[Any, Any], source: Domain, target: Domain, who: str
) -> sp.csr_matrix:
    """Return which word of the target is which of the source, as a matrix.

    Parameters
    ----------
    dictionary : mapping
        Target column -> source column, or a list of them, or a mapping of them to weights. Columns
        are names where the side has names, and else positions. Entries with a column that is
        not there are passed over: a dictionary may hold more words than the texts.
    source, target : Domain
        The two sides.
    who : str
        The adapter, for the message.

    Returns
    -------
    CSR matrix of shape (d_target, d_source)
        Rows sum to one, or are zero for words without an entry.

    Raises
    ------
    ValueError
        If no entry has a column of either side, or a weight is not positive.
    """
    at = [
        {str(n): j for j, n in enumerate(d.feature_names or map(str, range(d.n_features)))}
        for d in (source, target)
    ]
    rows, columns, values = [], [], []
    for word, meant in dictionary.items():
        if isinstance(meant, Mapping):
            entry = {str(k): v for k, v in meant.items()}
        else:
            several = isinstance(meant, list | tuple | set | frozenset)
            entry = {str(k): 1.0 for k in (meant if several else [meant])}
        if not all(isinstance(v, Real) and 0 < float(v) < np.inf for v in entry.values()):
            raise ValueError(
                f"{who}: weights of dictionary[{word!r}] must be positive numbers; got {meant}"
            )
        known = {k: v for k, v in entry.items() if k in at[0]}
        if str(word) in at[1]:
            for k, v in known.items():
                rows.append(at[1][str(word)])
                columns.append(at[0][k])
                values.append(v / sum(known.values()))
    if not rows:
        names = [list(side)[:4] for side in at]
        raise ValueError(
            f"{who}: no entry of the dictionary has a column of the target (such as {names[1]}) "
            f"for one of the source (such as {names[0]}); got {list(dictionary.items())[:3]}. "
            "Columns are names, or positions where there are no names"
        )
    shape = (target.n_features, source.n_features)
    return sp.csr_matrix((values, (rows, columns)), shape=shape)


class DictionaryMap(TwoSpaces):
    r"""Count the target's words as the source's words that they mean.

    .. math:: z \mapsto z M, \qquad \sum_j M_{ij} = 1

    with :math:`M_{ij} > 0` where the dictionary translates word i of the target by word j of the
    source; several translations share a count. Source rows keep the words that are a translation
    of something, the others could only mislead. Sparse counts stay sparse.

    It helps where the dictionary covers the words that tell the label, and words mean the same in
    both vocabularies. It harms little where it is short, as words without an entry are left out;
    words with several meanings bring noise. `coverage_` says how much of the target's text is
    translated. On reviews in a made-up vocabulary a full dictionary won 14.4 ± 2.1 points over 50
    labelled target rows alone, 500 words 8.3 ± 1.5; a source of noise, shuffled labels and shuffled
    entries lost up to 5 (``experiments/two_vocabularies``).

    Time and memory O(nnz).

    Parameters
    ----------
    estimator : estimator, default=None
        Trained on the source in the words that can be translated, and on labelled target rows.
    dictionary : mapping, default=None
        Target column -> source column, or a list of them, or a mapping of them to weights; names
        where there are names, else positions. Required.

    Attributes
    ----------
    source_ : Domain
        The source in the common words, followed by the translated labelled rows of the target.
    words_ : int ndarray of shape (k,)
        The source's columns that are kept.
    coverage_ : float
        Share of the target's counts that is translated.

    Raises
    ------
    ValueError
        In `fit`, without a dictionary, or where none of its entries has columns of both sides.

    References
    ----------
    X. Wan, "Co-training for cross-lingual sentiment classification", ACL 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from shiftlab import DictionaryMap, Domain
    >>> english, german = np.array([[2, 0, 1], [0, 1, 1]]), np.array([[0, 3], [1, 0]])
    >>> model = DictionaryMap(dictionary={0: 1, 1: [0, 2]}).fit((english, [1, 0]), german)
    >>> model.transform(german).tolist()
    [[1.5, 0.0, 1.5], [0.0, 1.0, 0.0]]

    What it is worth, beside a source of noise and shuffled labels:

    >>> rng = np.random.default_rng(1)
    >>> y = np.arange(600) % 2
    >>> X = rng.poisson(0.3 + 0.3 * (np.arange(40) // 10 == y[:, None]))  # ten words for each class
    >>> order = rng.permutation(40)
    >>> Z, w = X[300:600, order], y[300:600]  # other texts, in other words
    >>> target = Domain(Z, w, labelled=np.arange(300) < 2)
    >>> X, y = X[:300], y[:300]
    >>> noise, shuffled = rng.permuted(X, axis=0), rng.permutation(y)  # words as often, in any text
    >>> model = DictionaryMap(LogisticRegression(), dictionary=dict(enumerate(order.tolist())))
    >>> [round(model.fit(s, target).score(Z, w), 1) for s in ((X, y), (noise, y), (X, shuffled))]
    [0.8, 0.5, 0.5]
    >>> round(LogisticRegression().fit(Z[:2], w[:2]).score(Z, w), 1)  # without a source
    0.6
    """

    facts: ClassVar[Facts] = Facts(
        handles=("feature_space",),
        assumes="Words of one side have their meaning in words of the other.",
        target_labels="optional",
        inputs=("dense", "sparse", "frame"),
        bridge="dictionary",
        own_columns=True,
        cost="O(nnz)",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Adapter._parameter_constraints,
        "dictionary": [Mapping, None],
    }
    _sparse: ClassVar[bool] = True

    words_: NDArray[np.intp]
    coverage_: float

    def __init__(self, estimator: Any = None, *, dictionary: Any = None) -> None:
        self.estimator = estimator
        self.dictionary = dictionary

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        if self.dictionary is None:
            raise ValueError(
                "DictionaryMap needs dictionary={target word: source word}. Without one, parallel "
                "rows are enough for CrossLingualLSA, and vectors of the words for EmbeddingMap."
            )
        self._translation = read_dictionary(self.dictionary, source, target, "DictionaryMap")
        return super()._adapt(source, target)

    def _learn(self, source: Sample, target: Sample) -> None:
        self.words_ = np.flatnonzero(np.asarray(self._translation.sum(axis=0)).ravel())
        self._translation = self._translation[:, self.words_]
        counts = np.asarray(abs(target.X).sum(axis=0)).ravel()
        known = np.asarray(self._translation.sum(axis=1)).ravel() > 0
        self.coverage_ = float(counts[known].sum() / max(counts.sum(), 1e-300))

    def _map_source(self, X: Any) -> Any:
        return X[:, self.words_]

    def _map_target(self, X: Any) -> Any:
        return X @ self._translation
