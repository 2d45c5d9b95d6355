"""What all importance weights share: their scale and bounds, and a warning where none can help."""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from shiftlab.adapter import Adapter, Facts
from shiftlab.domain import Domain
from shiftlab.marginal.weighting.rows import RowMap, some_rows
from shiftlab.stats.weights import effective_sample_size, scale_to_mean_one, support_overlap
from shiftlab.validation import at_least_two_rows, check_columns

__all__ = ["ImportanceWeighting", "bend", "weighting_facts"]

Floats = NDArray[np.float64]

ROWS_FOR_OVERLAP = 2000
# A target less of which is within reach, or a source that is worth less: they hardly overlap.
LEAST_OVERLAP = 0.05
LEAST_WORTH = 0.02
# Unless told otherwise, weights leave this many effective rows for each column that a model may
# use, or this share of the rows where there are fewer.
ROWS_A_COLUMN = 10
MOST_WORTH = 0.95
LARGEST_LOG = 600.0  # its exponential is still far from overflow

_SHARED_DOCS = {
    "clip and flatten of every weighting": """\
clip : float, default=None
    Largest density ratio, at least 1, on the scale where its mean is one. The mean stays
    one. None leaves the ratio as it is.
flatten : float or "auto", default="auto"
    Exponent of the ratio, from 0 (all weights one) to 1 (the ratio itself): less variance for
    some bias. "auto" is the largest that leaves ten effective rows for each column, or
    95% of the rows where there are fewer.
""",
    "attributes of every weighting": """\
weights_ : ndarray of shape (n_source,)
    Weights of the source rows: density ratio times the source's own weights. Mean one.
effective_sample_size_ : float
    How many equally weighted rows the weighted source is worth (Kish).
max_share_ : float
    Share of the total weight that the heaviest row carries.
flatten_ : float
    The exponent that was used.
overlap_ : float
    Share of the target's rows that are as near to a source row as source rows to each other.
""",
}


def bend(log_ratio: Floats, relative: float, flatten: float) -> Floats:
    r"""Return the log of a ratio made relative and flattened.

    .. math:: r \mapsto \left(\frac{r}{\alpha r + 1 - \alpha}\right)^{\gamma}

    Parameters
    ----------
    log_ratio : ndarray
        :math:`\log r`, minus infinity where the ratio is zero.
    relative : float
        :math:`\alpha` in [0, 1); the result is at most :math:`\alpha^{-\gamma}`.
    flatten : float
        :math:`\gamma` in [0, 1]; 0 makes all ratios one.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> import numpy as np
    >>> np.exp(bend(np.log([0.5, 1.0, 4.0]), 0.25, 0.5)).round(3).tolist()
    [0.756, 1.0, 1.512]
    """
    if flatten == 0:
        return np.zeros_like(log_ratio)
    if relative > 0:
        log_ratio = log_ratio - np.logaddexp(np.log(relative) + log_ratio, np.log1p(-relative))
    return flatten * log_ratio


def weighting_facts(cost: str) -> Facts:
    """Return the facts of an adapter that weights rows: all but the cost are the same."""
    return Facts(
        handles=("marginal",),
        assumes="P(Y|X) is the same on both sides and the source has rows wherever the target has.",
        inputs=("dense", "sparse", "frame", "images"),
        needs_overlap=True,
        cost=cost,
    )


