"""What a study of tables is made of, read from the ``config.toml`` of its folder."""

from __future__ import annotations

import inspect
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from shiftlab.adapter import Adapter
from shiftlab.experiments.names import did_you_mean
from shiftlab.experiments.tabular_data import DATA, PREPARATIONS, DataSet
from shiftlab.registry import list_adapters
from shiftlab.supervised import weight_keyword

__all__ = [
    "CEILING",
    "FLOOR",
    "Base",
    "Method",
    "Protocol",
    "Published",
    "TabularStudy",
    "study_config",
]

FLOOR, CEILING = "source-only", "target-supervised"
_ESTIMATORS: Mapping[str, Any] = {
    "KNeighborsClassifier": KNeighborsClassifier,
    "LogisticRegression": LogisticRegression,
    "TunedThreshold": lambda **given: TunedThresholdClassifierCV(LogisticRegression(**given)),
}
_WEIGHTS = "shiftlab.marginal.weighting."  # the room of the adapters that only weight rows


@dataclass(frozen=True)
class Base:
    """An estimator that stands behind every method.

    Parameters
    ----------
    name : str
        Its name in tables.
    estimator : str
        Name of its class.
    parameters : mapping
        Of the class.
    unit_rows : bool
        Whether each row is scaled to unit length before it reaches the estimator.
    """

    name: str
    estimator: str
    parameters: Mapping[str, Any]
    unit_rows: bool

    def make(self) -> Any:
        """Return the unfitted estimator."""
        made = _ESTIMATORS[self.estimator](**self.parameters)
        return make_pipeline(Normalizer(), made) if self.unit_rows else made

    def identity(self) -> dict[str, Any]:
        """Return what a result depends on."""
        return {
            "estimator": self.estimator,
            "parameters": dict(self.parameters),
            "unit_rows": self.unit_rows,
        }


@dataclass(frozen=True)
class Protocol:
    """How rows are prepared, and what is trained on them.

    Parameters
    ----------
    name : str
        Its name in tables.
    prepare : str
        A name of `shiftlab.experiments.tabular_data.PREPARATIONS`.
    bases : tuple of Base
        Estimators.
    methods : tuple of str or None
        The only methods it is for; None is all.
    """

    name: str
    prepare: str
    bases: tuple[Base, ...]
    methods: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Method:
    """A row of the tables.

    Parameters
    ----------
    name : str
        Its name in tables; that of the class for an adapter at its defaults.
    adapter : type of Adapter or None, default=None
        What it adapts with; None for the rows that adapt nothing.
    parameters : mapping, default={}
        Of the adapter; ``n_components`` of the joint PCA.
    """

    name: str
    adapter: type[Adapter] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def takes(self, base: Base) -> bool:
        """Whether it can stand before this estimator: weights need one that takes them."""
        weights = self.adapter is not None and self.adapter.__module__.startswith(_WEIGHTS)
        return not weights or weight_keyword(base.make()) is not None

    def identity(self) -> dict[str, Any]:
        """Return what a result depends on."""
        adapter = None if self.adapter is None else self.adapter.__name__
        return {"adapter": adapter, "parameters": dict(self.parameters)}


@dataclass(frozen=True)
class Published:
    """A published average to stand beside ours.

    Parameters
    ----------
    name : str
        What it is called there.
    average : float
        Percent.
    ours : str
        The method to compare.
    """

    name: str
    average: float
    ours: str


