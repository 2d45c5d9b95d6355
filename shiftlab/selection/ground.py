"""What held-out source rows say about the target, and on which ground."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.model_selection import StratifiedKFold

from shiftlab.conditional.label_shift_fit import is_label_shift_plausible, label_shift_fit
from shiftlab.domain import Domain
from shiftlab.marginal.weighting.classifier import ClassifierWeighting
from shiftlab.selection.assumption import Assumption, unless_refuted
from shiftlab.selection.candidates import COMPONENTS, directions
from shiftlab.selection.evidence import Evidence, remaining_difference
from shiftlab.selection.judge import Judge
from shiftlab.selection.probabilities import held_out_brier
from shiftlab.selection.validators.source_risk import SourceScore
from shiftlab.stats.bootstrap import Estimate, mean_estimate
from shiftlab.stats.performance import label_shift_estimate
from shiftlab.stats.priors import em_prior
from shiftlab.validation import numeric_rows

__all__ = ["FEWEST_LABELS", "Ground"]

Floats = NDArray[np.float64]

FEWEST_LABELS = 5  # of target rows, to be looked at
EFFECTIVE_ROWS = 50.0  # that the weighted source has to be worth
COVERED = 0.9  # share of the target that has to lie within reach of the source
MATCHED = 0.6  # AUC up to which weights, or a map, count as having made the sides alike
ROWS = 2000  # of each side, to see what is left
DIRECTIONS = 2 * COMPONENTS  # in which the rows have to vary for a projection to be a choice
SKILL = 0.5  # share of the errors of naming the commonest class that the source model avoids
SHARES = 0.3  # total variation of predicted class shares; mistakes on a far target move them too


class Ground:
    """The source-only model, its held-out predictions, and the assumptions they leave standing.

    Gains of adapters are estimated on the same folds, so that what is compared is paired.

    Parameters
    ----------
    baseline : Adapter
        The unfitted source-only model.
    source, target : Domain
        The two samples; hidden labels are masked.
    cv : int
        Folds of the source, and of labelled target rows.
    rng : RandomState
        Seeds everything.

    Attributes
    ----------
    baseline_ : Adapter
        The source-only model, fitted to all of the source.
    """

    def __init__(
        self, baseline: Any, source: Domain, target: Domain, cv: int, rng: np.random.RandomState
    ) -> None:
        self.baseline, self.source, self.target, self.cv = baseline, source, target, cv
        self.classifies = bool(is_classifier(baseline))
        self._seed = int(rng.randint(2**31 - 1))
        self._judge = Judge.of(SourceScore(), source, target, cv, self.classifies, self._seed)
        self.folds = self._judge.folds
        self.held_out = np.concatenate([test for _, test in self.folds])
        self.y = np.asarray(source.y)[self.held_out]
        self.scale = 1.0 if self.classifies else max(float(np.var(self.y)), 1e-300)
        self.baseline_ = clone(baseline).fit(source, target)
        self._known: dict[int, tuple[Any, tuple[Floats, Floats | None]]] = {}
        own = source.weight
        self.own = np.ones(len(self.y)) if own is None else np.asarray(own)[self.held_out]

    # -- the assumptions ------------------------------------------------------------------------

    @cached_property
    def label_shift(self) -> Assumption | None:
        """Only the class shares changed; None where there are no class probabilities."""
        if not self.classifies or not hasattr(self.baseline_, "predict_proba"):
            return None
        fit = label_shift_fit(
            self.source.take(self.held_out), self._proba, self.codes, self.target.unlabelled(),
            self._target_proba, np.random.RandomState(self._seed),
        )  # fmt: skip
        name, assumes = "label shift", "only the class shares changed"
        if fit is None:
            return Assumption(name, assumes, False, "label shift could not be tested")
        if not is_label_shift_plausible(fit):
            why = f"no change of the class shares explains the target's X (p = {fit.p_value:.2g})"
            return Assumption(name, assumes, False, why)
        return self._unless_labels_refute(
            Assumption(name, assumes, True, f"test of it: p = {fit.p_value:.2f}")
        )

    @cached_property
    def covariate_shift(self) -> Assumption:
        """Y at equal X is the same, and weights reach the target."""
        name, assumes = "covariate shift", "Y at equal X is the same in both"
        pair = self._numbers()
        if pair is None:
            return Assumption(name, assumes, False, "the columns could not be weighted")
        S, T = pair
        weighting = ClassifierWeighting(flatten=1.0, random_state=0)
        self._ratio = np.asarray(weighting.fit(S, T).weights_)
        worth, covered = weighting.effective_sample_size_, weighting.overlap_
        if worth < EFFECTIVE_ROWS or covered < COVERED:
            why = (
                f"weights would leave {worth:.0f} rows' worth, and {covered:.0%} of the target "
                "lies within reach of the source"
            )
            return Assumption(name, assumes, False, why)
        some, others = self._some(S.n_rows), self._some(T.n_rows)
        left = remaining_difference(
            np.asarray(S.X)[some], np.asarray(T.X)[others], self._ratio[some]
        )
        if left > MATCHED:
            why = f"weights leave source and target apart (AUC {left:.2f})"
            return Assumption(name, assumes, False, why)
        return self._unless_labels_refute(
            Assumption(
                name, assumes, True, f"weights make the source like the target, AUC {left:.2f}"
            )
        )

    def feature_map(self, fitted: Any) -> Assumption | None:
        """Whether an adapter's map of the source's rows makes the two sides alike.

        Parameters
        ----------
        fitted : Adapter
            Fitted to all of the source.

        Returns
        -------
        Assumption or None
            None where there is no such map: source rows that are not brought among the target's
            rows as the source-only model sees them say nothing here.
        """
        mapped, plain = fitted.source_.X, self.baseline_.source_.X
        if not isinstance(mapped, np.ndarray) or mapped.ndim != 2:
            return None
        if len(mapped) != self.source.n_rows or _same(mapped, plain):
            return None
        rows = self.target.take(self._some(self.target.n_rows)).X
        moved = np.asarray(fitted.transform(rows))
        if not _same(moved, self.baseline_.transform(rows)):
            return None
        left = remaining_difference(mapped[self._some(len(mapped))], moved)
        stands = left <= MATCHED
        does = "makes the source like the target," if stands else "leaves source and target apart,"
        return Assumption(
            "feature map",
            "Y at equal mapped X is the same in both",
            stands,
            f"the map {does} AUC {left:.2f}",
        )

    @cached_property
    def class_structure(self) -> Assumption:
        """Whether pseudo-labels and class-wise alignment have something to stand on.

        They take the source model's answers for labels, leave the class shares about as they
        are, and drop directions in which the sides differ: a weak model, a target of other shares,
        or columns of which none can be spared lead them astray. That this stands does not show a
        gain; it only leaves one possible.
        """
        name = "class structure"
        assumes = "the classes are told apart alike in both, and their shares are about the same"
        if not self.classifies or not hasattr(self.baseline_, "predict_proba"):
            return Assumption(name, assumes, False, "there are no class probabilities")
        if self._numbers() is None:
            return Assumption(name, assumes, False, "the columns are not plain numbers")
        rank = directions(self.source, self.target)
        if rank < DIRECTIONS:
            why = f"with {rank} directions in which the rows vary, a projection can spare none"
            return Assumption(name, assumes, False, why)
        commonest = np.bincount(self.codes).max() / len(self.codes)
        right = float(np.mean(self._proba.argmax(axis=1) == self.codes))
        skill = (right - commonest) / max(1 - commonest, 1e-12)
        if skill < SKILL:
            why = (
                f"held-out source rows are told apart too weakly for pseudo-labels ({right:.0%} "
                f"right, {commonest:.0%} by naming the commonest class)"
            )
            return Assumption(name, assumes, False, why)
        shares = [p.mean(axis=0) for p in (self._proba, self._target_proba)]
        moved = float(np.abs(shares[0] - shares[1]).sum() / 2)
        if moved > SHARES:
            why = f"the class shares seem to differ by {moved:.0%} of the rows"
            return Assumption(name, assumes, False, why)
        return Assumption(
            name, assumes, True, f"{right:.0%} of held-out source rows are right, and the "
            f"predicted class shares differ by {moved:.0%}",
        )  # fmt: skip

    @property
    def labels_refute(self) -> bool:
        """Whether known labels speak against an assumption that the rows alone left standing."""
        return any(a is not None and a.refuted for a in (self.label_shift, self.covariate_shift))

    # -- what follows from them -----------------------------------------------------------------

    def assess(self, adapter: Any, fitted: Any) -> list[Evidence]:
        """Estimate what an adapter gains under the first assumption that stands.

        Parameters
        ----------
        adapter, fitted : Adapter
            Unfitted, and fitted to all of the source.

        Returns
        -------
        list of Evidence
            What was looked at, in order; only the last one can be plausible.
        """
        seen: list[Evidence] = []
        for assumption in (self.label_shift, self.covariate_shift):
            if assumption is None:
                continue
            if assumption.plausible:
                gain = self.held_out_loss(self.baseline) - self.held_out_loss(adapter)
                brier = [held_out_brier(self, model) for model in (self.baseline, adapter)]
                found = self.estimate(gain, assumption)
                if brier[0] is None or brier[1] is None:
                    return [*seen, assumption.evidence(found)]
                falls = self.estimate(brier[0] - brier[1], assumption)
                return [*seen, assumption.evidence(found, falls)]
            seen.append(assumption.evidence())
        alike = self.feature_map(fitted)
        if alike is None:
            return seen
        losses = self.mapped_losses(adapter) if alike.plausible else None
        if losses is None:
            return [*seen, alike.evidence()]
        if self.known is not None:
            met = self._loss(fitted, self.known)
            alike = unless_refuted(alike, self.estimate(losses[1], alike), met)
            if not alike.plausible:
                return [*seen, alike.evidence()]
        return [*seen, alike.evidence(self.estimate(losses[0] - losses[1], alike))]

    def estimate(self, values: Floats, assumption: Assumption) -> Estimate:
        """Mean of a value of held-out rows in the target, if an assumption holds.

        Parameters
        ----------
        values : ndarray of shape (n,)
            Of the rows ``held_out``.
        assumption : Assumption
            From here; under "feature map" the values are of mapped rows.

        Returns
        -------
        Estimate
        """
        rng = np.random.default_rng(self._seed)
        if assumption.name == "label shift":
            return label_shift_estimate(
                values, self.codes, self._proba, self._target_proba, rng=rng
            )
        return mean_estimate(values, self.weights(assumption), rng=rng)

    def weights(self, assumption: Assumption) -> Floats:
        """Weights by which held-out rows stand for the target, if an assumption holds.

        Parameters
        ----------
        assumption : Assumption
            From here.

        Returns
        -------
        ndarray of shape (n,)
        """
        if assumption.name == "covariate shift":
            return np.asarray(self._ratio[self.held_out] * self.own)
        if assumption.name == "feature map":
            return self.own
        present, place = np.unique(self.codes, return_inverse=True)
        posterior = np.maximum(self._target_proba[:, present], 1e-12)
        posterior /= posterior.sum(axis=1, keepdims=True)
        shares = np.bincount(place) / len(place)
        return np.asarray((em_prior(posterior, shares).prior / shares)[place])

    def held_out_loss(self, adapter: Any) -> Floats:
        """Losses of an adapter on source rows that it was fitted without, as target rows."""
        return self._held_out(adapter)[0]

    def held_out_probabilities(self, adapter: Any) -> Floats | None:
        """Class probabilities of the same rows, shape (n, k); None where it has none."""
        return self._held_out(adapter)[1]

    def _held_out(self, adapter: Any) -> tuple[Floats, Floats | None]:
        # the adapter is kept beside its numbers, so that no other can get its id
        if id(adapter) not in self._known:
            losses, probabilities = [], []
            for fold, (_, test) in enumerate(self.folds):
                fitted, rows = self._judge.fit(adapter, fold), self.source.take(test)
                losses.append(self._loss(fitted, rows))
                if self.classifies and hasattr(fitted, "predict_proba"):
                    probabilities.append(self._aligned(fitted, rows.X))
            proba = np.concatenate(probabilities) if probabilities else None
            self._known[id(adapter)] = adapter, (np.concatenate(losses), proba)
        return self._known[id(adapter)][1]

    def loss_without(self, adapter: Any, rows: NDArray[np.intp], *, mapped: bool) -> Floats:
        """Losses on labelled source rows of an adapter that learns from the others.

        Parameters
        ----------
        adapter : Adapter
            Unfitted.
        rows : ndarray of int
            Row numbers of the source.
        mapped : bool
            Whether as the adapter maps them; else as target rows.

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        if mapped:
            found = self._mapped_without(adapter, rows)
            assert found is not None
            return found[1]
        others = np.setdiff1d(np.arange(self.source.n_rows), rows)
        fitted = clone(adapter).fit(self.source.take(others), self.target)
        return self._loss(fitted, self.source.take(rows))

    def target_loss(self, adapter: Any, fitted: Any, soft: bool = False) -> Floats:
        """Losses of an adapter on labelled target rows.

        An adapter that learns from target labels is fitted without those it is judged on.

        Parameters
        ----------
        adapter, fitted : Adapter
            Unfitted, and fitted to all of the source and target.
        soft : bool, default=False
            Half the Brier score of a row where there are class probabilities: it says more of
            few rows than whether they were right.

        Returns
        -------
        ndarray of shape (n_labelled,)
        """
        known = np.flatnonzero(self.target.labelled)
        if adapter._get_facts().target_labels == "none":
            return self._loss(fitted, self.target.take(known), soft)
        loss = np.zeros(len(known))
        for part in self._target_parts(known):
            mask = self.target.labelled.copy()
            mask[known[part]] = False
            again = clone(adapter).fit(self.source, self.target.with_(labelled=mask).masked())
            loss[part] = self._loss(again, self.target.take(known[part]), soft)
        return loss

    def target_gain(self, adapter: Any, fitted: Any, soft: bool = False) -> Floats:
        """Loss of the source-only model less that of an adapter; see `target_loss`."""
        known = self.target.take(np.flatnonzero(self.target.labelled))
        return self._loss(self.baseline_, known, soft) - self.target_loss(adapter, fitted, soft)

    def share_changed(self, fitted: Any) -> float:
        """Share of the target's rows that an adapter answers differently."""
        answers = [np.asarray(m.predict(self.target.X)) for m in (self.baseline_, fitted)]
        return float(np.mean(answers[0] != answers[1]))

    # -- inside ---------------------------------------------------------------------------------

    @cached_property
    def _fits(self) -> list[Any]:
        return [self._judge.fit(self.baseline, fold) for fold in range(len(self.folds))]

    @cached_property
    def _proba(self) -> Floats:
        found = self.held_out_probabilities(self.baseline)
        assert found is not None
        return found

    @cached_property
    def _target_proba(self) -> Floats:
        return np.asarray(np.mean([self._aligned(m, self.target.X) for m in self._fits], axis=0))

    @cached_property
    def codes(self) -> NDArray[np.intp]:
        """Classes of the held-out rows, as columns of the probabilities."""
        return np.asarray(np.searchsorted(self.baseline_.classes_, self.y))

    def _aligned(self, model: Any, X: Any) -> Floats:
        """Class probabilities in the columns of the whole model, also where a fold lacks one."""
        classes = self.baseline_.classes_
        found = np.zeros((Domain.of(X).n_rows, len(classes)))
        found[:, np.searchsorted(classes, model.classes_)] = model.predict_proba(X)
        return found

    @cached_property
    def known(self) -> Domain | None:
        """The labelled target rows, where there are enough to look at."""
        rows = np.flatnonzero(self.target.labelled)
        return self.target.take(rows) if len(rows) >= FEWEST_LABELS else None

    def _unless_labels_refute(self, assumption: Assumption) -> Assumption:
        """Give up an assumption under which known labels are missed far too often."""
        if self.known is None:
            return assumption
        expected = self.estimate(self.held_out_loss(self.baseline), assumption)
        return unless_refuted(assumption, expected, self._loss(self.baseline_, self.known))

    def _loss(self, model: Any, rows: Domain, soft: bool = False) -> Floats:
        if soft and hasattr(model, "predict_proba"):
            proba, y = np.asarray(model.predict_proba(rows.X)), np.asarray(rows.y)
            hit = np.asarray(model.classes_)[None, :] == y[:, None]
            # a class that the model does not know is missed in full
            return np.asarray(
                (np.square(proba - hit).sum(axis=1) + ~hit.any(axis=1)) / 2, dtype=np.float64
            )
        predicted, y = np.asarray(model.predict(rows.X)), np.asarray(rows.y)
        if self.classifies:
            return np.asarray(predicted != y, dtype=np.float64)
        return np.square(np.asarray(predicted - y, dtype=np.float64)) / self.scale

    def mapped_losses(self, adapter: Any) -> tuple[Floats, Floats] | None:
        """Losses of both models on mapped source rows whose labels neither saw.

        Parameters
        ----------
        adapter : Adapter
            Unfitted.

        Returns
        -------
        tuple of ndarray or None
            Of the source-only model and of the adapter; None where rows are lost on the way.
        """
        found = []
        for _, test in self.folds:
            losses = self._mapped_without(adapter, test)
            if losses is None:
                return None
            found.append(losses)
        return np.concatenate([b for b, _ in found]), np.concatenate([a for _, a in found])

    def _mapped_without(self, adapter: Any, rows: NDArray[np.intp]) -> tuple[Floats, Floats] | None:
        mask = self.source.labelled.copy()
        mask[rows] = False
        masked = self.source.with_(labelled=mask).masked()
        models = [clone(m).fit(masked, self.target) for m in (self.baseline, adapter)]
        mapped = models[1].source_
        if mapped.n_rows != self.source.n_rows:
            return None
        as_mapped = self.source.take(rows).with_(X=mapped.X[rows])
        # mapped rows are past the steps before the last estimator
        base, adapted = (self._loss(m.estimator_, as_mapped) for m in models)
        return base, adapted

    def _target_parts(self, known: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Folds of the labelled target rows, with the classes spread over them."""
        y = np.asarray(self.target.y)[known]
        rng = np.random.RandomState(self._seed)
        codes = np.unique(y, return_inverse=True)[1] if self.classifies else np.zeros(len(y), int)
        if np.bincount(codes).min() < self.cv:
            parts = rng.permutation(len(known)) % self.cv
            return [np.flatnonzero(parts == k) for k in np.unique(parts)]
        folds = StratifiedKFold(self.cv, shuffle=True, random_state=rng)
        return [test for _, test in folds.split(np.zeros((len(y), 1)), codes)]

    def _some(self, n: int) -> NDArray[np.intp]:
        """Draw at most 2,000 of n rows."""
        if n <= ROWS:
            return np.arange(n)
        rng = np.random.RandomState(self._seed)
        return np.sort(rng.choice(n, ROWS, replace=False))

    def _numbers(self) -> tuple[Domain, Domain] | None:
        """Both samples as dense numbers, or nothing."""
        try:
            X = numeric_rows(self.source, "Ground", sparse=False)
            Z = numeric_rows(self.target, "Ground", sparse=False)
        except ValueError:  # text or gaps: the estimator may take them, weights do not
            return None
        return Domain(X, weight=self.source.weight, name="source"), Domain(Z, name="target")


def _same(A: Any, B: Any) -> bool:
    return bool(np.shape(A) == np.shape(B) and np.array_equal(A, B))
