"""The same texts in another vocabulary, made from real counts by a seeded change of words."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_random_state

from shiftlab.domain import Domain

__all__ = ["change_vocabulary"]


def change_vocabulary(
    texts: Domain,
    *,
    merged: float = 0.1,
    split: float = 0.1,
    unlisted: float = 0.1,
    random_state: Any = None,
) -> tuple[Domain, dict[int, list[int]]]:
    """Write counts of words in a made-up language, and return its dictionary.

    No text is translated: this is a stand-in for a second language, whose words are other columns
    in another number, with what makes real dictionaries hard. It has no grammar and no words that
    only it has. The same seed gives the same language for any texts of the same vocabulary.

    Parameters
    ----------
    texts : Domain
        Counts, ``(n, d)``.
    merged : float, default=0.1
        Share of the words of which two become one.
    split : float, default=0.1
        Share of the words of which each becomes two, at random for every occurrence.
    unlisted : float, default=0.1
        Share of the new words that the dictionary does not have.
    random_state : int, RandomState or None, default=None
        Of the language, and then of the occurrences.

    Returns
    -------
    tuple of (Domain, dict)
        The texts as a CSR matrix, with their labels; and new word -> words that it stands for.

    Raises
    ------
    ValueError
        If counts are no whole numbers, or shares are out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.data import change_vocabulary
    >>> texts = Domain(np.array([[2, 0, 1, 5], [0, 1, 1, 0]]))
    >>> other, words = change_vocabulary(texts, merged=0.5, split=0.25, random_state=0)
    >>> other.X.shape, other.X.sum(axis=1).ravel().tolist()
    ((2, 4), [[8.0, 2.0]])
    """
    X = sp.coo_matrix(texts.X, dtype=np.float64)
    if (X.data < 0).any() or (X.data != np.rint(X.data)).any():
        raise ValueError("change_vocabulary needs counts: whole numbers that are not negative")
    if min(merged, split, unlisted) < 0 or merged + split > 1 or unlisted > 1:
        raise ValueError(
            "merged, split and unlisted must be shares, merged + split at most 1; got "
            f"{merged}, {split} and {unlisted}"
        )
    rng = check_random_state(random_state)
    d = X.shape[1]
    order = rng.permutation(d)
    pairs, halves = int(merged * d / 2), int(split * d)
    first = np.empty(d, dtype=np.intp)
    first[order[: 2 * pairs]] = np.arange(2 * pairs) // 2
    first[order[2 * pairs :]] = pairs + np.arange(d - 2 * pairs)
    second = first.copy()
    e = d - pairs
    second[order[2 * pairs : 2 * pairs + halves]] = e + np.arange(halves)
    e += halves
    names = rng.permutation(e)
    first, second = names[first], names[second]
    meanings: dict[int, list[int]] = {}
    for word, new in [*enumerate(first), *enumerate(second)]:
        if word not in meanings.setdefault(int(new), []):
            meanings[int(new)].append(word)
    listed = np.sort(rng.permutation(e)[int(unlisted * e) :])
    dictionary = {int(new): meanings[int(new)] for new in listed}
    ours = rng.binomial(X.data.astype(np.int64), 0.5)
    ours = np.where(first[X.col] == second[X.col], X.data, ours)
    counts = np.concatenate([ours, X.data - ours])
    at = np.tile(X.row, 2), np.concatenate([first[X.col], second[X.col]])
    other = sp.csr_matrix((counts, at), shape=(X.shape[0], e))
    other.eliminate_zeros()
    return texts.with_(X=other, feature_names=None), dictionary
