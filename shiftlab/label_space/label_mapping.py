"""Label mapping: say or learn which target label each source label becomes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shiftlab.adapter import Adapter, Facts
from shiftlab.domain import Domain
from shiftlab.supervised import fit_estimator, rows_for
from shiftlab.validation import check_values

__all__ = ["LabelMapping", "label_affinity", "resolved_label"]

Floats = NDArray[np.float64]

ROWS = 2.0  # labelled target rows that a source label is worth, for it to be no accident


def resolved_label(label: Any, mapping: Mapping[Any, Any], ends: set[Any]) -> Any:
    """Follow a mapping from a label to where it ends.

    Parameters
    ----------
    label : hashable
        Where to start.
    mapping : mapping
        Label to label, or to a list of labels. Labels may be mapped again, as in a hierarchy.
    ends : set
        Labels at which to stop, where they are mapped on or not; the target's.

    Returns
    -------
    label or tuple
        The end; a tuple where a label is split.

    Raises
    ------
    ValueError
        If the mapping runs in a circle.

    Examples
    --------
    >>> tree = {"poodle": "dog", "dog": "animal"}
    >>> resolved_label("poodle", tree, set()), resolved_label("poodle", tree, {"dog"})
    ('animal', 'dog')
    """
    seen = [label]
    while label in mapping and (label not in ends or len(seen) == 1):
        label = mapping[label]
        if isinstance(label, (list, tuple, set)):
            return tuple(label)
        if label == seen[-1]:
            break
        if label in seen:
            raise ValueError(f"LabelMapping: mapping runs in a circle: {[*seen, label]}")
        seen.append(label)
    return label


def label_affinity(probabilities: Floats, codes: NDArray[np.intp], n_labels: int) -> Floats:
    r"""Return :math:`A_{st}`, the mean probability of source label s on target rows of label t.

    Parameters
    ----------
    probabilities : ndarray of shape (m, k)
        Of the source's labels, for labelled target rows.
    codes : int ndarray of shape (m,)
        Their labels, 0 to n_labels - 1.
    n_labels : int
        Labels of the target; each has a row.

    Returns
    -------
    ndarray of shape (k, n_labels)
        Columns sum to one.
    """
    member = np.eye(n_labels)[codes]
    return np.asarray((member.T @ probabilities / member.sum(axis=0)[:, None]).T)


class LabelMapping(Adapter):
    r"""Rename the source's labels to the target's, and train on both.

    A mapping that is given may *merge* (several labels to one), follow a *hierarchy* (poodle to
    dog, dog to animal: each label goes on until it is one of the target's), and *split* (one label
    to a list): rows of a label that is split get the part that a clone of the estimator, trained
    on the labelled target rows of these parts, finds most likely. Labels that are not mapped keep
    their name.

    Without one, it is learnt from the labelled target rows: source label s becomes

    .. math:: t(s) = \arg\max_t A_{st}, \qquad
              A_{st} = \frac{1}{n_t} \sum_{j:\, y_j = t} \hat P_S(s \mid x_j)

    if that is more than a guess, 1 / k, or, as a label may be rare in what it merges into, worth
    two rows and twice its affinity to any other. A label for which it is neither keeps its name
    where the two sides share names, and its rows are left out otherwise. Labelled target rows join
    the training.

    It helps when both sides name or cut the same things in different ways. It harms when they do
    not mean the same things, and when a mapping is learnt from so few rows that it is luck.
    Measured with logistic regression (four source labels that the target merges to two, 400
    source rows, five columns, ten seeds), with the labelled target rows alone and with the
    mapping learnt from them: 8 rows .83, .83; 20 rows .89, .89; 40 rows .91, .92. Where it is
    known, give it.

    Time: one fit of the estimator, two where the mapping is learnt, one more for each split;
    memory O(n).

    Parameters
    ----------
    estimator : classifier, default=None
        Trained on the renamed source and the labelled target rows. A mapping that is learnt, or
        splits, needs it.
    mapping : mapping, default=None
        Source label to target label, or to a list of them. None learns it.

    Attributes
    ----------
    source_ : Domain
        The renamed source rows, and the labelled target rows.
    mapping_ : dict
        Source label to target label; to a tuple where a label is split. Labels without an
        entry were left out.
    affinity_ : ndarray of shape (k, n_labels) or None
        A, where the mapping was learnt.

    Raises
    ------
    ValueError
        In `fit`, for a mapping that runs in a circle, maps no label of the source, or splits
        without labelled target rows of two parts; or when no label can be mapped.

    Warns
    -----
    UserWarning
        When a mapping is to be learnt and no target row has a label: all labels keep their names.

    References
    ----------
    Z. Ding, Y. Fu, "Deep Domain Generalization With Structured Low-Rank Constraint", IEEE
    Transactions on Image Processing 2018.

    S. J. Pan, Q. Yang, "A Survey on Transfer Learning", IEEE Transactions on Knowledge and Data
    Engineering 2010 (label spaces that differ).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from shiftlab import Domain, LabelMapping
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["car", "cat", "dog"], 50)
    >>> centres = {"car": [0, 0], "cat": [4, 0], "dog": [4, 2]}
    >>> X = np.array([centres[name] for name in y]) + rng.normal(size=(150, 2))
    >>> given = LabelMapping(LogisticRegression(), mapping={"cat": "animal", "dog": "animal"})
    >>> given.fit((X, y), X).classes_.tolist()
    ['animal', 'car']
    >>> some = Domain(X, np.where(y == "car", "thing", "animal"), labelled=np.arange(150) % 15 == 0)
    >>> LabelMapping(LogisticRegression()).fit((X, y), some).mapping_
    {'car': 'thing', 'cat': 'animal', 'dog': 'animal'}
    """

    facts: ClassVar[Facts] = Facts(
        handles=("label_space",),
        assumes="Both sides name or cut the same things in different ways.",
        source_labels=True,
        target_labels="optional",
        tasks=("classification",),
        inputs=("dense", "sparse", "frame", "images"),
        label_sets=("new", "gone"),
        cost="one fit of the estimator, two where the mapping is learnt",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Adapter._parameter_constraints,
        "mapping": [Mapping, None],
    }

    def __init__(self, estimator: Any = None, *, mapping: Mapping[Any, Any] | None = None) -> None:
        self.estimator = estimator
        self.mapping = mapping

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        for domain in (source, target):
            check_values(domain, self.estimator, "LabelMapping")
        source, known = source.labelled_part(), target.labelled_part()
        self.affinity_: Floats | None = None
        names = np.unique(source.y).tolist()
        if self.mapping is None:
            self.mapping_ = self._learnt(source, target, known, names)
        else:
            ends = set(target.label_set().tolist())
            if not set(names) & set(self.mapping):
                raise ValueError(
                    f"LabelMapping: mapping has none of the source's labels {names[:5]}; it has "
                    f"{list(self.mapping)[:5]}"
                )
            self.mapping_ = {name: resolved_label(name, self.mapping, ends) for name in names}
        kept = np.array([label in self.mapping_ for label in source.y.tolist()])
        if not kept.any():
            raise ValueError(
                "LabelMapping: no source label could be mapped to a label of the target; give a "
                "mapping, or more labelled target rows"
            )
        source = source.take(kept)
        labels = self._renamed(source, known)
        source = source.with_(y=labels, classes=None)
        if known.n_rows == 0:
            return source
        known = known.with_(classes=None)
        if not known.is_frame:
            known = known.with_(feature_names=source.feature_names)
        return Domain.concat([source, known])

    def _learnt(
        self, source: Domain, target: Domain, known: Domain, names: list[Any]
    ) -> dict[Any, Any]:
        if known.n_rows == 0:
            warnings.warn(
                "LabelMapping: no target row has a label, so no mapping can be learnt and all "
                "labels keep their names. Give mapping=, or mark the rows whose label is known.",
                stacklevel=2,
            )
            return {name: name for name in names}
        self._need_estimator("to learn a mapping")
        labels, codes = np.unique(known.y, return_inverse=True)
        if len(names) == 1:
            probabilities = np.ones((known.n_rows, 1))
        else:
            probabilities = _probabilities(fit_estimator(self.estimator, source), known.X)
        self.affinity_ = label_affinity(probabilities, codes, len(labels))
        declared = target.classes is not None
        shared = set(target.label_set().tolist()) & set(names)
        found = {}
        counts = np.bincount(codes)
        for name, row in zip(names, self.affinity_, strict=True):
            best = int(np.argmax(row))
            others = np.delete(row, best).max(initial=0.0)
            clear = counts[best] * row[best] >= ROWS and row[best] >= 2 * others
            if row[best] > 1 / len(names) or clear or len(names) == 1:
                found[name] = labels.tolist()[best]
            elif name in shared or (shared and not declared):
                found[name] = name
        return found

    def _renamed(self, source: Domain, known: Domain) -> NDArray[Any]:
        renamed = [self.mapping_[label] for label in source.y.tolist()]
        for name, parts in self.mapping_.items():
            if isinstance(parts, tuple):
                rows = np.flatnonzero([label == name for label in source.y.tolist()])
                answers = self._split(name, parts, known, source.take(rows))
                for i, answer in zip(rows, answers, strict=True):
                    renamed[i] = answer
        kinds = {isinstance(label, str) for label in renamed}
        if len(kinds) > 1:
            raise ValueError(
                "LabelMapping: some source labels become text and others numbers, "
                f"{sorted(set(map(repr, renamed)))[:5]}; map all of them to one kind"
            )
        return np.array(renamed)

    def _split(self, name: Any, parts: tuple[Any, ...], known: Domain, rows: Domain) -> list[Any]:
        self._need_estimator(f"to split {name!r}")
        teachers = known.take([label in parts for label in (known.y if known.n_rows else [])])
        seen = [] if teachers.n_rows == 0 else np.unique(teachers.y).tolist()
        if len(seen) < 2:
            raise ValueError(
                f"LabelMapping: to split {name!r} into {list(parts)} takes labelled target rows of "
                f"at least two of these; got {seen or 'none'}"
            )
        model = fit_estimator(self.estimator, teachers)
        answers: list[Any] = model.predict(rows_for(model, rows.X)).tolist()
        return answers

    def _need_estimator(self, what: str) -> None:
        if self.estimator is None:
            raise ValueError(f"LabelMapping needs an estimator {what}; got None")


def _probabilities(model: Any, X: Any) -> Floats:
    rows = rows_for(model, X)
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(rows), dtype=np.float64)
    answers = np.searchsorted(model.classes_, model.predict(rows))
    return np.asarray(np.eye(len(model.classes_))[answers])
