"""Imbalanced-learn's samplers: found by name, driven to a prior, run on any kind of rows."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from shiftlab.domain import Domain
from shiftlab.frames import frame_like
from shiftlab.validation import numeric_rows

__all__ = ["check_neighbours", "class_counts", "drive", "kind_of", "named_sampler", "run_sampler"]

SHORT_NAMES = {"over": "randomoversampler", "under": "randomundersampler"}


def _samplers_by_name() -> dict[str, type[Any]]:
    from imblearn import combine, over_sampling, under_sampling

    return {
        name.lower(): getattr(module, name)
        for module in (over_sampling, under_sampling, combine)
        for name in module.__all__
    }


def named_sampler(name: str) -> Any:
    """Return a new sampler for a class name in any case, or "over" or "under".

    Parameters
    ----------
    name : str
        Such as "smote", "SMOTEENN", "nearmiss" or "over".

    Returns
    -------
    sampler

    Raises
    ------
    ValueError
        For a name that imbalanced-learn does not have.
    """
    known = _samplers_by_name()
    key = SHORT_NAMES.get(name.lower(), name.lower())
    if key not in known:
        names = ", ".join(sorted(cls.__name__ for cls in known.values()))
        raise ValueError(
            f"sampler={name!r} is no sampler of imbalanced-learn; use 'over', 'under', 'weights', "
            f"a sampler object, or one of {names}"
        )
    if key == "smotenc":
        return known[key](categorical_features="auto")
    return known[key]()


def kind_of(sampler: Any) -> str:
    """Return "over-sampling", "under-sampling", "clean-sampling" or "bypass"."""
    return str(getattr(sampler, "_sampling_type", "bypass"))


def class_counts(counts: NDArray[Any], prior: NDArray[Any], kind: str) -> NDArray[np.int64]:
    """Return the rows of each class that give a prior, by only adding or only removing.

    Parameters
    ----------
    counts : ndarray of shape (k,)
        Rows there are.
    prior : ndarray of shape (k,)
        Shares wanted.
    kind : {"over-sampling", "under-sampling"}
        Whether rows may be added or removed.

    Returns
    -------
    ndarray of shape (k,)

    Raises
    ------
    ValueError
        If a class cannot vanish by adding rows, or rounding leaves no row of a class.

    Examples
    --------
    >>> import numpy as np
    >>> class_counts(np.array([90, 10]), np.array([0.5, 0.5]), "over-sampling").tolist()
    [90, 90]
    >>> class_counts(np.array([90, 10]), np.array([0.75, 0.25]), "under-sampling").tolist()
    [30, 10]
    """
    wanted = prior > 0
    if kind == "over-sampling":
        if not wanted.all():
            raise ValueError("oversampling cannot give a class the share 0; use 'under'")
        total = (counts / prior).max()
        return np.asarray(np.maximum(np.rint(prior * total), counts), dtype=np.int64)
    total = (counts[wanted] / prior[wanted]).min()
    result = np.asarray(np.minimum(np.rint(prior * total), counts), dtype=np.int64)
    if (result[wanted] == 0).any():
        raise ValueError("undersampling leaves no row of a class with so small a share; use 'over'")
    return result


def drive(sampler: Any, strategy: dict[Any, int]) -> Any:
    """Return a clone of ``sampler`` that makes these class counts."""
    driven = clone(sampler)
    driven.set_params(sampling_strategy=strategy)
    if getattr(driven, "smote", None) is not None:  # a combined sampler defers to its SMOTE
        driven.set_params(smote__sampling_strategy=strategy)
    return driven


def check_neighbours(sampler: Any, y: NDArray[Any], who: str) -> None:
    """Raise ValueError if a class to be oversampled has too few rows for the neighbours.

    Parameters
    ----------
    sampler : sampler
        Only those with ``k_neighbors`` (or ADASYN's ``n_neighbors``) are looked at.
    y : ndarray of shape (n,)
        Labels.
    who : str
        For the message.
    """
    from imblearn.utils import check_sampling_strategy

    if kind_of(sampler) != "over-sampling":
        return
    inner: Any = sampler
    if hasattr(sampler, "smote"):
        inner = sampler.smote if sampler.smote is not None else named_sampler("smote")
    parameter = "n_neighbors" if hasattr(inner, "n_neighbors") else "k_neighbors"
    k: Any = getattr(inner, parameter, None)
    if hasattr(k, "n_neighbors"):
        k = k.n_neighbors - 1
    if not isinstance(k, (int, np.integer)):
        return
    decides = inner if getattr(sampler, "smote", None) is not None else sampler
    added = check_sampling_strategy(decides.sampling_strategy, y, "over-sampling")
    labels, counts = np.unique(y, return_counts=True)
    for label, count in zip(labels.tolist(), counts.tolist(), strict=True):
        if added.get(label, 0) > 0 and count <= k:
            name = type(inner).__name__
            fewer = f"{name}({parameter}={count - 1}) or fewer neighbours, or " if count > 1 else ""
            raise ValueError(
                f"{who}: class {label!r} has {count} row(s), but {name} with {parameter}={k} "
                f"interpolates between a row and its {k} neighbours and needs at least {k + 1}. "
                f"Use {fewer}'over' (RandomOverSampler), which only duplicates rows."
            )


def run_sampler(sampler: Any, source: Domain, who: str) -> tuple[Domain, NDArray[np.int64]]:
    """Resample the rows of a domain, whatever kind of ``X`` it has.

    Parameters
    ----------
    sampler : sampler
        Is fitted.
    source : Domain
        All rows labelled.
    who : str
        For messages.

    Returns
    -------
    tuple of (Domain, origin)
        The resampled rows without weights and groups, and the source row that each is a copy
        of, or -1 for a row that the sampler made.

    Raises
    ------
    ValueError
        If the rows are images and the sampler makes rows up.
    """
    if source.is_image and kind_of(sampler) == "over-sampling" and not _only_draws(sampler):
        raise ValueError(_no_images(sampler, who))  # before neighbours are searched
    if _only_draws(sampler):
        # It never looks at X, so rows need be neither read nor copied.
        sampler.fit_resample(np.arange(source.n_rows)[:, None], source.y)
        origin = np.asarray(sampler.sample_indices_, dtype=np.int64)
        return source.take(origin).with_(weight=None, group=None), origin
    if source.is_frame and _takes_categories(sampler):
        X, y = _resample_mixed(sampler, source, who)
    else:
        matrix = numeric_rows(source, who, sparse=True)
        X, y = sampler.fit_resample(matrix, source.y)
    origin = _origins(sampler, source.n_rows, len(y))
    if (origin >= 0).all():
        return source.take(origin).with_(weight=None, group=None), origin
    if source.is_image:
        raise ValueError(_no_images(sampler, who))
    if source.is_frame and not _takes_categories(sampler):
        X = frame_like(source.X, X)
    made = Domain(X, y, name=source.name, feature_names=source.feature_names)
    return made.with_(classes=source.classes), origin


def _no_images(sampler: Any, who: str) -> str:
    name = type(sampler).__name__
    return (
        f"{who}: {name} makes up rows between rows, and an image between two images is none. "
        f"Resample features: make_pipeline(net, {who}({name}()), LogisticRegression()) with a "
        "trained network or another transformer of images, or use 'over', 'under' or 'weights', "
        "which take images as they are."
    )


def _only_draws(sampler: Any) -> bool:
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    if type(sampler) is RandomOverSampler:
        return sampler.shrinkage is None
    return type(sampler) is RandomUnderSampler


def _takes_categories(sampler: Any) -> bool:
    return hasattr(sampler, "categorical_encoder")


def _resample_mixed(sampler: Any, source: Domain, who: str) -> tuple[Any, Any]:
    """Run SMOTENC or SMOTEN on a data frame, which they take from pandas only."""
    table = nw.from_native(source.X, eager_only=True)
    try:
        pandas_frame = table.to_pandas().reset_index(drop=True)
    except ImportError as error:
        raise ImportError(
            f"{who}: {type(sampler).__name__} needs pandas; install it with: pip install pandas"
        ) from error
    text = [c for c, dtype in table.schema.items() if not dtype.is_numeric()]
    if getattr(sampler, "categorical_features", None) == "auto":
        if not text or len(text) == len(table.columns):
            other = "SMOTE" if not text else "SMOTEN"
            raise ValueError(
                f"{who}: SMOTENC needs columns of numbers and columns of categories; got "
                f"{len(text)} categorical of {len(table.columns)}. Use {other}."
            )
        pandas_frame = pandas_frame.astype(dict.fromkeys(text, object)).astype(
            dict.fromkeys(text, "category")
        )
    X, y = sampler.fit_resample(pandas_frame, source.y)
    columns = {c: X[c].to_numpy() for c in table.columns}
    kept = {c: dtype for c, dtype in table.schema.items() if not dtype.is_integer()}
    result = nw.from_dict(columns, backend=table.implementation)
    return nw.to_native(result.with_columns(nw.col(c).cast(t) for c, t in kept.items())), y


def _origins(sampler: Any, n: int, m: int) -> NDArray[np.int64]:
    """Return the source row of each of ``m`` resampled rows, -1 for those made up."""
    if hasattr(sampler, "sample_indices_"):
        return np.asarray(sampler.sample_indices_, dtype=np.int64)
    if kind_of(sampler) != "over-sampling":
        return np.full(m, -1)  # prototypes, such as centroids
    cleaner = getattr(sampler, "enn_", None) or getattr(sampler, "tomek_", None)
    # Oversamplers append what they make to the rows that they got.
    position = np.arange(m) if cleaner is None else np.asarray(cleaner.sample_indices_)
    return np.where(position < n, position, -1).astype(np.int64)