class ImportanceWeighting(Adapter):
    """Base class of adapters that weight source rows by an estimate of ``p_T(x) / p_S(x)``.

    A subclass writes `_fit_log_ratio`, which learns from both samples and returns the log ratio
    of the source rows, and `_log_ratio` for new rows; up to one constant that both share.
    """

    _shared_docs = _SHARED_DOCS
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Adapter._parameter_constraints,
        "relative": [Interval(Real, 0, 1, closed="left")],
        "clip": [Interval(Real, 1, None, closed="left"), None],
        "flatten": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
        "random_state": ["random_state"],
    }

    clip: float | None
    flatten: float | str
    random_state: int | np.random.RandomState | None
    weights_: Floats

    def _fit_log_ratio(self, source: Domain, target: Domain, rng: np.random.RandomState) -> Floats:
        raise NotImplementedError

    def _log_ratio(self, rows: Domain) -> Floats:
        raise NotImplementedError

    def _relative(self) -> float:
        """Return the share of the target in the denominator that is still to be put there."""
        return float(getattr(self, "relative", 0.0))

    def _reason_to_warn(self) -> str:
        """Return what else shows that the samples hardly overlap, or nothing."""
        return ""

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        who = type(self).__name__
        at_least_two_rows(source, target, who)
        rng = check_random_state(self.random_state)
        self._rows = RowMap(source, target, who, rng)
        few = (some_rows(np.arange(d.n_rows), ROWS_FOR_OVERLAP, rng) for d in (source, target))
        self.overlap_ = support_overlap(
            *(self._rows(d.take(rows)) for d, rows in zip((source, target), few, strict=True))
        )
        log_ratio = self._fit_log_ratio(source, target, rng)
        own = np.ones(source.n_rows) if source.weight is None else source.weight
        self._nothing = not np.isfinite(log_ratio[own > 0]).any()
        if self._nothing:
            log_ratio = np.zeros(source.n_rows)
        with np.errstate(divide="ignore"):  # a row whose own weight is zero
            log_own = np.log(own / own.sum())
        # On the scale where the mean is one, which the relative ratio refers to.
        self._log_mean = float(logsumexp(log_ratio + log_own))
        whole = bend(log_ratio - self._log_mean, self._relative(), 1.0)
        worth = _worth(whole, own, 1.0)
        self.flatten_ = (
            self._gentle_exponent(whole, own, source.n_features)
            if self.flatten == "auto"
            else float(self.flatten)
        )
        bent = bend(whole, 0.0, self.flatten_)
        self._log_largest = float(bent[own > 0].max())
        ratio = np.exp(np.minimum(bent - self._log_largest, 0.0))
        scaled, self._factor = scale_to_mean_one(ratio, source.weight, self.clip)
        self.weights_ = own * scaled
        self.weights_ /= self.weights_.mean()
        self.effective_sample_size_ = effective_sample_size(self.weights_)
        self.max_share_ = float(self.weights_.max() / self.weights_.sum())
        self._warn_if_apart(source, worth)
        return source.with_(weight=self.weights_)

    def weigh(self, X: Any) -> Floats:
        """Return the density ratio of new source rows.

        Parameters
        ----------
        X : array, CSR matrix, data frame, images or Domain
            Rows with the columns of the source.

        Returns
        -------
        ndarray of shape (n,)
            On the scale of ``weights_`` (before the source's own weights), with the same bounds.
        """
        self._read_and_transform(X)  # checks that it is fitted, and the columns
        rows = Domain.of(X, name="X")
        check_columns(self._target_schema.with_(name="the fitted target"), rows, "weigh")
        if self._nothing:
            return np.ones(rows.n_rows)
        bent = bend(self._log_ratio(rows) - self._log_mean, self._relative(), self.flatten_)
        ratio: Floats = np.exp(np.minimum(bent - self._log_largest, LARGEST_LOG)) * self._factor
        return ratio if self.clip is None else np.minimum(ratio, self.clip)

    def _gentle_exponent(self, log_ratio: Floats, own: Floats, n_columns: int) -> float:
        """Return the largest exponent that leaves ten effective rows for each column."""
        least = min(ROWS_A_COLUMN * n_columns, MOST_WORTH * effective_sample_size(own))
        if _worth(log_ratio, own, 1.0) >= least:
            return 1.0
        low, high = 0.0, 1.0
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if _worth(log_ratio, own, middle) >= least else (low, middle)
        return low

    def _warn_if_apart(self, source: Domain, worth: float) -> None:
        """Warn by the worth before flattening, which would hide what was found."""
        who, n = type(self).__name__, source.n_rows
        own = n if source.weight is None else effective_sample_size(source.weight)
        more = self._reason_to_warn()
        apart = self.overlap_ < LEAST_OVERLAP or self._nothing or bool(more)
        if not apart and worth >= LEAST_WORTH * own:
            return
        said = "The ratio is zero on every source row, so all weights stay one. "
        warnings.warn(
            f"{who}: source and target hardly overlap. {said if self._nothing else ''}"
            f"{self.overlap_:.1%} of the target's rows lie within reach of the source, and by the "
            f"ratio alone the weighted source is worth {worth:.1f} of its {n} rows (effective "
            f"sample size){more}; the weights used are worth {self.effective_sample_size_:.1f}. "
            "Align the features first, for example with CORAL, or set clip= or flatten= yourself.",
            UserWarning,
            stacklevel=4,
        )


def _worth(log_ratio: Floats, own: Floats, exponent: float) -> float:
    """Effective sample size of the weights at an exponent."""
    bent = bend(log_ratio, 0.0, exponent)
    return effective_sample_size(own * np.exp(bent - bent[own > 0].max()).clip(max=1.0))
