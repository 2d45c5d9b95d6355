"""The base of adapters whose source and target have columns of their own."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from shiftlab.adapter import Adapter
from shiftlab.domain import Domain
from shiftlab.supervised import weight_keyword
from shiftlab.validation import at_least_two_rows, check_columns, numeric_rows

__all__ = ["Sample", "TwoSpaces", "class_means", "stratified_rows"]

Floats = NDArray[np.float64]


class Sample(NamedTuple):
    """One side as numbers: rows, weights that sum to one, and classes, -1 where not known."""

    X: Floats
    weight: Floats
    codes: NDArray[np.intp]

    def take(self, rows: NDArray[np.intp]) -> Sample:
        """Return some of the rows; their weights sum to one again."""
        weight = self.weight[rows]
        return Sample(self.X[rows], weight / weight.sum(), self.codes[rows])


class TwoSpaces(Adapter):
    """Map source and target, each from its own space, into one.

    A subclass writes ``_learn(source, target)``, and ``_map_source(X)`` and ``_map_target(X)`` for
    rows, those that were fitted as those that are new. The estimator is trained on the mapped
    source and the mapped labelled target rows; both sides have the same total weight, if the
    estimator takes weights. With ``_sparse`` a subclass gets sparse rows as they are.
    """

    _sparse: ClassVar[bool] = False

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        who = type(self).__name__
        at_least_two_rows(source, target, who)
        if self.estimator is not None and source.n_labelled == 0:
            raise ValueError(f"{who}: the estimator needs labels of the source; it has none")
        S, T = (numeric_rows(d, who, sparse=self._sparse) for d in (source, target))
        self._dtype = np.result_type(S.dtype, T.dtype)
        self._source_schema = source.unlabelled().with_(weight=None, group=None).take([])
        codes = _joint_codes(source, target)
        samples = [
            Sample(_as_float(X), _shares(domain), c)
            for X, domain, c in zip((S, T), (source, target), codes, strict=True)
        ]
        self._learn(*samples)
        mapped = self._mapped(source, self._map_source)
        if target.n_labelled == 0 or source.n_labelled == 0:
            return mapped
        known = self._mapped(target.labelled_part(), self._map_target).with_(name="target")
        if mapped.is_sparse != known.is_sparse:  # one side was given sparse
            known = known.with_(X=sp.csr_matrix(known.X) if mapped.is_sparse else known.X.toarray())
        if self.estimator is None or weight_keyword(self.estimator):
            ours, theirs = (
                np.ones(d.n_rows) if d.weight is None else d.weight for d in (mapped, known)
            )
            if theirs.sum() > 0:
                theirs = theirs * ours[mapped.labelled].sum() / theirs.sum()
            mapped, known = mapped.with_(weight=ours), known.with_(weight=theirs)
        return Domain.concat([mapped, known])

    def _learn(self, source: Sample, target: Sample) -> None:
        """Set the fitted attributes."""
        raise NotImplementedError

    def _map_source(self, X: Floats) -> Floats:
        raise NotImplementedError

    def _map_target(self, X: Floats) -> Floats:
        """Map rows of the target; the identity where the source moves into its space."""
        return X

    def _transform_target(self, target: Domain) -> Domain:
        return self._mapped(target, self._map_target)

    def _mapped(self, domain: Domain, function: Any) -> Domain:
        rows = _as_float(numeric_rows(domain, type(self).__name__, sparse=self._sparse))
        moved = function(rows)
        if sp.issparse(moved):
            moved = sp.csr_matrix(moved, dtype=self._dtype)
        else:
            moved = np.asarray(moved, dtype=self._dtype)
        return domain.with_(X=moved, feature_names=None)

    def transform_source(self, X: Any) -> Any:
        """Map source-side rows, fitted or new, into the common space.

        Parameters
        ----------
        X : array, CSR matrix, data frame, images or Domain
            Rows with the columns of the source that was fitted.

        Returns
        -------
        ndarray or CSR matrix of shape (n, k)
        """
        check_is_fitted(self, "source_")
        rows, schema = Domain.of(X, name="X"), self._source_schema
        who = f"{type(self).__name__}.transform_source"
        if rows.n_rows == 0:
            raise ValueError(f"{who}: X has 0 sample(s); a minimum of 1 is required")
        check_columns(schema.with_(name="the fitted source"), rows, who)
        return self._mapped(rows, self._map_source).X


def _as_float(X: Any) -> Any:
    return X.astype(np.float64) if sp.issparse(X) else np.asarray(X, dtype=np.float64)


def _joint_codes(source: Domain, target: Domain) -> list[NDArray[np.intp]]:
    """Classes of both sides under one numbering; -1 everywhere where labels are no classes."""
    labels = [d.y[d.labelled] if d.n_labelled else np.empty(0) for d in (source, target)]
    known = [y for y in labels if len(y)]
    codes = [np.full(d.n_rows, -1, dtype=np.intp) for d in (source, target)]
    if any(type_of_target(y) not in ("binary", "multiclass") for y in known):
        return codes
    classes = np.unique(np.concatenate(known)) if known else np.empty(0)
    for d, y, code in zip((source, target), labels, codes, strict=True):
        if len(y):
            code[d.labelled] = np.searchsorted(classes, y)
    return codes


def _shares(domain: Domain) -> Floats:
    if domain.weight is None:
        return np.full(domain.n_rows, 1 / domain.n_rows)
    return np.asarray(domain.weight / domain.weight.sum(), dtype=np.float64)


def class_means(sample: Sample, classes: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return the weighted mean of each class, and its share of the labelled weight.

    Parameters
    ----------
    sample : Sample
        One side.
    classes : int ndarray of shape (k,)
        Classes that it has rows of.

    Returns
    -------
    tuple of (means, shares)
        Shapes (k, d) and (k,).
    """
    member = (sample.codes == classes[:, None]) * sample.weight
    total = member.sum(axis=1)
    return (member @ sample.X) / total[:, None], total / total.sum()


def stratified_rows(
    sample: Sample, most: int, rng: np.random.RandomState, *, known_first: bool
) -> NDArray[np.intp]:
    """Draw at most ``most`` rows by their weight, without rows that weigh nothing.

    Parameters
    ----------
    sample : Sample
        One side.
    most : int
        How many, at most.
    rng : numpy.random.RandomState
        Draws them.
    known_first : bool
        Whether rows with a known class are taken before any other.

    Returns
    -------
    int ndarray
        Sorted; as many from each class as its share of the rows.
    """
    rows = np.flatnonzero(sample.weight > 0)
    if len(rows) <= most:
        return rows
    codes = sample.codes[rows]
    key = rng.random_sample(len(rows))
    # Each class in a random order, spread evenly over 0..1, so that a cut keeps the shares.
    order = np.lexsort((key, codes))
    _, start, many = np.unique(codes[order], return_index=True, return_counts=True)
    place = np.empty(len(rows))
    place[order] = (np.arange(len(rows)) - np.repeat(start, many) + 0.5) / np.repeat(many, many)
    if known_first:
        place[codes < 0] += 1
    return np.sort(rows[np.argsort(place, kind="stable")[:most]])
