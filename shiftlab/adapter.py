"""The interface of every adapter: ``fit(source, target)``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import indent
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from shiftlab.domain import Domain
from shiftlab.supervised import fit_estimator, rows_for
from shiftlab.validation import check_columns, check_pair, read_source

if TYPE_CHECKING:
    from shiftlab.against import AdaptedEstimator

__all__ = ["DIFFERENCES", "Adapter", "Difference", "Facts"]

Difference = Literal["feature_space", "marginal", "label_space", "conditional"]
DIFFERENCES: tuple[Difference, ...] = ("feature_space", "marginal", "label_space", "conditional")


# Python 3.13 takes the indentation out of docstrings, older ones leave it.
_MARK = re.compile(r"^( *)<(.+ of every .+)>\n", flags=re.M)


@dataclass(frozen=True)
class Facts:
    """What an adapter says about itself, for the registry, the recommender and the docs.

    Parameters
    ----------
    handles : tuple of {"feature_space", "marginal", "label_space", "conditional"}
        Which differences between source and target it answers.
    assumes : str
        One sentence: what must hold for it to help.
    source_labels : bool, default=False
        Whether the adaptation itself needs source labels.
    target_labels : {"none", "optional", "required"}, default="none"
        Whether it sees the labels of the target that are known. With "none" they are
        removed before it sees the target.
    tasks : tuple of {"classification", "regression"}
        What it can be used for.
    inputs : tuple of {"dense", "sparse", "frame", "images"}
        Which kinds of ``X`` it takes. Those not named are refused or, for images, flattened.
    needs_overlap : bool, default=False
        Whether it can only help where the source has rows wherever the target has. The
        recommender leaves it out where the two hardly overlap.
    several_sources : bool, default=False
        Whether it needs several sources. (All adapters take several and pool them.)
    bridge : {"paired_rows", "dictionary", "word_vectors"} or None, default=None
        What has to be known of both feature spaces: rows, words, or vectors of the words.
    own_columns : bool, default=False
        Whether it is for sides that share no column.
    label_sets : tuple of {"new", "gone"}, default=()
        For ``label_space``: whether it answers classes that only the target has ("new"), or that
        only the source has ("gone").
    deep : bool, default=False
        Whether it needs torch.
    cost : str, default=""
        Time and memory as a function of n rows and d columns.
    """

    handles: tuple[Difference, ...]
    assumes: str
    source_labels: bool = False
    target_labels: Literal["none", "optional", "required"] = "none"
    tasks: tuple[Literal["classification", "regression"], ...] = ("classification", "regression")
    inputs: tuple[Literal["dense", "sparse", "frame", "images"], ...] = ("dense", "frame", "images")
    needs_overlap: bool = False
    several_sources: bool = False
    bridge: Literal["paired_rows", "dictionary", "word_vectors"] | None = None
    own_columns: bool = False
    label_sets: tuple[Literal["new", "gone"], ...] = ()
    deep: bool = False
    cost: str = ""

    @property
    def needs(self) -> frozenset[str]:
        """What must be given beside the two samples.

        Any of ``source_labels``, ``target_labels``, ``several_sources``, ``paired_rows``,
        ``dictionary``, ``word_vectors``, ``classes``, ``images`` and ``torch``.
        """
        found = {
            "source_labels": self.source_labels,
            "target_labels": self.target_labels == "required",
            "several_sources": self.several_sources,
            "classes": self.tasks == ("classification",),
            "images": self.inputs == ("images",),
            "torch": self.deep,
        }
        needed = {name for name, is_needed in found.items() if is_needed}
        return frozenset(needed | {self.bridge} if self.bridge else needed)


def _estimator_has(method: str) -> Any:
    """Make the check by which `available_if` shows or hides a method."""

    def check(self: Adapter) -> bool:
        predictor = getattr(self, "estimator_", None) or self._answering()
        if predictor is None:
            raise AttributeError(
                f"{type(self).__name__} has no {method} without an estimator: give it one, "
                f"{type(self).__name__}(LogisticRegression()), or end a pipeline with one"
            )
        getattr(predictor, method)  # raises AttributeError with the estimator's own words
        return True

    return check


class Adapter(BaseEstimator):  # type: ignore[misc]
    """Base class of all adapters.

    A subclass declares ``facts`` and ``_parameter_constraints``, stores its parameters in
    ``__init__`` and writes ``_adapt(source, target)``, which sets the fitted attributes and
    returns the adapted source. It writes ``_transform_target(target)`` when target rows
    have to be mapped as well. Everything else is here.

    With ``estimator=`` the adapter trains it on the adapted source and predicts target rows.

    What the docstrings of several subclasses share stands in ``_shared_docs`` of their base, and
    a line ``<name>`` in its place.
    """

    facts: ClassVar[Facts]
    _shared_docs: ClassVar[Mapping[str, str]] = {}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"]), None],
    }

    source_: Domain
    estimator_: Any
    n_features_in_: int

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__doc__:  # python -OO has none
            cls.__doc__ = _MARK.sub(lambda m: indent(cls._shared_docs[m[2]], m[1]), cls.__doc__)

    def __init__(self, estimator: Any = None) -> None:
        self.estimator = estimator

    # -- fitting ------------------------------------------------------------------------

    def fit(self, source: Any, target: Any) -> Self:
        """Adapt to the difference between two samples, and train the estimator if there is one.

        Parameters
        ----------
        source : Domain, (X, y), X, data frame, or a list of them
            The labelled sample. A list of domains or pairs is several sources.
        target : Domain, (X, y), X or data frame
            The sample to adapt to. Its labels are removed unless the adapter asks for them.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of range, the columns differ, or labels that are needed
            are missing.
        """
        self._validate_params()
        facts = self._get_facts()
        who = type(self).__name__
        if _is_one_value_a_row(target):
            raise ValueError(
                f"{who}.fit takes (source, target), and the target has one value a row, like "
                "labels; did you mean fit((X, y), target)?"
            )
        source_domain, target_domain = read_source(source), Domain.of(target, name="target")
        check_pair(
            source_domain, target_domain, who, same_columns="feature_space" not in facts.handles
        )
        target_domain = _hide_labels(target_domain, facts, who)
        if facts.source_labels and source_domain.n_labelled == 0:
            raise ValueError(
                f"{who} needs a labelled source; got no label. Pass (X, y) or Domain(X, y)."
            )
        self.n_features_in_ = target_domain.n_features
        if target_domain.feature_names is not None:
            self.feature_names_in_ = target_domain.feature_names
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        # What `transform` and `predict` compare new rows with: columns only, no data.
        self._target_schema = target_domain.unlabelled().take([])
        self.source_ = self._adapt(source_domain.masked(), target_domain)
        predictor = self._predictor()
        if predictor is not None:
            self.estimator_ = self._train(predictor, self.source_)
            self._after_training(target_domain)
        return self

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        """Set the fitted attributes and return the adapted source."""
        raise NotImplementedError(f"{type(self).__name__} must define _adapt")

    def _train(self, predictor: Any, source: Domain) -> Any:
        """Return what predicts: a clone of ``predictor`` trained on the adapted source."""
        return fit_estimator(predictor, source)

    def _after_training(self, target: Domain) -> None:
        """Set what needs the trained ``estimator_``; nothing by default."""

    def _transform_target(self, target: Domain) -> Domain:
        """Map target-side rows into the adapted space; the identity by default."""
        return target

    def _predictor(self) -> Any:
        """Return the unfitted estimator to train on the adapted source, or None."""
        return getattr(self, "estimator", None)

    def _answering(self) -> Any:
        """Return the unfitted object that will answer `predict` and the like, or None."""
        return self._predictor()

    def _get_facts(self) -> Facts:
        return self.facts

    # -- using ----------------------------------------------------------------------------

    def transform(self, X: Any) -> Any:
        """Map target-side rows into the adapted space.

        Parameters
        ----------
        X : array, CSR matrix, data frame, images or Domain
            Rows with the columns of the target that was fitted.

        Returns
        -------
        array, CSR matrix, data frame or images
            The rows unchanged unless the adapter moves features.
        """
        return self._read_and_transform(X).X

    def _read_and_transform(self, X: Any) -> Domain:
        return self._transform_target(self._read(X))

    def _read(self, X: Any) -> Domain:
        """Read new target rows, and refuse those that differ from the target that was fitted."""
        check_is_fitted(self, "source_")
        rows = Domain.of(X)
        who = type(self).__name__
        schema = self._target_schema
        if rows.n_rows == 0:
            raise ValueError(f"{who}: X has 0 sample(s); a minimum of 1 is required")
        if rows.shape[1:] != schema.shape[1:] and not rows.is_image and not rows.feature_names:
            # The wording that scikit-learn's own estimator checks look for.
            raise ValueError(
                f"X has {rows.n_features} features, but {who} is expecting "
                f"{schema.n_features} features as input"
            )
        check_columns(schema.with_(name="the fitted target"), rows.with_(name="X"), who)
        return rows

    def _estimator_rows(self, X: Any) -> Any:
        check_is_fitted(self, "estimator_")
        return rows_for(self.estimator_, self._read_and_transform(X).X)

    @available_if(_estimator_has("predict"))  # type: ignore[untyped-decorator]
    def predict(self, X: Any) -> Any:
        """Predict labels of target rows with the estimator trained on the adapted source.

        Parameters
        ----------
        X : array, CSR matrix, data frame, images or Domain
            Target rows.

        Returns
        -------
        array of shape (n,)
        """
        rows = self._estimator_rows(X)
        return self.estimator_.predict(rows)

    @available_if(_estimator_has("predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Any:
        """Predict class probabilities of target rows.

        Parameters
        ----------
        X : array, CSR matrix, data frame, images or Domain
            Target rows.

        Returns
        -------
        array of shape (n, n_classes)
            Columns in the order of ``classes_``.
        """
        rows = self._estimator_rows(X)
        return self.estimator_.predict_proba(rows)

    @available_if(_estimator_has("decision_function"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> Any:
        """Return the estimator's decision values of target rows.

        Parameters
        ----------
        X : array, CSR matrix, data frame, images or Domain
            Target rows.

        Returns
        -------
        array of shape (n,) or (n, n_classes)
        """
        rows = self._estimator_rows(X)
        return self.estimator_.decision_function(rows)

    @available_if(_estimator_has("score"))  # type: ignore[untyped-decorator]
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy (classifiers) or R^2 (regressors) on labelled target rows.

        Parameters
        ----------
        X : array, CSR matrix, data frame, images or Domain
            Target rows.
        y : array of shape (n,)
            Their labels.
        sample_weight : array of shape (n,), default=None
            Row weights.

        Returns
        -------
        float
        """
        from sklearn.metrics import accuracy_score, r2_score

        metric = accuracy_score if get_tags(self).classifier_tags is not None else r2_score
        return float(metric(y, self.predict(X), sample_weight=sample_weight))

    @property
    def classes_(self) -> Any:
        """Class labels, in the order of the columns of `predict_proba`."""
        return self.estimator_.classes_

    def against(self, target: Any) -> AdaptedEstimator:
        """Return a scikit-learn estimator ``fit(X, y)`` that adapts to ``target``.

        Parameters
        ----------
        target : Domain, (X, y), X, data frame or None
            What every fit adapts to. None adapts to the training rows themselves.

        Returns
        -------
        AdaptedEstimator
            For `GridSearchCV`, `cross_val_score`, `StackingClassifier` and the like.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.model_selection import cross_val_score
        >>> from shiftlab import CORAL
        >>> rng = np.random.default_rng(0)
        >>> X, y = rng.normal(size=(80, 2)), np.repeat([0, 1], 40)
        >>> model = CORAL(LogisticRegression()).against(3 * X)
        >>> len(cross_val_score(model, X, y, cv=4))
        4
        """
        from shiftlab.against import AdaptedEstimator

        return AdaptedEstimator(self, None if target is None else Domain.of(target, name="target"))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        predictor = self._predictor()
        if predictor is not None:
            inner = get_tags(predictor)
            tags.estimator_type = inner.estimator_type
            tags.classifier_tags = inner.classifier_tags
            tags.regressor_tags = inner.regressor_tags
        tags.input_tags.sparse = "sparse" in self._get_facts().inputs
        return tags


def _is_one_value_a_row(target: Any) -> bool:
    """Whether this can only be labels: a vector, a series or a flat list."""
    if isinstance(target, list):
        return bool(target) and bool(np.isscalar(target[0]))
    return getattr(target, "ndim", None) == 1


def _hide_labels(target: Domain, facts: Facts, who: str) -> Domain:
    """Remove every label that the adapter has no business to see."""
    if facts.target_labels == "none":
        return target.unlabelled()
    if facts.target_labels == "required" and target.n_labelled == 0:
        raise ValueError(
            f"{who} needs some labelled target rows; got none. Mark the rows whose label is "
            "known: Domain(X, y, labelled=mask)."
        )
    return target.masked()
