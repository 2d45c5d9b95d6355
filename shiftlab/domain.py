"""One sample of a domain: rows, the labels that are known, weights and names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import narwhals.stable.v1 as nw
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from shiftlab._fields import (
    as_classes,
    as_column,
    as_labels,
    as_mask,
    as_names,
    as_rows,
    as_weight,
    is_frame,
    is_torch_dataset,
    read_torch_dataset,
)

__all__ = ["Domain"]


@dataclass(frozen=True, eq=False)
class Domain:
    """One sample of a domain ``D = {X, P(X)}``, with the labels of its task where known.

    A domain is frozen: methods return new domains that share memory with the old one
    wherever they can, and nothing that was passed in is ever changed.

    A missing label is a ``False`` in ``labelled``. There is no sentinel label: ``-1`` is a
    class of many binary problems, and ``NaN`` in ``y`` is an error.

    Parameters
    ----------
    X : array, CSR matrix, data frame or images
        ``(n, d)`` numbers, a SciPy sparse matrix (stored as CSR), a pandas or polars data
        frame (kept as it is), or ``(n, H, W)`` / ``(n, H, W, C)`` uint8 images.
    y : array of shape (n,), default=None
        Class labels of any type (strings, booleans, ``{-1, 1}``, floats) or regression
        targets. None when no label is known.
    labelled : bool array of shape (n,), default=None
        Which labels are known. None means all of them, or none when ``y`` is None. After
        construction it is always an array.
    weight : array of shape (n,), default=None
        Non-negative row weights.
    name : str, default=""
        What to call the domain in messages and reports.
    feature_names : sequence of str, default=None
        Column names; taken from a data frame.
    classes : array, default=None
        The label space, when it is larger than the labels seen in ``y``.
    group : array of shape (n,), default=None
        Which part a row came from; `concat` fills it in for several sources.

    Raises
    ------
    ValueError
        If lengths disagree, ``y`` holds missing values, weights are negative, or ``X`` has
        a shape that is none of the above.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import Domain
    >>> source = Domain(np.eye(3), ["a", "b", "a"], name="shop")
    >>> source.n_rows, source.n_labelled, source.label_set().tolist()
    (3, 3, ['a', 'b'])
    >>> source.unlabelled().y is None
    True
    """

    X: Any
    y: Any = None
    _: KW_ONLY
    labelled: Any = None
    weight: Any = None
    name: str = ""
    feature_names: Any = None
    classes: Any = None
    group: Any = None

    def __post_init__(self) -> None:
        X, names = as_rows(self.X)
        n = int(X.shape[0])
        set_ = object.__setattr__  # the dataclass is frozen; construction is the one exception
        set_(self, "X", X)
        set_(self, "feature_names", as_names(self.feature_names, names, X))
        set_(self, "labelled", as_mask(self.labelled, self.y is not None, n))
        set_(self, "y", as_labels(self.y, self.labelled, n))
        set_(self, "weight", as_weight(self.weight, n))
        set_(self, "group", as_column(self.group, "group", n))
        set_(self, "name", str(self.name))
        set_(self, "classes", as_classes(self.classes, self.y, self.labelled))

    def __repr__(self) -> str:
        kind = "images" if self.is_image else "frame" if self.is_frame else "rows"
        shape = "x".join(str(s) for s in self.shape)
        name = f"{self.name!r}, " if self.name else ""
        return f"Domain({name}{shape} {kind}, {self.n_labelled} labelled)"

    def __len__(self) -> int:
        return self.n_rows

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself: a domain is immutable, so scikit-learn's `clone` copies no data."""
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of ``X``."""
        return tuple(int(s) for s in self.X.shape)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.shape[0]

    @property
    def n_features(self) -> int:
        """Number of columns; for images, the number of values in one image."""
        return int(np.prod(self.shape[1:]))

    @property
    def n_labelled(self) -> int:
        """Number of rows whose label is known."""
        return int(self.labelled.sum())

    @property
    def is_image(self) -> bool:
        """Whether ``X`` holds images."""
        return len(self.shape) > 2

    @property
    def is_sparse(self) -> bool:
        """Whether ``X`` is a CSR matrix."""
        return bool(sp.issparse(self.X))

    @property
    def is_frame(self) -> bool:
        """Whether ``X`` is a data frame."""
        return is_frame(self.X)

    @classmethod
    def of(cls, x: Any, *, label: str | None = None, name: str = "") -> Domain:
        """Make a domain from whatever a user has at hand.

        Parameters
        ----------
        x : Domain, (X, y) pair, array, data frame, Bunch or torch Dataset
            What to read. A pair is a tuple; a list is taken as rows.
        label : str, default=None
            The column of a data frame that holds the label. A null in it is an unknown
            label.
        name : str, default=""
            Name of the domain where ``x`` has none.

        Returns
        -------
        Domain

        Raises
        ------
        ValueError
            If ``label`` names no column or is given for something without columns.
        TypeError
            If ``x`` is nothing that can be read.

        Examples
        --------
        >>> import pandas as pd
        >>> from shiftlab import Domain
        >>> frame = pd.DataFrame({"age": [31, 50], "bought": ["yes", None]})
        >>> domain = Domain.of(frame, label="bought")
        >>> domain.feature_names, domain.labelled.tolist()
        (('age',), [True, False])
        """
        if label is not None and not is_frame(x):
            raise ValueError(
                f"label={label!r} names a column, so it needs a data frame; "
                f"got {type(x).__name__}. Pass (X, y) for arrays."
            )
        try:
            return cls._read(x, label, name)
        except ValueError as error:
            if not name or name in str(error):
                raise
            raise ValueError(f"{name}: {error}") from error  # which of the arguments it is

    @classmethod
    def _read(cls, x: Any, label: str | None, name: str) -> Domain:
        if isinstance(x, Domain):
            return x if x.name or not name else x.with_(name=name)
        if is_frame(x):
            return _from_frame(x, label, name)
        if is_torch_dataset(x):
            return cls(*read_torch_dataset(x), name=name)
        if isinstance(x, Mapping) and "data" in x:
            names = x.get("feature_names")
            return cls(x["data"], x.get("target"), name=name, feature_names=names)
        if isinstance(x, tuple):
            if len(x) != 2:
                raise TypeError(
                    f"a pair (X, y) has 2 parts; got a tuple of {len(x)}. Weights go into "
                    "Domain(X, y, weight=...)."
                )
            return cls(x[0], x[1], name=name)
        return cls(x, name=name)

    def unlabelled(self) -> Domain:
        """Return the domain without any label."""
        if self.y is None:
            return self
        return self.with_(y=None, labelled=None)

    def masked(self) -> Domain:
        """Return the domain with every hidden label overwritten.

        Rows that are not labelled get the first visible label as filler, so that code that
        forgets to look at ``labelled`` still cannot see what is hidden.
        """
        if self.n_labelled == 0:
            return self.unlabelled()
        if self.n_labelled == self.n_rows:
            return self
        y = self.y.copy()
        y[~self.labelled] = self.y[np.argmax(self.labelled)]
        return self.with_(y=y)

    def labelled_part(self) -> Domain:
        """Return the rows whose label is known."""
        return self if self.n_labelled == self.n_rows else self.take(np.flatnonzero(self.labelled))

    def label_set(self) -> NDArray[Any]:
        """Return the sorted set of visible labels, or ``classes`` where given."""
        if self.classes is not None:
            return np.asarray(self.classes)
        if self.y is None:
            return np.empty(0)
        return np.unique(self.y[self.labelled])

    def take(self, index: ArrayLike) -> Domain:
        """Return the rows at ``index`` (integers, or a bool mask), in that order."""
        rows = np.asarray(index)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        elif rows.size == 0:
            rows = rows.astype(np.intp)  # NumPy makes floats of []

        def pick(column: Any) -> Any:
            return None if column is None else column[rows]

        X = _take_frame(self.X, rows) if self.is_frame else self.X[rows]
        return dataclasses.replace(
            self,
            X=X,
            y=pick(self.y),
            labelled=self.labelled[rows],
            weight=pick(self.weight),
            group=pick(self.group),
        )

    def split(
        self,
        test_size: float | int = 0.25,
        stratify: bool = True,
        random_state: int | np.random.RandomState | None = None,
    ) -> tuple[Domain, Domain]:
        """Split the rows at random into two domains.

        Parameters
        ----------
        test_size : float or int, default=0.25
            Share or number of rows in the second part.
        stratify : bool, default=True
            Keep the proportions of the labels; hidden labels count as one label of their
            own. Ignored when there are no labels. Pass False for a regression target.
        random_state : int, RandomState or None, default=None
            Seed.

        Returns
        -------
        (Domain, Domain)
        """
        from sklearn.model_selection import train_test_split

        strata: NDArray[Any] | None = None
        if stratify and self.y is not None:
            codes = np.unique(self.y, return_inverse=True)[1]
            strata = np.where(self.labelled, codes + 1, 0)
        first, second = train_test_split(
            np.arange(self.n_rows),
            test_size=test_size,
            stratify=strata,
            random_state=random_state,
        )
        return self.take(first), self.take(second)

    def with_(self, **changes: Any) -> Domain:
        """Return the domain with some fields replaced.

        New ``X`` drops the old ``feature_names`` unless they still fit and ``X`` is no frame.
        """
        if "X" in changes and "feature_names" not in changes:
            changes["feature_names"] = None
            X = changes["X"]
            if self.feature_names is not None and not is_frame(X):
                shape = np.shape(X)
                if len(shape) == 2 and shape[1] == len(self.feature_names):
                    changes["feature_names"] = self.feature_names
        if "y" in changes and "labelled" not in changes and self.y is None:
            changes["labelled"] = None
        return dataclasses.replace(self, **changes)

    @staticmethod
    def concat(domains: Iterable[Domain]) -> Domain:
        """Stack several domains into one; ``group`` remembers where each row came from.

        Parameters
        ----------
        domains : iterable of Domain
            Domains with the same kind of ``X`` and the same columns. Where some have labels
            and others have none, the others' rows are unlabelled. Groups are the domains'
            names, or their positions when the names are not distinct.

        Returns
        -------
        Domain

        Raises
        ------
        ValueError
            If there are none, or their columns differ.
        """
        return _concat(list(domains))


# -- reading and stacking ---------------------------------------------------------------------


def _from_frame(frame: Any, label: str | None, name: str) -> Domain:
    if label is None:
        return Domain(frame, name=name)
    table = nw.from_native(frame, eager_only=True)
    matching = [c for c in table.columns if str(c) == label]
    if not matching:
        raise ValueError(f"label={label!r} is not a column; the columns are {list(table.columns)}")
    column = table.get_column(matching[0])
    X = nw.to_native(table.drop(matching[0]))
    known = ~column.is_null().to_numpy().astype(bool)
    y = column.to_numpy()
    if y.dtype.kind == "f":
        known &= ~np.isnan(y)
    if not known.any():
        return Domain(X, name=name)
    if y.dtype.kind == "f" and not known.all() and np.all(y[known] == np.round(y[known])):
        # pandas turns an integer column with nulls into floats; give the labels back as they were
        y = np.where(known, y, 0).astype(np.int64)
    return Domain(X, y, labelled=known, name=name)


def _take_frame(frame: Any, rows: NDArray[Any]) -> Any:
    return nw.to_native(nw.from_native(frame, eager_only=True)[rows.tolist(), :])


def _concat(parts: list[Domain]) -> Domain:
    if not parts:
        raise ValueError("concat needs at least one domain; got none")
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    for part in parts[1:]:
        if part.shape[1:] != first.shape[1:] or part.feature_names != first.feature_names:
            raise ValueError(
                f"domains to concat must have the same columns; {first!r} and {part!r} differ. "
                "Bring them to one schema first (SchemaAlignment)."
            )
    names = [part.name for part in parts]
    distinct = all(names) and len(set(names)) == len(names)
    group = np.concatenate(
        [
            part.group
            if part.group is not None
            else np.full(len(part), names[i] if distinct else i)
            for i, part in enumerate(parts)
        ]
    )
    weight = None
    if any(part.weight is not None for part in parts):
        weight = np.concatenate([np.ones(len(p)) if p.weight is None else p.weight for p in parts])
    with_labels = [part for part in parts if part.y is not None]
    y = None
    if with_labels:
        filler = with_labels[0].y[:1]
        y = np.concatenate([np.repeat(filler, len(p)) if p.y is None else p.y for p in parts])
    declared = [part.classes for part in parts if part.classes is not None]
    return Domain(
        _stack_rows(parts),
        y,
        labelled=np.concatenate([part.labelled for part in parts]),
        weight=weight,
        name="+".join(n for n in names if n),
        feature_names=first.feature_names,
        classes=np.unique(np.concatenate([*declared, *(p.label_set() for p in with_labels)]))
        if declared
        else None,
        group=group,
    )


def _stack_rows(parts: list[Domain]) -> Any:
    kinds = {(p.is_frame, p.is_sparse) for p in parts}
    if len(kinds) > 1:
        raise ValueError("domains to concat must hold the same kind of X (frame, CSR or array)")
    if parts[0].is_frame:
        frames = [nw.from_native(p.X, eager_only=True) for p in parts]
        return nw.to_native(nw.concat(frames, how="vertical"))
    if parts[0].is_sparse:
        return sp.vstack([p.X for p in parts], format="csr")
    return np.concatenate([p.X for p in parts])