@dataclass(frozen=True)
class TabularStudy:
    """A study of tables: pairs x protocols x estimators x methods x seeds.

    Parameters
    ----------
    name : str
        Name of its folder.
    data : str
        A name of `shiftlab.experiments.tabular_data.DATA`.
    pairs : tuple of (str, str)
        Source and target.
    protocols : tuple of Protocol
        Preparations and estimators.
    methods : tuple of Method
        Source-only first, the joint PCA second where there is one, target-supervised last.
    seeds : int, default=1
        Seeds 0 to ``seeds - 1``.
    control : str or None, default=None
        The joint PCA's name.
    published : tuple of Published, default=()
        For the report.
    absent : tuple of str, default=()
        Methods of the configuration whose adapter this version does not have.
    """

    name: str
    data: str
    pairs: tuple[tuple[str, str], ...]
    protocols: tuple[Protocol, ...]
    methods: tuple[Method, ...]
    seeds: int = 1
    control: str | None = None
    published: tuple[Published, ...] = ()
    absent: tuple[str, ...] = ()

    @classmethod
    def from_toml(
        cls,
        path: str | os.PathLike[str],
        *,
        methods: Sequence[str] | None = None,
        pairs: Sequence[str] | None = None,
        quick: bool = False,
    ) -> TabularStudy:
        """Read a configuration.

        Parameters
        ----------
        path : path
            The ``config.toml`` of a study's folder, whose name is the study's.
        methods : sequence of str, default=None
            Only these, and the rows that adapt nothing.
        pairs : sequence of str, default=None
            Only these, as ``source:target``.
        quick : bool, default=False
            The pairs and seeds of ``[quick]``, where not said otherwise.

        Returns
        -------
        TabularStudy

        Raises
        ------
        ValueError
            If the file, a method or a pair is wrong; the message says what is.
        FileNotFoundError
            If there is no such file.
        """
        source = Path(path)
        try:
            content = tomllib.loads(source.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{source} is no TOML file: {error}") from error
        try:
            return cls._read(source, content, methods, pairs, quick)
        except KeyError as error:
            raise ValueError(f"{source}: lacks {error}") from error

    @classmethod
    def _read(
        cls,
        source: Path,
        content: Mapping[str, Any],
        methods: Sequence[str] | None,
        pairs: Sequence[str] | None,
        quick: bool,
    ) -> TabularStudy:
        study = dict(content["study"])
        _only(source, "[study]", study, ("data", "pairs", "seeds", "registry", "joint_pca"))
        _only(source, "the file", content, ("study", "quick", "protocols", "methods", "published"))
        small = dict(content.get("quick", {})) if quick else {}
        data = _choose(study["data"], DATA, f"{source}: data")
        wanted = pairs or small.get("pairs") or study.get("pairs", ["all"])
        rows, absent, control = _methods(source, study, content.get("methods", []))
        if methods is not None:
            rows = _restrict(rows, absent, methods)
        return cls(
            name=source.resolve().parent.name,
            data=study["data"],
            pairs=_pairs(wanted, data),
            protocols=tuple(
                _protocol(source, name, table) for name, table in content["protocols"].items()
            ),
            methods=tuple(rows),
            seeds=int(small.get("seeds") or study.get("seeds") or 1),
            control=control,
            published=tuple(Published(**row) for row in content.get("published", [])),
            absent=tuple(absent),
        )


def study_config(name: str) -> Path:
    """Return the configuration of a study of tables that ships.

    Parameters
    ----------
    name : str
        Name of its folder.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If there is no such study.
    """
    from shiftlab.data import resource_root

    folders = resource_root("experiments")
    known = sorted(path.parent.name for path in folders.glob("*/config.toml"))
    known = [found for found in known if found in DATA]
    if name not in known:
        raise ValueError(f"unknown study {name!r}; {did_you_mean(name, known)}")
    return folders / name / "config.toml"


def applies(adapter: type[Adapter]) -> bool:
    """Whether an adapter can be measured on labelled tables and unlabelled targets."""
    facts = adapter.facts
    return (
        "classification" in facts.tasks
        and "dense" in facts.inputs
        and facts.target_labels != "required"
        and not (facts.several_sources or facts.deep)
        and bool({"marginal", "conditional"} & set(facts.handles))
    )


def _methods(
    source: Path, study: Mapping[str, Any], tables: Iterable[Mapping[str, Any]]
) -> tuple[list[Method], list[str], str | None]:
    """All rows, those whose adapter is not there, and the name of the joint PCA."""
    adapters = {adapter.__name__: adapter for adapter in list_adapters()}
    named: list[Method] = []
    absent: list[str] = []
    for table in tables:
        _only(source, "[[methods]]", table, ("name", "adapter", "parameters"))
        if table["adapter"] not in adapters:
            absent.append(table["name"])
            continue
        adapter = adapters[table["adapter"]]
        given = dict(table.get("parameters", {}))
        unknown = sorted(set(given) - set(inspect.signature(adapter).parameters))
        if unknown:
            raise ValueError(
                f"{source}: {table['name']!r} gives {table['adapter']} the unknown parameter "
                f"{', '.join(unknown)}"
            )
        named.append(Method(table["name"], adapter, given))
    defaults = [Method(n, a) for n, a in adapters.items() if applies(a)]
    if not study.get("registry", False):
        defaults = []
    # Named settings stand behind their adapter's defaults.
    order = list(adapters)
    between = sorted([*defaults, *named], key=lambda m: order.index(m.adapter.__name__))  # type: ignore[union-attr]
    rows = [Method(FLOOR)]
    control = None
    if "joint_pca" in study:
        control = f"joint PCA({study['joint_pca']})"
        rows.append(Method(control, None, {"n_components": study["joint_pca"]}))
    rows += [*between, Method(CEILING)]
    names = [row.name for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{source}: two methods are called {', '.join(twice)}")
    return rows, absent, control


def _restrict(rows: Sequence[Method], absent: Sequence[str], wanted: Sequence[str]) -> list[Method]:
    known = [row.name for row in rows]
    for name in wanted:
        if name in absent:
            raise ValueError(f"method {name!r} needs an adapter that this version does not have")
        _choose(name, dict.fromkeys(known), "method")
    return [row for row in rows if row.adapter is None or row.name in wanted]


def _protocol(source: Path, name: str, table: Mapping[str, Any]) -> Protocol:
    _only(source, f"[protocols.{name}]", table, ("prepare", "unit_rows", "methods", "bases"))
    _choose(table["prepare"], PREPARATIONS, f"{source}: prepare of {name}")
    bases = []
    for label, given in table["bases"].items():
        parameters = dict(given)
        estimator = parameters.pop("estimator")
        _choose(estimator, _ESTIMATORS, f"{source}: estimator of {label}")
        bases.append(Base(label, estimator, parameters, bool(table.get("unit_rows", False))))
    methods = table.get("methods")
    return Protocol(
        name, table["prepare"], tuple(bases), None if methods is None else tuple(methods)
    )


def _pairs(wanted: Iterable[str], data: DataSet) -> tuple[tuple[str, str], ...]:
    known = {f"{s}:{t}": (s, t) for s, t in data.pairs}
    found: dict[tuple[str, str], None] = {}
    for text in wanted:
        if text == "all":
            found.update(dict.fromkeys(data.pairs))
        else:
            found[_choose(text.replace(" ", ""), known, "pair")] = None
    return tuple(found)


def _choose(name: str, known: Mapping[str, Any], what: str) -> Any:
    if name not in known:
        raise ValueError(f"unknown {what} {name!r}; {did_you_mean(name, known)}")
    return known[name]


def _only(source: Path, where: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(
            f"{source}: {where} has the unknown key {', '.join(unknown)}; known are "
            + ", ".join(known)
        )
