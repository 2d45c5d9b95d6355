"""Pairs of samples whose shift is known by construction."""

from __future__ import annotations

from importlib import import_module
from numbers import Integral, Real
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from shiftlab.domain import Domain

__all__ = ["Family", "ShiftKind", "class_probabilities", "make_shift"]

ShiftKind = Literal[
    "none", "covariate", "label", "concept", "general", "feature_space", "new_class"
]
Family = Literal["linear", "nonlinear", "heavy_tailed", "mixed"]
Floats = NDArray[np.float64]

N_CLASSES = 3
FEWEST_COLUMNS = 6
SHARPNESS = 3.0
MOVE = 0.5
MOVED = (0, 3)  # one column that Y depends on and one that it does not (but in "mixed")
TURN = 40.0
TARGET_PRIOR = np.array([0.60, 0.25, 0.15])
NEW_CLASS_SHARE, NEW_CLASS_MOVE, NEW_CLASS_COLUMN = 0.15, 3.0, 5
UNIT, RESCALED = 1000.0, 2
DROPPED = 2
LEVELS = np.array(["a", "b", "c"], dtype=object)
THIRDS = np.array([-0.4307272992954576, 0.4307272992954576])  # of the standard normal


def make_shift(
    kind: ShiftKind,
    *,
    family: Family = "linear",
    n_source: int = 2000,
    n_target: int = 2000,
    n_features: int = 10,
    severity: float = 1.0,
    missing: float = 0.0,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Domain, Domain]:
    r"""Draw a source and a target that differ in one known way.

    The three classes have probability 1/3 each in the source. At a row with radius
    :math:`r = \sqrt{x_0^2 + x_1^2}` and angle :math:`\varphi` in the plane of the first two
    columns, class :math:`k` has probability proportional to
    :math:`\exp(3 r \cos(\psi - 2\pi k / 3))`, where the family says what :math:`\psi` is. Both
    domains are labelled; ``target.unlabelled()`` hides the labels.

    Parameters
    ----------
    kind : str
        What differs. What is said to be kept is kept exactly, as a fact of the construction.

        - ``"none"``: nothing.
        - ``"covariate"``: P(Y|X) is kept. The mean of ``x0`` and ``x3`` moves by 0.5.
        - ``"label"``: P(X|Y) is kept. The class shares become .60, .25, .15.
        - ``"concept"``: P(X) and P(Y) are kept. :math:`\psi` turns by 40 degrees.
        - ``"general"``: nothing is kept; the moves of "covariate" and "concept" together.
        - ``"feature_space"``: what both share is kept. The target lacks the last two columns,
          the one before them has another name, and ``x2`` has 1,000 times its unit.
        - ``"new_class"``: the three classes are kept. 15% of the target are of a class
          ``3`` that lies 3 away in ``x5``.
    family : {"linear", "nonlinear", "heavy_tailed", "mixed"}, default="linear"
        - ``"linear"``: columns are standard normal and :math:`\psi = \varphi`, which is a
          softmax of three directions at 120 degrees.
        - ``"nonlinear"``: standard normal and :math:`\psi = 2\varphi + r`. Six curved
          regions, made of products of the columns and the radius; no column tells anything
          about Y by itself.
        - ``"heavy_tailed"``: as linear, with columns that have Student's t distribution with
          3 degrees of freedom; ``x0`` and ``x1`` share their scale, the others have their own.
        - ``"mixed"``: as linear, in a data frame. ``x3``, ``x6``, ... are categories with three
          levels and ``x4``, ``x7``, ... truth values, all cut from standard normal
          numbers. Y also depends on ``x3``: each level favours one class (logit +1).
    n_source, n_target : int, default=2000
        Rows.
    n_features : int, default=10
        Columns, at least 6.
    severity : float, default=1.0
        In (0, 1]: the share of the full move, turn or change of the class shares, of the 15% of
        a new class, or of the factor 1,000 on a log scale.
    missing : float, default=0.0
        In [0, 1): share of the values that are missing, completely at random. For "covariate",
        the columns that Y depends on stay complete: where they are missing, P(Y|X) averages
        over P(X), and would move with it.
    random_state : int, RandomState or None, default=None
        Seed.

    Returns
    -------
    (Domain, Domain)
        Source and target, ``X`` of shape (n, d): float arrays with feature names, or data
        frames (pandas where installed, otherwise polars) for the family "mixed".

    Raises
    ------
    ValueError
        If an argument is out of range.
    ImportError
        If the family is "mixed" and no data frame library is installed.

    Notes
    -----
    The angle is uniform and independent of the radius in every family, so a turn changes
    neither P(X) nor P(Y). No row is used twice: for "label", rows are drawn until each
    class has enough, and the first ones of each class are kept. O(n d) time and memory.

    Examples
    --------
    >>> from shiftlab.data.shifts import make_shift
    >>> source, target = make_shift("covariate", n_source=500, n_target=300, random_state=0)
    >>> source.shape, target.shape
    ((500, 10), (300, 10))
    >>> moved = target.X.mean(axis=0) - source.X.mean(axis=0)
    >>> [name for name, by in zip(source.feature_names, moved, strict=True) if by > 0.25]
    ['x0', 'x3']
    """
    _check_arguments(kind, family, n_source, n_target, n_features, severity, missing)
    rng = np.random.default_rng(int(check_random_state(random_state).randint(2**31 - 1)))
    names = [f"x{j}" for j in range(n_features)]
    source, source_y = _draw(rng, family, n_source, n_features)
    move = MOVE * severity if kind in ("covariate", "general") else 0.0
    turn = TURN * severity if kind in ("concept", "general") else 0.0
    if kind == "label":
        prior = (1 - severity) / N_CLASSES + severity * TARGET_PRIOR
        target, target_y = _draw_with_prior(rng, family, n_target, n_features, prior)
    else:
        target, target_y = _draw(rng, family, n_target, n_features, move, turn)
    if kind == "new_class":
        new = rng.permutation(n_target)[: max(1, round(NEW_CLASS_SHARE * severity * n_target))]
        target[new, NEW_CLASS_COLUMN] += NEW_CLASS_MOVE
        target_y[new] = N_CLASSES
    target_names = list(names)
    if kind == "feature_space":
        target[:, RESCALED] *= UNIT**severity
        target_names[-DROPPED - 1] += "_new"
        target_names = target_names[:-DROPPED]
    complete = _relevant(family) if kind == "covariate" else ()
    sides = ((source, source_y, names, "source"), (target, target_y, target_names, "target"))
    domains = []
    for X, y, columns, name in sides:
        gone = rng.random(X.shape) < missing
        gone[:, list(complete)] = False
        X[gone] = np.nan
        X = X[:, : len(columns)]
        shown: Any = _frame(X, columns) if family == "mixed" else X
        named = None if family == "mixed" else columns
        domains.append(Domain(shown, y, name=name, feature_names=named))
    return domains[0], domains[1]


