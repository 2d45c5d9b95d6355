"""The pairs of the study of choosing: generated shifts, and natural domains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier

from shiftlab.data.gaussian_shifts import make_gaussian_shift
from shiftlab.data.shifts import make_shift
from shiftlab.domain import Domain
from shiftlab.experiments.natural_splits import SPLITS, split_table
from shiftlab.experiments.seeds import derive_seed
from shiftlab.experiments.tabular_data import prepared_pair

__all__ = ["Case", "all_pairs", "load_case", "natural_pairs"]

DIGIT_PAIRS = (("mnist", "usps"), ("usps", "mnist"), ("svhn", "mnist"), ("mnist", "mnist_m"))


@dataclass(frozen=True)
class Case:
    """One source, one target and what is known of it.

    Parameters
    ----------
    source, target : Domain
        The target has all labels; a mask says which may be seen.
    shown : ndarray of bool
        Target rows whose label may be learnt from.
    scored : ndarray of bool
        Target rows that count.
    estimator : estimator or None
        None is the default of `adapt`.
    """

    source: Domain
    target: Domain
    shown: NDArray[np.bool_]
    scored: NDArray[np.bool_]
    estimator: Any

    def visible(self) -> Domain:
        """Return the target with the labels that may be seen."""
        if not self.shown.any():
            return self.target.unlabelled()
        return self.target.with_(labelled=self.shown).masked()


def load_case(group: str, source: str, target: str, seed: int, settings: Any, root: Any) -> Case:
    """Draw or load one pair.

    Parameters
    ----------
    group : str
        "shifts" or a name of ``settings["natural"]["sets"]``.
    source, target : str
        Family and kind of a shift, or the two domains.
    seed : int
        Of the draw.
    settings : mapping
        As in ``experiments/selection/config.toml``.
    root : path or None
        Folder of local data.

    Returns
    -------
    Case
    """
    if group == "shifts":
        return _shift(source, target, seed, settings["shifts"])
    if group in ("office", "reviews"):
        data, prepare = {
            "office": ("office_caltech", "zscore"),
            "reviews": ("amazon_reviews", "svd"),
        }[group]
        pair = prepared_pair(data, prepare, source, target, 0, root)
        return _case(pair.source, pair.target, scored=pair.scored)
    most = int(settings["natural"]["rows"])
    if group == "digits":
        return _digits(source, target, seed, most, root)
    return _split(group, source, seed, most)


def natural_pairs(group: str) -> list[tuple[str, str]]:
    """Return the pairs of a group of natural domains.

    Parameters
    ----------
    group : str
        Its name.

    Returns
    -------
    list of (str, str)
    """
    if group == "digits":
        return list(DIGIT_PAIRS)
    if group in SPLITS:
        return [("first", "second"), ("second", "first")]
    names = {
        "office": ("amazon", "caltech10", "dslr", "webcam"),
        "reviews": ("books", "dvd", "electronics", "kitchen"),
    }
    return list(permutations(names[group], 2))


def _case(
    source: Domain, target: Domain, *, scored: Any = None, shown: Any = None, estimator: Any = None
) -> Case:
    none = np.zeros(target.n_rows, dtype=bool)
    shown = none if shown is None else shown
    scored = ~shown if scored is None else scored
    return Case(source, target, shown, scored, estimator)


def _shift(family: str, kind: str, seed: int, settings: Any) -> Case:
    n = int(settings["rows"])
    rng = np.random.RandomState(derive_seed("draw", f"{family}/{kind}", seed))
    if family == "gaussian":
        make: Any = make_gaussian_shift
        source, target = make(kind, n_source=n, n_target=n, random_state=rng)
    else:
        moved = kind == "location_scale"
        make = make_shift
        source, target = make(
            "none" if moved else kind, family=family, n_source=n, n_target=n, random_state=rng
        )
        if moved:
            X = np.asarray(target.X)
            scale = np.exp(rng.uniform(-1, 1, X.shape[1]))
            target = target.with_(X=X * scale + rng.uniform(-1, 1, X.shape[1]))
    shown = None
    if kind == "concept":
        shown = np.zeros(n, dtype=bool)
        shown[rng.choice(n, int(settings["target_labels"]), replace=False)] = True
    # no line tells the classes of the second family apart
    trees = ExtraTreesClassifier(30, min_samples_leaf=3, random_state=0)
    return _case(source, target, shown=shown, estimator=trees if family == "nonlinear" else None)


def _digits(source: str, target: str, seed: int, most: int, root: Any) -> Case:
    """Features of a network that was trained on other rows of the source."""
    from shiftlab.data import load_digits5
    from shiftlab.deep import train_classifier

    rng = np.random.default_rng(derive_seed("draw", f"{source}/{target}", seed))
    domains = []
    for name in (source, target):
        domain = load_digits5(name, "train", root=root, source="local")
        domains.append(domain.take(rng.permutation(len(domain))[: 2 * most]))
    trained = domains[0].take(np.arange(most))
    net = train_classifier(
        trained.X, trained.y, epochs=5, device="cpu", random_state=derive_seed("network", seed)
    )
    kept = domains[0].take(np.arange(most, len(domains[0])))
    seen = domains[1].take(np.arange(min(most, len(domains[1]))))
    return _case(
        Domain(net.features(kept.X).astype(np.float64), kept.y, name=source),
        Domain(net.features(seen.X).astype(np.float64), seen.y, name=target),
    )


def _split(name: str, source: str, seed: int, most: int) -> Case:
    """A table in two parts by a column that is then left out."""
    X, y, second = split_table(name)
    rng = np.random.default_rng(derive_seed("draw", name, seed))
    parts = [rng.permutation(np.flatnonzero(second == k))[:most] for k in (False, True)]
    if source == "second":
        parts.reverse()
    a, b = (Domain(X[rows], y[rows], name=n) for rows, n in zip(parts, ("s", "t"), strict=True))
    spread = np.asarray(a.X).std(axis=0)
    centre, spread = np.asarray(a.X).mean(axis=0), np.where(spread > 0, spread, 1.0)
    a, b = (d.with_(X=(np.asarray(d.X) - centre) / spread) for d in (a, b))
    return _case(a, b)


def all_pairs(settings: Any) -> Iterator[tuple[str, str, str, int]]:
    """Group, source, target and seed of every case of the study.

    Parameters
    ----------
    settings : mapping
        As in ``experiments/selection/config.toml``.

    Yields
    ------
    (str, str, str, int)
    """
    shifts = settings["shifts"]
    for group in settings["natural"]["sets"]:
        for source, target in natural_pairs(group):
            yield group, source, target, 0
    for seed in range(int(shifts["seeds"])):
        for family in shifts["families"]:
            for kind in shifts["kinds"]:
                yield "shifts", family, kind, seed
