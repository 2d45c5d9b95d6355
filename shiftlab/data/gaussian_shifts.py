"""Five small Gaussian tasks, one for each way in which a target can differ."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.utils import check_random_state

from shiftlab.domain import Domain

__all__ = ["GAUSSIAN_SHIFTS", "GaussianShift", "gaussian_probability", "make_gaussian_shift"]

GaussianShift = Literal["none", "covariate", "label", "location_scale", "concept"]
GAUSSIAN_SHIFTS: tuple[GaussianShift, ...] = get_args(GaussianShift)
Floats = NDArray[np.float64]

N_COLUMNS = 5
AXIS = np.array([2.0, 1.0, 1.0, 0.0, 0.0]) / np.sqrt(6)  # the direction that Y depends on
OTHER = np.array([0.0, 0.0, 0.0, 1.0, 0.0])  # one that it does not, but for "concept"
SHARPNESS = 32.0
MOVE, NARROWER = 1.0, 0.8  # of "covariate": the mean of x0, and the spread of all columns
TURN = 81.0  # degrees
HALF_DISTANCE = 0.85  # of the two classes of "label" to their middle
PRIOR = 0.1
SCALE = np.array([0.5, 3.0, 1.0, 0.5, 2.0])
LOCATION = np.array([0.3, 0.5, 0.0, 1.0, -1.0])


def make_gaussian_shift(
    kind: GaussianShift,
    *,
    n_source: int = 500,
    n_target: int = 500,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Domain, Domain]:
    r"""Draw five columns and two classes, and a target that differs in one known way.

    With the axis :math:`a = (2, 1, 1, 0, 0) / \sqrt 6`, source rows are standard normal and
    class 1 has probability :math:`1 / (1 + \exp(-32\, a^\top x))`; for "label" alone the
    classes are two Gaussians, because P(X|Y) has to be kept. Beside `make_shift`, whose tasks
    are made for diagnosis, these are as small and plain as can be: a linear classifier is all
    but right on the source, so what a method gains or loses on the target is the method's.

    Parameters
    ----------
    kind : {"none", "covariate", "label", "location_scale", "concept"}
        What differs. What is said to be kept is kept exactly.

        - ``"none"``: nothing.
        - ``"covariate"``: P(Y|X) is kept. The mean of ``x0``, which matters, moves by 1 and the
          standard deviation of every column becomes 0.8.
        - ``"label"``: P(X|Y) is kept, :math:`N(\pm 0.85\, a, I)`. The share of class 1 falls
          from 0.5 to 0.1.
        - ``"location_scale"``: the task is kept behind a change of every column,
          :math:`x_j = s_j z_j + b_j` with :math:`z` as in the source,
          :math:`s = (0.5, 3, 1, 0.5, 2)` and :math:`b = (0.3, 0.5, 0, 1, -1)`.
        - ``"concept"``: P(X) and P(Y) are kept. The axis of P(Y|X) turns by 81 degrees
          towards ``x3``, which nothing but target labels can show.
    n_source, n_target : int, default=500
        Rows.
    random_state : int, RandomState or None, default=None
        Seed.

    Returns
    -------
    (Domain, Domain)
        Source and target, both labelled; ``X`` of shape (n, 5), ``y`` 0 or 1.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> from shiftlab.data import make_gaussian_shift
    >>> source, target = make_gaussian_shift("label", random_state=0)
    >>> source.shape, bool(target.y.mean() < 0.2)
    ((500, 5), True)
    """
    if kind not in GAUSSIAN_SHIFTS:
        listed = ", ".join(repr(k) for k in GAUSSIAN_SHIFTS)
        raise ValueError(f"kind must be one of {listed}; got {kind!r}")
    for name, value in (("n_source", n_source), ("n_target", n_target)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name} must be an int of at least 1, got {value!r}")
    rng = np.random.default_rng(int(check_random_state(random_state).randint(2**31 - 1)))
    source, y = _side(rng, kind, n_source, moved=False)
    target, target_y = _side(rng, kind, n_target, moved=True)
    names = [f"x{j}" for j in range(N_COLUMNS)]
    return (
        Domain(source, y, name="source", feature_names=names),
        Domain(target, target_y, name="target", feature_names=names),
    )


def gaussian_probability(
    X: ArrayLike, kind: GaussianShift = "none", *, target: bool = False
) -> Floats:
    """The true P(Y = 1 | X) of `make_gaussian_shift`.

    Parameters
    ----------
    X : array-like of shape (n, 5)
        Rows.
    kind : str, default="none"
        The task that they are of.
    target : bool, default=False
        Whether they are of the target.

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> from shiftlab.data.gaussian_shifts import gaussian_probability
    >>> gaussian_probability([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]).round(2).tolist()
    [0.5, 1.0]
    """
    Z = np.asarray(X, dtype=np.float64)
    if kind == "label":
        prior = PRIOR if target else 0.5
        logit = 2 * HALF_DISTANCE * (Z @ AXIS) + np.log(prior / (1 - prior))
        return np.asarray(expit(logit), dtype=np.float64)
    if kind == "location_scale" and target:
        Z = (Z - LOCATION) / SCALE
    axis = AXIS
    if kind == "concept" and target:
        axis = np.cos(np.deg2rad(TURN)) * AXIS + np.sin(np.deg2rad(TURN)) * OTHER
    return np.asarray(expit(SHARPNESS * (Z @ axis)), dtype=np.float64)


def _side(
    rng: np.random.Generator, kind: GaussianShift, n: int, *, moved: bool
) -> tuple[Floats, NDArray[np.int64]]:
    X = rng.normal(size=(n, N_COLUMNS))
    if kind == "label":
        y = (rng.random(n) < (PRIOR if moved else 0.5)).astype(np.int64)
        return X + np.outer(2 * y - 1, HALF_DISTANCE * AXIS), y
    if moved and kind == "covariate":
        X *= NARROWER
        X[:, 0] += MOVE
    if moved and kind == "location_scale":
        X = X * SCALE + LOCATION
    y = (rng.random(n) < gaussian_probability(X, kind, target=moved)).astype(np.int64)
    return X, y
