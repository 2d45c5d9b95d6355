"""Feature augmentation (EasyAdapt): a common copy of the columns, and one for each domain."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from shiftlab.adapter import Adapter, Facts
from shiftlab.domain import Domain
from shiftlab.frames import frame_like
from shiftlab.validation import check_memory, numeric_rows

__all__ = ["FeatureAugmentation", "augment"]


def augment(X: Any, part: Any, n_parts: int) -> Any:
    r"""Return ``[x, 0, ..., x, ..., 0]``: the columns, and again in the place of the part.

    Inner products are :math:`2\, x^\top x'` between rows of one part and :math:`x^\top x'` between
    rows of different parts.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
        Rows.
    part : int ndarray of shape (n,)
        Part of each row, 0 to n_parts - 1.
    n_parts : int
        Parts.

    Returns
    -------
    ndarray or CSR matrix of shape (n, (1 + n_parts) d)

    Examples
    --------
    >>> import numpy as np
    >>> augment(np.array([[1, 2], [3, 4]]), np.array([0, 1]), 2).tolist()
    [[1, 2, 1, 2, 0, 0], [3, 4, 0, 0, 3, 4]]
    """
    if sp.issparse(X):
        own = [sp.diags((part == k).astype(X.dtype)) @ X for k in range(n_parts)]
        return sp.csr_matrix(sp.hstack([X, *own], dtype=X.dtype))
    n, d = X.shape
    out = np.zeros((n, (1 + n_parts) * d), dtype=X.dtype)
    out[:, :d] = X
    for k in range(n_parts):
        rows = np.flatnonzero(part == k)
        out[rows, (1 + k) * d : (2 + k) * d] = X[rows]
    return out


class FeatureAugmentation(Adapter):
    r"""Give the estimator a common copy of the columns, and one for each source and the target.

    .. math:: \Phi_S(x) = (x, x, 0), \qquad \Phi_T(x) = (x, 0, x)

    Several sources have a place each. A regularised linear model then splits what it learns
    into a common part and a part for each domain. Target rows whose label is known join the
    training; `transform` and `predict` augment target rows.

    It helps when some target labels are known, too few to learn from alone, and Y given X is
    partly the same and partly not. It assumes an estimator that works with inner products and
    is regularised (linear models, support vector machines, ridge regression). Without labelled
    target rows nothing would train the target's part: a warning says so, and target rows take the
    mean of the sources' places, :math:`(x, x/k, \dots, x/k, 0)`, which for one source changes no
    prediction of a linear model but through its penalty. It harms when the
    domains agree, since what is special to each is then fitted to noise; and where neighbours
    or trees decide, for which the copies mean little. Measured with logistic regression (500
    source rows, 40 labelled target rows, five columns, ten seeds), with the source only, the 40
    rows only, both pooled, and this:

    - the effect of one of the five columns has another sign: .702, .908, .721, .919
    - nothing differs: .954, .903, .954, .934

    Time and memory O((2 + k) n d) for k sources, checked against the memory at hand where X is
    dense. Sparse rows stay sparse. Images become rows of values.

    Parameters
    ----------
    estimator : estimator, default=None
        Trained on the augmented source and the labelled target rows, with their weights.

    Attributes
    ----------
    source_ : Domain
        The augmented source, followed by the augmented target rows that have a label.
        Columns of a frame are called ``common:x``, ``source:x`` (or ``source 1:x``, ...) and
        ``target:x``.
    parts_ : tuple
        The sources, in the order of their places: their names, or their positions in the list.
        One source is ``("source",)``.

    Raises
    ------
    ValueError
        In `fit`, for a source without labels, text columns, NaN or infinity.

    Warns
    -----
    UserWarning
        When no target row has a label.

    References
    ----------
    H. Daumé III, "Frustratingly Easy Domain Adaptation", ACL 2007.

    H. Daumé III, A. Kumar, A. Saha, "Frustratingly Easy Semi-Supervised Domain Adaptation",
    Workshop on Domain Adaptation for Natural Language Processing, ACL 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import Domain, FeatureAugmentation
    >>> target = Domain(np.array([[5.0], [6.0]]), ["a", "b"], labelled=[True, False])
    >>> FeatureAugmentation().fit((np.array([[1.0]]), ["b"]), target).source_.X.tolist()
    [[1.0, 1.0, 0.0], [5.0, 0.0, 5.0]]
    """

    facts: ClassVar[Facts] = Facts(
        handles=("marginal", "conditional"),
        assumes="Y given X is partly common, partly not, and a few target labels are known.",
        source_labels=True,
        target_labels="optional",
        inputs=("dense", "sparse", "frame", "images"),
        cost="time and memory O((2 + k) n d) for k sources",
    )

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        if source.group is None:
            self.parts_: tuple[Any, ...] = ("source",)
            place = np.zeros(source.n_rows, dtype=np.intp)
        else:
            groups, place = np.unique(source.group, return_inverse=True)
            self.parts_ = tuple(groups.tolist())
        augmented = self._augmented(source, place)
        known = target.labelled_part()
        self._blind = known.n_rows == 0
        if known.n_rows == 0:
            warnings.warn(
                "FeatureAugmentation has no labelled target row, so nothing trains the part that "
                "belongs to the target, and target rows are taken for rows of the sources. Mark "
                "the rows whose label is known: Domain(X, y, labelled=mask).",
                stacklevel=2,
            )
            return augmented
        return Domain.concat([augmented, self._transform_target(known).with_(name="target")])

    def _transform_target(self, target: Domain) -> Domain:
        rows = self._augmented(target, np.full(target.n_rows, len(self.parts_)))
        if not self._blind:
            return rows
        k, d = len(self.parts_), target.n_features
        X = numeric_rows(rows, "FeatureAugmentation", sparse=True)
        stack = sp.hstack if sp.issparse(X) else np.hstack
        common = X[:, :d]
        moved = stack([common, *(common / k for _ in range(k)), 0 * common]).astype(X.dtype)
        moved = sp.csr_matrix(moved) if sp.issparse(X) else moved
        names = rows.feature_names
        return rows.with_(X=frame_like(target.X, moved, names) if target.is_frame else moved)

    def _augmented(self, domain: Domain, place: Any) -> Domain:
        n_parts = len(self.parts_) + 1
        if not domain.is_sparse:
            check_memory(
                8.0 * domain.n_rows * domain.n_features * (1 + n_parts),
                f"FeatureAugmentation of {domain.n_rows} rows for {n_parts} domains",
            )
        X = augment(numeric_rows(domain, "FeatureAugmentation", sparse=True), place, n_parts)
        if not domain.is_frame:
            return domain.with_(X=X, feature_names=None)
        parts = ["common", *(_title(p) for p in self.parts_), "target"]
        names = [f"{part}:{c}" for part in parts for c in domain.feature_names]
        return domain.with_(X=frame_like(domain.X, X, names))


def _title(part: Any) -> str:
    return part if isinstance(part, str) else f"source {part}"
