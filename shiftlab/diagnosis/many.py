"""Several domains against each other, or one sample along time."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np

from shiftlab.diagnosis.attribution import FAMILY
from shiftlab.diagnosis.comparison import Comparison, ManyDiagnosis
from shiftlab.diagnosis.findings import Kind
from shiftlab.diagnosis.label_space import compare_label_spaces, read_labels
from shiftlab.diagnosis.result import Diagnosis
from shiftlab.diagnosis.run import (
    Task,
    check_arguments,
    check_permutations,
    diagnose,
    fewest_permutations,
)
from shiftlab.diagnosis.sample import own_random_state
from shiftlab.diagnosis.windows import Window, cut_windows, without_column
from shiftlab.domain import Domain
from shiftlab.stats.multiple import benjamini_hochberg

__all__ = ["diagnose_many"]

MOST_PERMUTATIONS = 9_999
COLUMNS_NAMED = 3


def diagnose_many(
    domains: Any,
    *,
    by: str | None = None,
    n_windows: int | None = None,
    reference: Any = None,
    label: str | None = None,
    task: Task = "classification",
    alpha: float = 0.05,
    n_permutations: int | None = None,
    features: Any = None,
    random_state: int | np.random.RandomState | None = None,
) -> ManyDiagnosis:
    r"""Say which of several domains differ, or when one sample begins to differ along time.

    Without ``by``, every domain is compared with every other: k domains make
    :math:`k (k - 1) / 2` calls of `diagnose`. With ``by``, the rows are cut into windows of
    equal counts along that column, and each window is compared with the reference, by default
    the first window. The reference is never compared with itself or with rows of its own.

    The p-value of a comparison is that nothing differs between its two sides: the smallest
    of the p-values that `diagnose` has corrected over its questions (Holm). These are
    corrected over the m comparisons by Benjamini and Hochberg,
    :math:`\tilde p_{(i)} = \min_{j \ge i} \min(1, m\, p_{(j)} / j)`, so that of the
    comparisons called different a share of at most ``alpha`` is false on average, and none is
    with probability ``1 - alpha`` where nothing differs at all. Comparisons that share a side
    are dependent; for the positive dependence that sharing a reference gives, the correction
    holds. The columns that moved have a budget of their own, corrected in the same way over
    all columns of all comparisons.

    Parameters
    ----------
    domains : list, dict or Domain; with ``by`` also a data frame or (X, y)
        A list or a dict of what `diagnose` takes, at least two of them. A dict's keys are the
        names. One `Domain` whose ``group`` says which domain a row belongs to, such as
        `Domain.concat` makes. With ``by``, one sample.
    by : str or None, default=None
        Column of ``X`` with numbers, dates or times to cut the sample along. It takes no part
        in the comparisons. Rows without a value there are left out.
    n_windows : int or None, default=None
        Number of windows, of at least 30 rows each. Rows with equal values of ``by`` stay
        together. None makes up to 10 windows of at least 100 rows.
    reference : str, Domain, (X, y), data frame or None, default=None
        What all others are compared with: the name of a domain or window (``"window 3"``), or
        a sample of its own. None compares all pairs or, with ``by``, takes the first window.
    label : str or None, default=None
        The label's column, where data frames are given. Some of them may lack it.
    task : {"classification", "regression"}, default="classification"
        What the labels are.
    alpha : float, default=0.05
        Level of every comparison and of the correction over them.
    n_permutations : int or None, default=None
        Permutations of each permutation test. None makes as many as one comparison needs to
        stand out after the corrections, between 499 and 9,999.
    features : callable, transformer or None, default=None
        As in `diagnose`.
    random_state : int, RandomState or None, default=None
        Seed. Each comparison has a seed of its own.

    Returns
    -------
    ManyDiagnosis

    Raises
    ------
    ValueError
        Before any comparison: fewer than two domains, equal names, an unknown reference or
        column, windows of fewer than 30 rows, an empty domain.

    References
    ----------
    Y. Benjamini, D. Yekutieli, "The Control of the False Discovery Rate in Multiple Testing
    under Dependency", Annals of Statistics 2001.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab.diagnosis import diagnose_many
    >>> rng = np.random.default_rng(0)
    >>> shops = {name: rng.normal(size=(300, 3)) for name in ("Ulm", "Bonn", "Kiel")}
    >>> shops["Kiel"][:, 1] += 2.0
    >>> found = diagnose_many(shops, random_state=0)
    >>> [(c.source, c.target, c.columns) for c in found.comparisons if c.differs]
    [('Ulm', 'Kiel', ('x1',)), ('Bonn', 'Kiel', ('x1',))]
    >>> found.nearest("Ulm")[0].target
    'Bonn'

    >>> import pandas as pd
    >>> log = pd.DataFrame({"day": np.arange(900), "x": rng.normal(size=900)})
    >>> log.loc[600:, "x"] += 2.0
    >>> drift = diagnose_many(log, by="day", n_windows=3, random_state=0)
    >>> drift.first_different.window.span
    '600 to 899'
    """
    _check(by, n_windows, label)
    check_arguments(task, alpha)
    notes: list[str] = []
    windows: list[Window] = []
    if by is None:
        samples = _read_domains(domains, label)
    else:
        one = _read(_only_one(domains), label, "")
        cut, notes = cut_windows(one, by, n_windows)
        windows, samples = [w for w, _ in cut], [d for _, d in cut]
    samples, chosen = _with_reference(samples, reference, label, by)
    _check_samples(samples, label)
    names = [s.name for s in samples]
    jobs = _jobs(samples, chosen)
    if n_permutations is None:
        # so many that the smallest p-value survives a correction over the comparisons as well
        needed = fewest_permutations(alpha, len(jobs))
        n_permutations = max(check_permutations(None, alpha), min(needed, MOST_PERMUTATIONS))
    seeds = own_random_state(random_state).randint(2**31 - 1, size=len(jobs))
    pairs = {
        (names[i], names[j]): diagnose(
            samples[i],
            samples[j],
            task=task,
            alpha=alpha,
            n_permutations=n_permutations,
            features=features,
            random_state=int(seed),
            explain=False,
        )
        for (i, j), seed in zip(jobs, seeds, strict=True)
    }
    strict = alpha / len(jobs)
    new_labels = [
        compare_label_spaces(read_labels(samples[i], samples[j]), task, strict).differs
        for i, j in jobs
    ]
    return ManyDiagnosis(
        comparisons=_decided(pairs, new_labels, alpha, {w.name: w for w in windows}),
        pairs=pairs,
        n_rows={s.name: s.n_rows for s in samples},
        reference=None if chosen is None else names[chosen],
        by=by,
        windows=tuple(windows),
        alpha=float(alpha),
        notes=notes + _pair_notes(pairs),
    )


# -- what to compare ----------------------------------------------------------------------


def _check(by: Any, n_windows: Any, label: str | None) -> None:
    if by is None:
        if n_windows is not None:
            raise ValueError("n_windows needs by=, the column to cut the sample along")
        return
    if not isinstance(by, str):
        raise ValueError(f"by must be the name of a column, got {by!r}")
    if by == label:
        raise ValueError(f"by and label are both {by!r}; windows are cut along a column of X")
    whole = isinstance(n_windows, int) and not isinstance(n_windows, bool)
    if n_windows is not None and (not whole or n_windows < 2):
        raise ValueError(f"n_windows must be an int of at least 2, got {n_windows!r}")


def _is_frame(given: Any) -> bool:
    return bool(nw.dependencies.is_into_dataframe(given))


def _read(given: Any, label: str | None, name: str) -> Domain:
    """Read one sample; a data frame may lack the label."""
    named = None
    if label is not None and _is_frame(given):
        columns = [str(c) for c in nw.from_native(given, eager_only=True).columns]
        named = label if label in columns else None
    return Domain.of(given, label=named, name=name)


def _read_domains(given: Any, label: str | None) -> list[Domain]:
    if isinstance(given, Domain) and given.group is not None:
        values = list(dict.fromkeys(given.group.tolist()))
        samples = [given.take(given.group == v).with_(name=str(v), group=None) for v in values]
    elif isinstance(given, Mapping) and "data" not in given:
        samples = [_read(v, label, "").with_(name=str(k)) for k, v in given.items()]
    elif isinstance(given, list):
        samples = [_read(v, label, f"domain {i}") for i, v in enumerate(given, 1)]
    else:
        raise ValueError(
            "domains must be a list or a dict of samples, or one Domain with a group; got "
            f"{type(given).__name__}. To cut one sample along a column, pass by="
        )
    return samples


def _only_one(given: Any) -> Any:
    if isinstance(given, list) or (isinstance(given, Mapping) and "data" not in given):
        raise ValueError(
            f"with by= pass one sample, not a {type(given).__name__} of several; a sample to "
            "compare the windows with goes into reference="
        )
    return given


def _with_reference(
    samples: list[Domain], reference: Any, label: str | None, by: str | None
) -> tuple[list[Domain], int | None]:
    """Put a sample that is the reference first; say which of all is the reference."""
    if reference is None:
        return samples, None if by is None else 0
    if isinstance(reference, str):
        names = [s.name for s in samples]
        if reference not in names:
            raise ValueError(f"reference={reference!r} is none of {_listed(names)}")
        return samples, names.index(reference)
    sample = _read(reference, label, "reference")
    return [sample if by is None else without_column(sample, by), *samples], 0


def _check_samples(samples: list[Domain], label: str | None) -> None:
    if len(samples) < 2:
        raise ValueError(f"at least two domains are needed to compare, got {len(samples)}")
    names = [s.name for s in samples]
    twice = [n for n in dict.fromkeys(names) if names.count(n) > 1]
    if twice:
        raise ValueError(
            f"two domains have the name {twice[0]!r}; pass a dict to give each its own name"
        )
    for sample in samples:
        if sample.n_rows == 0 or sample.n_features == 0:
            what = "rows" if sample.n_rows == 0 else "columns"
            raise ValueError(f"{sample.name} has no {what}, so there is nothing to compare")
    if label is not None and not any(s.n_labelled for s in samples):
        raise ValueError(f"label={label!r} is a column with labels in none of the data frames")


def _jobs(samples: list[Domain], reference: int | None) -> list[tuple[int, int]]:
    """Positions of source and target of every comparison.

    The earlier of two is the source, unless only the later has labels: a model of the source
    is what finds label shift.
    """
    if reference is not None:
        return [(reference, i) for i in range(len(samples)) if i != reference]
    return [
        (j, i) if samples[j].n_labelled and not samples[i].n_labelled else (i, j)
        for i, j in combinations(range(len(samples)), 2)
    ]


def _listed(names: list[str], most: int = 8) -> str:
    shown = ", ".join(repr(n) for n in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


# -- what was found -----------------------------------------------------------------------


def _p_value(diagnosis: Diagnosis) -> float:
    """P-value of "nothing differs": the smallest of those corrected over the questions."""
    adjusted = [diagnosis.findings[q].p_adjusted for q in FAMILY]
    return min((p for p in adjusted if p is not None), default=np.nan)


def _decided(
    pairs: dict[tuple[str, str], Diagnosis],
    new_labels: list[bool],
    alpha: float,
    windows: dict[str, Window],
) -> list[Comparison]:
    raw = np.array([_p_value(d) for d in pairs.values()])
    adjusted = benjamini_hochberg(raw)
    return [
        _comparison(names, d, p, q, labels_differ, columns, alpha, windows.get(names[1]))
        for (names, d), p, q, labels_differ, columns in zip(
            pairs.items(), raw, adjusted, new_labels, _moved(pairs, alpha), strict=True
        )
    ]


def _moved(pairs: dict[tuple[str, str], Diagnosis], alpha: float) -> list[list[str]]:
    """Columns that moved in each comparison: one budget over all columns of all of them."""
    records = [(i, f) for i, d in enumerate(pairs.values()) for f in d.features]
    tested = [(i, f) for i, f in records if f.p_value is not None]
    adjusted = benjamini_hochberg(np.array([f.p_value for _, f in tested], dtype=np.float64))
    moved: list[list[tuple[float, str]]] = [[] for _ in pairs]
    for (i, f), p in zip(tested, adjusted, strict=True):
        if p <= alpha:
            moved[i].append((-(f.effect or 0.0), f.feature))
    return [[name for _, name in sorted(columns)] for columns in moved]


def _comparison(
    names: tuple[str, str],
    diagnosis: Diagnosis,
    p_value: float,
    p_adjusted: float,
    labels_differ: bool,
    moved: list[str],
    alpha: float,
    window: Window | None,
) -> Comparison:
    tests_differ = bool(p_adjusted <= alpha)  # never for NaN
    kind: Kind = "undetermined" if np.isnan(p_value) else "none"
    differs = tests_differ or diagnosis.feature_space_differs or labels_differ
    marginal = diagnosis.findings["marginal"]
    return Comparison(
        *names,
        kind=diagnosis.kind if tests_differ else kind,
        differs=differs,
        p_value=_or_none(p_value),
        p_adjusted=_or_none(p_adjusted),
        effect=marginal.effect,
        interval=marginal.interval,
        mmd_squared=marginal.details.get("mmd_squared"),
        feature_space_differs=diagnosis.feature_space_differs,
        label_space_differs=labels_differ,
        columns=tuple(moved[:COLUMNS_NAMED]) if differs else (),
        n_columns=len(moved) if differs else 0,
        window=window,
    )


def _or_none(p: Any) -> float | None:
    return None if np.isnan(p) else float(p)


def _pair_notes(pairs: dict[tuple[str, str], Diagnosis]) -> list[str]:
    """What the comparisons left out, each sentence once."""
    counts: dict[str, int] = {}
    for diagnosis in pairs.values():
        for note in dict.fromkeys(diagnosis.notes):
            counts[note] = counts.get(note, 0) + 1
    return [
        note if n == len(pairs) else f"In {n} of {len(pairs)} comparisons: {note}"
        for note, n in counts.items()
    ]
