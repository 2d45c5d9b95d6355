"""Do several sources mean the same by a label?"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from shiftlab.domain import Domain
from shiftlab.validation import numeric_rows

__all__ = ["Contradiction", "contradictions", "warn_of_contradictions"]

Floats = NDArray[np.float64]

CERTAIN = 5.0  # standard errors, since every pair of sources and classes is looked at
FEWEST_ROWS = 5
MOST_SOURCES = 20


class Contradiction(NamedTuple):
    """A class of one source that lies where another source has another class.

    Attributes
    ----------
    source, other : group
        The two sources.
    label, other_label : int
        Codes of the class of the first and of that of the other which its rows are nearest to.
    """

    source: Any
    other: Any
    label: int
    other_label: int


def contradictions(X: Any, codes: NDArray[np.intp], group: NDArray[Any]) -> list[Contradiction]:
    r"""Find classes of a source that another source calls by another name.

    Columns are scaled to a standard deviation of one. Class c of source a contradicts source b if
    b has c and some other class d with

    .. math:: \frac1n \sum_{i} \lVert x_i - \mu_{bc}\rVert^2 - \lVert x_i - \mu_{bd}\rVert^2
              > 5 \times \text{its standard error},

    the sum over the rows of c in a, :math:`\mu` class means: five standard errors nearer to
    what b calls d; and the same from b's side, rows of d are nearer to a's c than to a's d. A mere
    shift between the sources moves the classes of one together and seldom does both. At most 20
    sources are looked at; O(n d k) time for each.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
        Rows of all sources.
    codes : ndarray of shape (n,)
        Their classes.
    group : ndarray of shape (n,)
        Their sources.

    Returns
    -------
    list of Contradiction

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> codes, group = np.tile([0, 1], 100), np.repeat(["a", "b"], 100)
    >>> swapped = np.where(group == "a", codes, 1 - codes)
    >>> X = rng.normal(3.0 * swapped[:, None], 1.0)
    >>> contradictions(X, codes, group)[0]
    Contradiction(source=np.str_('a'), other=np.str_('b'), label=0, other_label=1)
    """
    names = np.unique(group)[:MOST_SOURCES]
    square = X.multiply(X) if sp.issparse(X) else np.square(X)
    mean = np.asarray(X.mean(axis=0)).ravel()
    scale = np.asarray(square.mean(axis=0)).ravel() - mean**2
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 1e-12)
    parts: dict[Any, dict[int, Any]] = {}
    for name in names:
        inside = np.flatnonzero(group == name)
        counts = np.bincount(codes[inside])
        parts[name] = {
            int(c): X[inside[codes[inside] == c]] for c in np.flatnonzero(counts >= FEWEST_ROWS)
        }
    means = {
        (name, c): np.asarray(rows.mean(axis=0)).ravel()
        for name, classes in parts.items()
        for c, rows in classes.items()
    }

    def nearer(rows: Any, own: Floats, other: Floats) -> bool:
        """Whether the rows are nearer to the other mean than to the one of their name."""
        margin = np.asarray(rows @ (2 * (other - own) * inverse)).ravel()
        margin += inverse @ (own**2 - other**2)
        return bool(margin.mean() > CERTAIN * margin.std(ddof=1) / np.sqrt(len(margin)))

    return [
        Contradiction(a, b, c, d)
        for i, a in enumerate(names)
        for b in names[i + 1 :]
        for c in parts[a]
        for d in parts[b]
        if c != d
        and c in parts[b]
        and d in parts[a]
        and nearer(parts[a][c], means[b, c], means[b, d])
        and nearer(parts[b][d], means[a, d], means[a, c])
    ]


def warn_of_contradictions(source: Domain, who: str) -> None:
    """Warn of sources that do not mean the same by a label, where rows can be read as numbers.

    Parameters
    ----------
    source : Domain
        Labelled rows, with a group if there are several sources.
    who : str
        The adapter, for the message.
    """
    if source.group is None or source.is_image or len(np.unique(source.group)) < 2:
        return
    try:
        X = numeric_rows(source, who, sparse=True)
    except ValueError:  # text or missing values: the estimator takes them, this does not
        return
    classes, codes = np.unique(source.y, return_inverse=True)
    found = contradictions(X, codes, source.group)
    if not found:
        return
    first = found[0]
    names = classes.tolist()
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    warnings.warn(
        f"{who}: sources contradict each other: what source {first.source!s} calls "
        f"{names[first.label]!r} lies where source {first.other!s} has "
        f"{names[first.other_label]!r}{more}. Bring their labels to one meaning (LabelMapping), or "
        "leave a source out",
        UserWarning,
        stacklevel=4,
    )
