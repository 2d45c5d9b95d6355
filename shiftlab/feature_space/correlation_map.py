"""Map two spaces by what goes together in rows that were seen in both (CCA)."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from shiftlab.adapter import Adapter, Facts
from shiftlab.domain import Domain
from shiftlab.feature_space.canonical import choose_canonical
from shiftlab.feature_space.two_spaces import Sample, TwoSpaces
from shiftlab.stats.kernels import NystroemMap, median_distance
from shiftlab.validation import numeric_rows

__all__ = ["CorrelationMap", "read_pairs"]

Floats = NDArray[np.float64]

LANDMARKS = 500


def read_pairs(
    paired: Any, source: Sample, target: Sample, who: str, *, sparse: bool = False
) -> tuple[Any, Any]:
    """Return the paired rows as two matrices, or say what is wrong with them.

    Parameters
    ----------
    paired : tuple of (A, B)
        Rows in the source's columns, and the same objects in the target's.
    source, target : Sample
        What they are compared with.
    who : str
        The adapter, for the message.
    sparse : bool, default=False
        Whether sparse rows stay sparse.

    Returns
    -------
    tuple of ndarray or CSR matrix of shape (m, d_source) and (m, d_target)

    Raises
    ------
    ValueError
        For pairs of different length or with other columns, or fewer than two different ones.
    """
    if len(paired) != 2:
        raise ValueError(f"{who}: paired must be two sets of rows (A, B); got {len(paired)}")
    domains = [Domain.of(x, name=f"paired[{k}]") for k, x in enumerate(paired)]
    A, B = (numeric_rows(d, who, sparse=sparse).astype(np.float64) for d in domains)
    for k, (rows, side, role) in enumerate(((A, source, "source"), (B, target, "target"))):
        if rows.shape[1] != side.X.shape[1]:
            raise ValueError(
                f"{who}: paired[{k}] has {rows.shape[1]} columns, but the {role} "
                f"{side.X.shape[1]}; give the paired rows in the columns of that side"
            )
    if A.shape[0] != B.shape[0] or A.shape[0] < 2:
        raise ValueError(
            f"{who}: paired needs the same objects on both sides, at least 2; got "
            f"{A.shape[0]} and {B.shape[0]} rows"
        )
    for k, rows in enumerate((A, B)):
        if (rows.max(axis=0) - rows.min(axis=0)).sum() == 0:
            raise ValueError(
                f"{who}: the {rows.shape[0]} rows of paired[{k}] are all equal, and so go with "
                "nothing on the other side; give different objects"
            )
    return A, B


class CorrelationMap(TwoSpaces):
    r"""Map both spaces onto what is correlated in rows that were seen in both.

    Of m objects both descriptions are known, without labels: a text and its translation, one
    scene by two sensors. Canonical correlation analysis finds directions with

    .. math:: \begin{pmatrix} 0 & S_{ab} \\ S_{ba} & 0 \end{pmatrix}
              \begin{pmatrix} w \\ v \end{pmatrix} = \rho
              \begin{pmatrix} S_{aa} + r_a I & 0 \\ 0 & S_{bb} + r_b I \end{pmatrix}
              \begin{pmatrix} w \\ v \end{pmatrix}

    and rows become :math:`\sqrt{\rho_k}\, w_k^\top (x - \bar a)` and :math:`\sqrt{\rho_k}\,
    v_k^\top (x - \bar b)`: what each side expects of the latent variable that both show
    (Bach & Jordan 2005). ``kernel="rbf"`` does the same in the space of a Gaussian kernel
    (kernel CCA), exactly with up to 500 pairs and with 500 landmarks above.

    It helps where the pairs are like the rows to be mapped; a few hundred are enough where the
    spaces have some hundred columns. It needs no target label, and uses those that are there. It
    harms where the source's rows are unlike those of the pairs, and gains nothing over the labelled
    target rows where what both sides share says nothing about the label: pairs of noise are
    correlated in the sample, too, and what is correlated on held-out pairs decides how much is
    kept. From pixels to gradients of digits it won 7.7 ± 1.2 points over three labels a class
    alone, 9.2 ± 1.1 with the kernel; with source digits of another data set it lost 18 and 14
    (``experiments/heterogeneous``).

    Scale columns of different units first. Time O((n + m) (d + e)^2 + (d + e)^3) for d and e
    columns, memory O((d + e)^2).

    Parameters
    ----------
    estimator : estimator, default=None
        Trained on the mapped source and the mapped labelled target rows.
    paired : tuple of (A, B), default=None
        ``(m, d_source)`` and ``(m, d_target)``: the same objects, row by row. Required.
    kernel : {"linear", "rbf"}, default="linear"
        "rbf" takes as bandwidth the median distance of the paired rows.
    n_components : int, default=None
        Dimensions. None keeps the leading ones that are correlated on held-out pairs, too.
    regularization : float, default=None
        r, as a share of the mean variance. None chooses among 0.001, 0.01, 0.1 and 1 on
        held-out pairs.
    random_state : int, RandomState or None, default=None
        Draws landmarks.

    Attributes
    ----------
    source_ : Domain
        The mapped source, followed by the mapped labelled rows of the target.
    correlations_ : ndarray of shape (k,)
        Of the paired rows, falling.

    Raises
    ------
    ValueError
        In `fit`, without ``paired``, or where its columns or lengths do not match.

    References
    ----------
    H. Hotelling, "Relations between two sets of variates", Biometrika 1936.

    F. Bach, M. Jordan, "A probabilistic interpretation of canonical correlation analysis",
    Technical Report 688, University of California, Berkeley 2005.

    D. Hardoon, S. Szedmak, J. Shawe-Taylor, "Canonical correlation analysis: An overview with
    application to learning methods", Neural Computation 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from shiftlab import CorrelationMap, Domain
    >>> rng = np.random.default_rng(4)
    >>> z = rng.normal(size=(500, 3))  # what both descriptions show
    >>> A, B = (z @ rng.normal(size=(3, d)) + rng.normal(size=(500, d)) / 2 for d in (20, 30))
    >>> y = (z[:, 0] > 0).astype(int)
    >>> Z, w = B[300:], y[300:]
    >>> target = Domain(Z, w, labelled=np.arange(200) < 6)
    >>> def score(rows, labels, **options):  # rows 0 to 99 are known on both sides
    ...     model = CorrelationMap(LogisticRegression(), paired=(rows[:100], B[:100]), **options)
    ...     return round(model.fit((rows[100:300], labels[100:300]), target).score(Z, w), 1)
    >>> noise, shuffled = rng.normal(size=A.shape), rng.permutation(y)
    >>> score(A, y), score(noise, y), score(A, shuffled)
    (0.9, 0.5, 0.8)
    >>> [score(*s, kernel="rbf", random_state=0) for s in ((A, y), (noise, y), (A, shuffled))]
    [0.9, 0.5, 0.7]
    >>> round(LogisticRegression().fit(Z[:6], w[:6]).score(Z, w), 1)  # without a source
    0.7
    """

    facts: ClassVar[Facts] = Facts(
        handles=("feature_space",),
        assumes="Some objects are known in both spaces, and what both show tells the label.",
        target_labels="optional",
        bridge="paired_rows",
        own_columns=True,
        cost="O((n + m) (d + e)^2 + (d + e)^3) for m pairs, d and e columns",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Adapter._parameter_constraints,
        "paired": [tuple, list, None],
        "kernel": [StrOptions({"linear", "rbf"})],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "regularization": [Interval(Real, 0, None, closed="left"), None],
        "random_state": ["random_state"],
    }

    correlations_: Floats

    def __init__(
        self,
        estimator: Any = None,
        *,
        paired: Any = None,
        kernel: str = "linear",
        n_components: int | None = None,
        regularization: float | None = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.paired = paired
        self.kernel = kernel
        self.n_components = n_components
        self.regularization = regularization
        self.random_state = random_state

    def _learn(self, source: Sample, target: Sample) -> None:
        if self.paired is None:
            raise ValueError(
                "CorrelationMap needs rows that are known in both spaces, without labels: "
                "paired=(A, B), A in the source's columns and B in the target's. A few labelled "
                "target rows are enough for SharedEmbedding."
            )
        A, B = read_pairs(self.paired, source, target, "CorrelationMap")
        self._lifts: list[Any] = [None, None]
        if self.kernel == "rbf":
            rng = check_random_state(self.random_state)
            rows = rng.permutation(len(A))[:LANDMARKS]
            self._lifts = [NystroemMap(X[rows], median_distance(X, rng)) for X in (A, B)]
            A, B = (lift(X) for lift, X in zip(self._lifts, (A, B), strict=True))
        self._fit = choose_canonical(A, B, self.regularization, self.n_components)
        self.correlations_ = self._fit.correlations

    def _map_source(self, X: Floats) -> Floats:
        return self._project(X, self._lifts[0], self._fit.mean_a, self._fit.directions_a)

    def _map_target(self, X: Floats) -> Floats:
        return self._project(X, self._lifts[1], self._fit.mean_b, self._fit.directions_b)

    def _project(self, X: Floats, lift: Any, mean: Floats, directions: Floats) -> Floats:
        rows = X if lift is None else lift(X)
        return np.asarray((rows - mean) @ (directions * np.sqrt(self.correlations_)))
