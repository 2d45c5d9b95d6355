"""Score candidates on the same folds: what the search and a single look have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.model_selection import check_cv

from shiftlab.adapter import Adapter
from shiftlab.domain import Domain
from shiftlab.pipeline import make_pipeline
from shiftlab.selection.trial import Trial
from shiftlab.selection.validators.base import Validator
from shiftlab.validation import check_pair, read_source

__all__ = ["Judge", "as_candidate", "validation_scores"]

Rows = NDArray[np.intp]


def as_candidate(model: Any, name: str) -> Any:
    """Return something that can be fitted on a source and a target, and predicts.

    Parameters
    ----------
    model : adapter, pipeline or estimator
        A plain scikit-learn estimator becomes the source-only pipeline of it.
    name : str
        For the message.

    Returns
    -------
    Adapter
    """
    if isinstance(model, type) or not hasattr(model, "fit"):
        raise TypeError(
            f"candidate {name!r} must be an adapter, a pipeline or an estimator, got {model!r}"
        )
    found = model if isinstance(model, Adapter) else make_pipeline(model)
    if not hasattr(found, "predict"):
        raise TypeError(
            f"candidate {name!r} predicts nothing: give it an estimator, "
            f"{type(model).__name__}(LogisticRegression()), or end the pipeline with one"
        )
    return found


@dataclass(frozen=True)
class Judge:
    """A validator with the rows and folds that every candidate is judged on.

    Parameters
    ----------
    validator : Validator
        What scores.
    source, target : Domain
        The two samples. Labels of the target reach only adapters that learn from them.
    folds : list of (train, test)
        Row numbers of the source.
    ratio : ndarray of shape (n_source,) or None
        Density ratio at the source rows, where the validator needs it.
    """

    validator: Validator
    source: Domain
    target: Domain
    folds: list[tuple[Rows, Rows]]
    ratio: NDArray[np.float64] | None

    @classmethod
    def of(
        cls,
        validator: Any,
        source: Any,
        target: Any,
        cv: Any,
        classifies: bool,
        random_state: Any,
    ) -> Judge:
        """Read the two samples, draw the folds and estimate the density ratio if needed.

        Parameters
        ----------
        validator : Validator
            What scores.
        source, target : as in `Adapter.fit`
            The two samples.
        cv : int or splitter
            Folds of the labelled source rows.
        classifies : bool
            Whether the candidates predict classes; the folds keep their shares then.
        random_state : int, RandomState or None
            Seed of the folds where ``cv`` is a number.

        Returns
        -------
        Judge
        """
        if not isinstance(validator, Validator):
            raise TypeError(f"validator must be a Validator, such as InfoMax(), got {validator!r}")
        S, T = read_source(source).masked(), Domain.of(target, name="target").masked()
        check_pair(S, T, type(validator).__name__, same_columns=False)
        known = np.flatnonzero(S.labelled)
        if len(known) < 2:
            raise ValueError(
                f"source needs at least 2 labelled rows to choose by, got {len(known)}"
            )
        y = np.asarray(S.y)[known]
        splitter = check_cv(cv, y, classifier=classifies)
        if "random_state" in vars(splitter) and np.isscalar(cv):
            splitter.shuffle, splitter.random_state = True, random_state
        hidden = np.flatnonzero(~S.labelled)
        groups = None if S.group is None else np.asarray(S.group)[known]
        folds = [
            (np.sort(np.concatenate([known[train], hidden])), known[test])
            for train, test in splitter.split(np.zeros((len(known), 1)), y, groups)
        ]
        ratio = None
        if "ratio" in validator.needs:
            fitted = clone(validator._weighting()).fit(S.unlabelled(), T.unlabelled())
            ratio = np.asarray(fitted.weights_, dtype=np.float64)
        return cls(validator, S, T, folds, ratio)

    def fit(self, model: Any, fold: int) -> Any:
        """Fit a copy of a candidate without the rows of a fold.

        Parameters
        ----------
        model : Adapter
            Unfitted.
        fold : int
            Which fold is held out.

        Returns
        -------
        Adapter
        """
        return clone(model).fit(self.source.take(self.folds[fold][0]), self.target)

    def judge(self, name: str, fitted: Any, model: Any, fold: int) -> float:
        """Score a candidate on the fold that it was fitted without.

        Parameters
        ----------
        name : str
            Of the candidate.
        fitted, model : Adapter
            From `fit`, and as it was before.
        fold : int
            Which fold was held out.

        Returns
        -------
        float
        """
        test = self.folds[fold][1]
        ratio = None if self.ratio is None else self.ratio[test]
        target = self.target.unlabelled()
        return self.validator.score(
            Trial(name, fitted, model, self.source.take(test), target, ratio)
        )

    def score(self, name: str, model: Any, fold: int) -> float:
        """Fit a candidate without a fold and score it there; see `fit` and `judge`."""
        return self.judge(name, self.fit(model, fold), model, fold)


def validation_scores(
    model: Any,
    source: Any,
    target: Any,
    validator: Any,
    *,
    cv: Any = 5,
    n_jobs: int | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> NDArray[np.float64]:
    """Score one adapter without target labels, as `cross_val_score` scores an estimator.

    For each fold the adapter is fitted on the other source rows and the whole target, and the
    validator judges it on the fold and the target.

    Parameters
    ----------
    model : adapter, pipeline or estimator
        It has to predict. A plain estimator stands for the source-only model.
    source, target : as in `Adapter.fit`
        Target labels, if there are any, reach only adapters that learn from them.
    validator : Validator
        For example ``InfoMax()``; higher is better for all.
    cv : int or splitter, default=5
        Folds of the labelled source rows.
    n_jobs : int, default=None
        Folds at the same time, as joblib counts.
    random_state : int, RandomState or None, default=None
        Seed of the folds where ``cv`` is a number.

    Returns
    -------
    ndarray of shape (n_folds,)

    Raises
    ------
    ValueError
        If a score is not finite, or the validator cannot judge the model.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from shiftlab import CORAL, InfoMax, validation_scores
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> model = CORAL(LogisticRegression())
    >>> validation_scores(model, (X, X[:, 0] > 0), 3 * X, InfoMax(), cv=3, random_state=0).shape
    (3,)
    """
    name = type(model).__name__
    candidate = as_candidate(model, name)
    judge = Judge.of(validator, source, target, cv, is_classifier(candidate), random_state)
    found = joblib.Parallel(n_jobs=n_jobs)(
        joblib.delayed(judge.score)(name, candidate, fold) for fold in range(len(judge.folds))
    )
    return np.array(found)