def class_probabilities(X: ArrayLike, *, family: Family = "linear", turn: float = 0.0) -> Floats:
    """The true P(Y|X) of `make_shift`.

    Parameters
    ----------
    X : array-like of shape (n, d) or data frame
        Complete rows of a domain that `make_shift` drew.
    family : {"linear", "nonlinear", "heavy_tailed", "mixed"}, default="linear"
        The family it was drawn from.
    turn : float, default=0.0
        Degrees; 40 times the severity in the target of "concept" and "general".

    Returns
    -------
    ndarray of shape (n, 3)
        Rows sum to 1.

    Examples
    --------
    >>> from shiftlab.data.shifts import class_probabilities
    >>> class_probabilities([[0.0, 0.0], [1.0, 0.0]]).round(2).tolist()
    [[0.33, 0.33, 0.33], [0.98, 0.01, 0.01]]
    """
    if family == "mixed":
        import narwhals.stable.v1 as nw

        frame = nw.from_native(X, eager_only=True)
        plane = np.column_stack([frame.get_column(c).to_numpy() for c in ("x0", "x1")])
        level = np.searchsorted(LEVELS, frame.get_column("x3").to_list())
        return _probabilities(plane, family, turn, level)
    return _probabilities(np.asarray(X, dtype=np.float64), family, turn, None)


def _relevant(family: Family) -> tuple[int, ...]:
    """Columns that Y depends on."""
    return (0, 1, 3) if family == "mixed" else (0, 1)


