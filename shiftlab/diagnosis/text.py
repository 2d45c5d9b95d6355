"""Text: words counted, weighted by TF-IDF, and compared one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import hypergeom
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from shiftlab.diagnosis.findings import FeatureShift
from shiftlab.domain import Domain

__all__ = ["read_texts", "tfidf_weights", "word_records"]

MOST_COUNTED = 20_000  # words that enter the TF-IDF weights


def read_texts(
    source: Any, target: Any, label: str | None = None
) -> tuple[Domain, Domain, list[str]]:
    """Count the words of two samples of texts.

    The vocabulary is that of both samples together: words of two letters or more, in lower
    case, that at least two texts contain, and of those the 20,000 most used. Time is linear in
    the length of the texts.

    Parameters
    ----------
    source, target : list of str, (texts, y), data frame, Series, Bunch, Domain or word counts
        Texts; a data frame must have one column besides the label. A sparse or dense matrix of
        non-negative numbers is taken for counts that were made before.
    label : str or None, default=None
        The label's column, when data frames are given. The target may lack it.

    Returns
    -------
    tuple of (Domain, Domain, list of str)
        Domains whose ``X`` is a CSR matrix of counts, one column per word and the words as
        names, and notes.

    Raises
    ------
    ValueError
        If a data frame has several columns, a text is no text, one side holds texts and the
        other counts, counts are negative, or no word is in two texts.

    Examples
    --------
    >>> first, second, _ = read_texts((["good book", "bad book"], [1, 0]), ["good pan", "bad pan"])
    >>> first.feature_names, first.X.toarray().tolist(), second.n_labelled
    (('bad', 'book', 'good', 'pan'), [[0, 1, 1, 0], [1, 1, 0, 0]], 0)
    """
    notes: list[str] = []
    sides = [_split(g, label, role) for g, role in ((source, "source"), (target, "target"))]
    are_texts = [not isinstance(x, Domain) for x, _ in sides]
    if all(are_texts):
        texts = [
            _clean(x, role, notes) for (x, _), role in zip(sides, ("source", "target"), strict=True)
        ]
        vectorizer = CountVectorizer(min_df=2, max_features=MOST_COUNTED)
        try:
            vectorizer.fit([*texts[0], *texts[1]])
        except ValueError as error:
            raise ValueError(
                "no word is in two or more of the texts, so there is nothing to compare"
            ) from error
        names = [str(w) for w in vectorizer.get_feature_names_out()]
        pair = [
            _as_counts(t, like, vectorizer, names)
            for t, (_, like) in zip(texts, sides, strict=True)
        ]
    elif any(are_texts):
        kinds = ["texts" if t else "a matrix" for t in are_texts]
        raise ValueError(
            f"source holds {kinds[0]} and target {kinds[1]}; features='tfidf' needs texts on both "
            "sides, or word counts with the same columns on both"
        )
    else:
        pair = [_counted(d, role) for (d, _), role in zip(sides, ("source", "target"), strict=True)]
    return pair[0], pair[1], notes


def _split(given: Any, label: str | None, role: str) -> tuple[Any, Any]:
    """Texts (or a Domain of numbers) and what holds the labels: a Domain, an array or None."""
    if nw.dependencies.is_into_dataframe(given):
        columns = [str(c) for c in getattr(given, "column_names", given.columns)]
        given = Domain.of(given, label=label if label in columns or role == "source" else None)
    elif label is not None and role == "source":
        return Domain.of(given, label=label), None  # raises, naming what is wrong
    if isinstance(given, Domain) and given.is_frame:
        table = nw.from_native(given.X, eager_only=True)
        if table.shape[1] != 1:
            raise ValueError(
                f"features='tfidf' compares one column of texts; the {role} has "
                f"{table.shape[1]} columns: {', '.join(map(repr, table.columns[:5]))}. Pass the "
                "column of the texts alone, with the label's if there is one"
            )
        return table[:, 0].to_list(), given
    if isinstance(given, Domain):
        return given, None
    texts, y = given, None
    if isinstance(given, Mapping) and "data" in given:
        texts, y = given["data"], given.get("target")
    elif isinstance(given, tuple) and len(given) == 2:
        texts, y = given
    if nw.dependencies.is_into_series(texts):
        texts = nw.from_native(texts, series_only=True).to_list()
    elif isinstance(texts, np.ndarray) and texts.ndim == 1:
        texts = texts.tolist()
    if isinstance(texts, (list, tuple)) and not (texts and all(map(_is_row, texts))):
        return list(texts), y
    return Domain.of(given), None


def _is_row(value: Any) -> bool:
    return isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str)


def _clean(texts: list[Any], role: str, notes: list[str]) -> list[str]:
    if not texts:
        raise ValueError(f"{role} has no rows, so there is nothing to compare")
    missing = [t is None or t != t for t in texts]
    for text, gone in zip(texts, missing, strict=True):
        if not gone and not isinstance(text, str):
            raise ValueError(
                f"features='tfidf' needs texts; the {role} holds {text!r} of type "
                f"{type(text).__name__}"
            )
    if any(missing):
        notes.append(f"{sum(missing):,} missing texts of the {role} count as empty.")
    return ["" if gone else text for text, gone in zip(texts, missing, strict=True)]


def _as_counts(texts: list[str], like: Any, vectorizer: Any, names: list[str]) -> Domain:
    X = vectorizer.transform(texts)
    if isinstance(like, Domain):
        return like.with_(X=X, feature_names=names)
    return Domain(X, like, feature_names=names)


def _counted(domain: Domain, role: str) -> Domain:
    """Counts that were made before, as a CSR matrix."""
    if domain.is_image:
        raise ValueError(f"features='tfidf' is for text; the {role} holds images")
    values = domain.X.data if domain.is_sparse else domain.X
    if values.size and not (np.isfinite(values).all() and values.min() >= 0):
        raise ValueError(
            f"features='tfidf' needs word counts; the {role} holds negative or infinite numbers"
        )
    return domain if domain.is_sparse else domain.with_(X=sp.csr_matrix(domain.X))


def tfidf_weights(source: Any, target: Any) -> tuple[Any, Any]:
    r"""Weight counts by TF-IDF, fitted on both samples together.

    A count :math:`c > 0` of a word that :math:`m` of all :math:`n` texts contain becomes
    :math:`(1 + \ln c)(1 + \ln\frac{1+n}{1+m})`, and each row is scaled to length 1. Which row
    came from where is not used. O(number of non-zeros).

    Parameters
    ----------
    source, target : sparse matrices of shape (n, d)
        Counts.

    Returns
    -------
    tuple of two CSR matrices

    References
    ----------
    G. Salton, C. Buckley, "Term-weighting Approaches in Automatic Text Retrieval", Information
    Processing & Management 1988.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> a, b = tfidf_weights(sp.csr_matrix([[1, 1], [0, 1]]), sp.csr_matrix([[0, 3]]))
    >>> bool(a[0, 0] > a[0, 1]), float(b[0, 1])
    (True, 1.0)
    """
    weights = TfidfTransformer(sublinear_tf=True).fit(sp.vstack([source, target]))
    return weights.transform(source), weights.transform(target)


def word_records(
    names: Sequence[str], words: Sequence[str], source: Any, target: Any
) -> list[FeatureShift]:
    r"""Compare words by the share of rows that contain them.

    If :math:`k` of all :math:`N` rows contain a word and rows are dealt at random, the number
    of the target's rows among them is hypergeometric. The p-value is twice the tail on the
    side of the observed number, which is valid at any counts. All words are done at once:
    O(d + number of non-zeros), and about a second for 2,000 words.

    Parameters
    ----------
    names : sequence of str
        Names of the columns of the matrices.
    words : sequence of str
        Those to compare.
    source, target : sparse matrices of shape (n, len(names))
        A word is in a row where its value is not zero.

    Returns
    -------
    list of FeatureShift
        With raw p-values and the difference of the shares as effect; still to be corrected
        for the number of words.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> source, target = sp.csr_matrix([[1, 0]] * 30), sp.csr_matrix([[1, 2]] * 30)
    >>> records = word_records(["the", "pan"], ["the", "pan"], source, target)
    >>> [(r.feature, r.effect, bool(r.p_value < 1e-9)) for r in records]
    [('the', 0.0, False), ('pan', 1.0, True)]
    """
    where = {name: i for i, name in enumerate(names)}
    chosen = [where[w] for w in words]
    a, b = (_rows_with(m)[chosen] for m in (source, target))
    n_source, n_target = int(source.shape[0]), int(target.shape[0])
    if not chosen or n_source == 0 or n_target == 0:
        return []
    n, k = n_source + n_target, a + b
    above = b >= k * (n_target / n)
    tail = np.empty(len(chosen))
    tail[above] = hypergeom.sf(b[above] - 1, n, k[above], n_target)
    tail[~above] = hypergeom.cdf(b[~above], n, k[~above], n_target)
    p_values = np.minimum(1.0, 2 * tail)
    shares = a / n_source, b / n_target
    return [
        FeatureShift(
            word,
            "no_evidence",
            "share of rows (hypergeometric)",
            statistic=float(second - first),
            p_value=float(p),
            effect=float(abs(second - first)),
            note=_note(first, second),
            details={
                "kind": "word",
                "shares": {
                    "levels": ["present", "absent"],
                    "source": np.round([first, 1 - first], 5),
                    "target": np.round([second, 1 - second], 5),
                    "n_levels": 2,
                },
            },
        )
        for word, first, second, p in zip(words, *shares, p_values, strict=True)
    ]


def _rows_with(matrix: Any) -> NDArray[np.int64]:
    """Number of rows with a value that is not zero, per column."""
    rows = sp.csr_matrix(matrix)
    return np.bincount(rows.indices[rows.data != 0], minlength=rows.shape[1])


def _note(source: float, target: float) -> str:
    if source == 0:
        return "never in the source"
    return "never in the target" if target == 0 else ""