def _probabilities(
    X: Floats, family: Family, turn: float, level: NDArray[np.intp] | None
) -> Floats:
    radius, angle = np.hypot(X[:, 0], X[:, 1]), np.arctan2(X[:, 1], X[:, 0])
    if family == "nonlinear":
        angle = 2 * angle + radius
    directions = 2 * np.pi * np.arange(N_CLASSES) / N_CLASSES + np.deg2rad(turn)
    logits = SHARPNESS * radius[:, None] * np.cos(angle[:, None] - directions)
    if level is not None:
        logits[np.arange(len(X)), level] += 1.0
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def _draw(
    rng: np.random.Generator,
    family: Family,
    n: int,
    d: int,
    move: float = 0.0,
    turn: float = 0.0,
) -> tuple[Floats, NDArray[np.int64]]:
    """Rows and labels; columns that become categories are codes already."""
    X = rng.normal(size=(n, d))
    if family == "heavy_tailed":
        scale = np.sqrt(3 / rng.chisquare(3, size=(n, d)))
        scale[:, 1] = scale[:, 0]  # a spherical plane, so that a turn keeps P(X)
        X *= scale
    X[:, MOVED] += move
    level = None
    if family == "mixed":
        X[:, 3::3] = np.searchsorted(THIRDS, X[:, 3::3])
        X[:, 4::3] = X[:, 4::3] > 0
        level = X[:, 3].astype(np.intp)
    p = _probabilities(X, family, turn, level)
    y = (p.cumsum(axis=1)[:, :-1] < rng.random((n, 1))).sum(axis=1)
    return X, y.astype(np.int64)


def _draw_with_prior(
    rng: np.random.Generator, family: Family, n: int, d: int, prior: Floats
) -> tuple[Floats, NDArray[np.int64]]:
    """Rows of the source's population, the first of each class, as many as the prior deals."""
    lacking = rng.multinomial(n, prior)
    kept: list[tuple[Floats, NDArray[np.int64]]] = []
    while lacking.any():
        X, y = _draw(rng, family, N_CLASSES * int(lacking.max()) + 10, d)
        rows = np.concatenate([np.flatnonzero(y == k)[:c] for k, c in enumerate(lacking)])
        kept.append((X[rows], y[rows]))
        lacking = lacking - np.bincount(y[rows], minlength=N_CLASSES)
    order = rng.permutation(n)
    return np.concatenate([X for X, _ in kept])[order], np.concatenate([y for _, y in kept])[order]


def _frame(X: Floats, names: list[str]) -> Any:
    """A data frame of numbers, categories and truth values; None where one is missing."""
    columns: dict[str, Any] = {}
    for j, name in enumerate(names):
        values = X[:, j]
        if j < 3 or j % 3 == 2:
            columns[name] = values
            continue
        known = np.where(np.isnan(values), 0, values).astype(np.intp)
        shown = LEVELS[known] if j % 3 == 0 else known.astype(bool).astype(object)
        shown[np.isnan(values)] = None
        columns[name] = shown.tolist()
    return _frame_library().DataFrame(columns)


def _frame_library() -> Any:
    for library in ("pandas", "polars"):
        try:
            return import_module(library)
        except ImportError:
            continue
    raise ImportError(
        "family='mixed' makes data frames, which need pandas or polars; install one with: "
        "pip install 'shiftlab[frames]'"
    )


def _check_arguments(
    kind: Any,
    family: Any,
    n_source: Any,
    n_target: Any,
    n_features: Any,
    severity: Any,
    missing: Any,
) -> None:
    for name, value, choices in (
        ("kind", kind, get_args(ShiftKind)),
        ("family", family, get_args(Family)),
    ):
        if value not in choices:
            listed = ", ".join(repr(c) for c in choices)
            raise ValueError(f"{name} must be one of {listed}; got {value!r}")
    for name, value, least in (
        ("n_source", n_source, 1),
        ("n_target", n_target, 1),
        ("n_features", n_features, FEWEST_COLUMNS),
    ):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} must be an int of at least {least}, got {value!r}")
    for name, value, zero, one, words in (
        ("severity", severity, False, True, "above 0 and at most 1"),
        ("missing", missing, True, False, "at least 0 and below 1"),
    ):
        if isinstance(value, bool) or not isinstance(value, Real):
            inside = False
        else:
            share = float(value)
            inside = 0 < share < 1 or (zero and share == 0) or (one and share == 1)
        if not inside:
            raise ValueError(f"{name} must be a number {words}, got {value!r}")
