"""Checks that every registered adapter must pass; a new adapter gets them for free."""

from __future__ import annotations

import copy
import doctest
import inspect
import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score

from shiftlab import Domain, list_adapters
from shiftlab.adapter import DIFFERENCES, Adapter
from shiftlab.registry import ADAPTERS

# The only place that knows single adapters: settings that make a check quick, or possible. Pruning
# would find the target's labels enough on the small samples here, and leave the source out.
_PAIRED = np.random.default_rng(9).normal(1, 1.5, size=(60, 4))
QUICK = {
    "FineTune": {"epochs": 2, "pretrain_epochs": 1, "batch_size": 64},
    "OffTheShelf": {"pretrain_epochs": 2},
    "TransferForest": {"n_estimators": 20},
    "TwoStageTrAdaBoostR2": {"n_steps": 3, "n_estimators": 4, "cv": 2},
    "InstancePruning": {"prune": 0.5},
    "CorrelationMap": {"paired": (_PAIRED, _PAIRED + 0.5)},
    "CrossLingualLSA": {"paired": (_PAIRED, _PAIRED + 0.5)},
    "DictionaryMap": {"dictionary": {name: name for name in [*range(4), *"abcd"]}},
    "EmbeddingMap": {"source_vectors": np.eye(4), "target_vectors": np.eye(4)},
}
QUICK_DEEP = {"epochs": 2, "pretrain_epochs": 2}
EVERY = list_adapters()
every_adapter = pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def build(kind: type[Adapter]) -> Adapter:
    parameters = inspect.signature(kind).parameters
    deep = {name: value for name, value in QUICK_DEEP.items() if name in parameters}
    arguments = dict(QUICK.get(kind.__name__, deep))
    if "random_state" in parameters:
        arguments["random_state"] = 0
    if "estimator" in parameters:
        arguments["estimator"] = LogisticRegression() if classifies(kind) else Ridge()
    return kind(**arguments)


def classifies(kind: type[Adapter]) -> bool:
    return "classification" in kind.facts.tasks


def needs_classes(kind: type[Adapter]) -> None:
    if not classifies(kind):
        pytest.skip("is for regression")


def agreement(kind: type[Adapter], first: np.ndarray, second: np.ndarray) -> float:
    """Share of equal labels, or of numbers that differ by less than a hundredth of their spread."""
    if classifies(kind):
        return float(np.mean(first == second))
    return float(np.mean(np.abs(first - second) < 0.01 * np.std(second)))


def takes_only_images(kind: type[Adapter]) -> bool:
    return kind.facts.inputs == ("images",)


def two_samples(kind: type[Adapter], n: int = 120, seed: int = 0, shift: float = 0.5):
    """A labelled source, and a target with every fourth label visible."""
    rng = np.random.default_rng(seed)
    y = np.tile([0, 1, 2], n // 3)
    y_target = np.tile([0, 1, 1, 2], n // 4)
    if takes_only_images(kind):
        centres = np.array([[4, 4], [4, 12], [12, 8]])

        def draw(labels, background):
            images = rng.integers(0, 60, size=(len(labels), 16, 16)) + background
            for image, label in zip(images, labels, strict=True):
                row, column = centres[label]
                image[row - 2 : row + 2, column - 2 : column + 2] += 150
            return np.clip(images, 0, 255).astype(np.uint8)

        Xs, Xt = draw(y, 0), draw(y_target, 40)
    else:
        centres = np.array([[0, 0, 0, 0], [3, 0, 1, 0], [0, 3, 0, 1.0]])
        Xs = centres[y] + rng.normal(size=(n, 4))
        Xt = centres[y_target] + shift + 1.2 * rng.normal(size=(n, 4))
    visible = np.zeros(n, dtype=bool)
    visible[::4] = visible[1::4] = visible[3::4] = rng.random(n // 4) < 0.4
    visible[:12] = True
    return Domain(Xs, y), Domain(Xt, y_target, labelled=visible)


def results(adapter: Adapter, target: Domain) -> list[np.ndarray]:
    found = [adapter.predict(target.X)]
    if classifies(type(adapter)):
        found.append(adapter.predict_proba(target.X))
    X = adapter.source_.X
    found.append(X.toarray() if sp.issparse(X) else np.asarray(X))
    if adapter.source_.weight is not None:
        found.append(adapter.source_.weight)
    return found


def assert_same(first: list[np.ndarray], second: list[np.ndarray]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert_array_equal(a, b)


def test_every_registered_adapter_exists():
    assert [kind.__name__ for kind in EVERY] == list(ADAPTERS)


@every_adapter
def test_facts_are_complete_and_agree_with_the_folder(kind):
    facts = kind.facts
    assert set(facts.handles) <= set(DIFFERENCES)
    assert kind.__module__.split(".")[1] in facts.handles
    assert facts.assumes.endswith(".")
    assert facts.cost


@every_adapter
def test_clone_and_parameters(kind):
    adapter = build(kind)
    copied = clone(adapter)
    assert copied is not adapter
    assert repr(copied) == repr(adapter)
    shallow = adapter.get_params(deep=False)
    assert set(shallow) == set(inspect.signature(kind).parameters)
    assert adapter.set_params(**shallow) is adapter
    two_samples_before = copied.get_params(deep=False).keys()
    source, target = two_samples(kind)
    adapter.fit(source, target)
    # Fitting never writes into a parameter.
    for name, value in adapter.get_params(deep=False).items():
        assert value is shallow[name], name
    assert adapter.get_params(deep=False).keys() == two_samples_before


@every_adapter
def test_fit_returns_self_and_an_adapted_source(kind):
    source, target = two_samples(kind)
    adapter = build(kind)
    assert adapter.fit(source, target) is adapter
    assert isinstance(adapter.source_, Domain)
    assert adapter.source_.n_labelled > 0
    assert adapter.transform(target.X).shape[0] == target.n_rows
    assert adapter.n_features_in_ == target.n_features
    if not classifies(kind):
        assert adapter.score(target.X, target.y) == r2_score(target.y, adapter.predict(target.X))
        assert adapter.score(target.X, target.y) > 0.2
        return
    assert adapter.classes_.tolist() == [0, 1, 2]
    probabilities = adapter.predict_proba(target.X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    accuracy = adapter.score(target.X, target.y)
    assert accuracy == np.mean(adapter.predict(target.X) == target.y)
    assert accuracy > 0.5


@every_adapter
def test_predict_before_fit_says_so(kind):
    _, target = two_samples(kind)
    with pytest.raises(NotFittedError):
        build(kind).predict(target.X)
    with pytest.raises(NotFittedError):
        build(kind).transform(target.X)


@every_adapter
def test_pickle_keeps_predictions(kind):
    source, target = two_samples(kind)
    adapter = build(kind).fit(source, target)
    again = pickle.loads(pickle.dumps(adapter))
    assert_same(results(adapter, target), results(again, target))


@every_adapter
def test_same_seed_same_bits_and_no_global_state(kind):
    source, target = two_samples(kind)
    np.random.seed(1)  # noqa: NPY002 - the global state is what is watched
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = results(build(kind).fit(source, target), target)
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert_same(first, results(build(kind).fit(source, target), target))


@every_adapter
def test_refit_forgets_the_first_fit(kind):
    source, target = two_samples(kind)
    other_source, other_target = two_samples(kind, seed=5)
    fresh = build(kind).fit(source, target)
    refitted = build(kind).fit(other_source, other_target).fit(source, target)
    assert_same(results(fresh, target), results(refitted, target))


@every_adapter
def test_nothing_passed_in_is_changed(kind):
    source, target = two_samples(kind)
    kept = copy.deepcopy([source.X, source.y, target.X, target.y, target.labelled])
    for array in (source.X, source.y, target.X, target.y, target.labelled):
        array.setflags(write=False)
    build(kind).fit(source, target).predict(target.X)
    for old, new in zip(
        kept, [source.X, source.y, target.X, target.y, target.labelled], strict=True
    ):
        assert_array_equal(old, new)


@every_adapter
def test_hidden_target_labels_change_nothing(kind):
    """The leak test: permute what the adapter must not see, and nothing may move by a bit."""
    source, target = two_samples(kind)
    y = target.y.copy()
    hidden = np.flatnonzero(
        ~target.labelled if kind.facts.target_labels != "none" else np.ones(len(y), bool)
    )
    y[hidden] = np.random.default_rng(3).permutation(y[hidden])
    assert (y != target.y).any()
    permuted = target.with_(y=y)
    assert_same(
        results(build(kind).fit(source, target), target),
        results(build(kind).fit(source, permuted), target),
    )


@every_adapter
def test_visible_target_labels_are_used_where_the_facts_say_so(kind):
    source, target = two_samples(kind)
    if kind.facts.target_labels == "none":
        # Then even fully visible labels change nothing.
        assert_same(
            results(
                build(kind).fit(source, target.with_(labelled=np.ones(len(target), bool))), target
            ),
            results(build(kind).fit(source, target.unlabelled()), target),
        )
    else:
        y = np.where(target.labelled, (target.y + 1) % 3, target.y)
        moved = results(build(kind).fit(source, target.with_(y=y)), target)
        assert (moved[0] != results(build(kind).fit(source, target), target)[0]).any()
    if kind.facts.target_labels == "required":
        with pytest.raises(ValueError, match="labelled target rows"):
            build(kind).fit(source, target.unlabelled())


@every_adapter
@pytest.mark.parametrize(
    "names",
    [["x", "y", "z"], [-1, 0, 1], [0.0, 1.0, 2.0], np.array(["p", "q", "r"], dtype=object)],
    ids=["str", "minus-one", "float", "object"],
)
def test_labels_of_any_type(kind, names):
    needs_classes(kind)
    source, target = two_samples(kind)
    names = np.asarray(names)
    adapter = build(kind).fit(source.with_(y=names[source.y]), target.with_(y=names[target.y]))
    plain = build(kind).fit(source, target)
    assert_array_equal(adapter.predict(target.X), names[plain.predict(target.X)])
    assert_array_equal(adapter.classes_, names)


@every_adapter
def test_two_boolean_classes(kind):
    needs_classes(kind)
    source, target = two_samples(kind)
    keep, keep_target = source.y < 2, target.y < 2
    source = source.take(keep).with_(y=source.y[keep] == 1)
    target = target.take(keep_target).with_(y=target.y[keep_target] == 1)
    predicted = build(kind).fit(source, target).predict(target.X)
    assert predicted.dtype == bool
    assert np.mean(predicted == target.y) > 0.7


@every_adapter
def test_float32_stays_float32(kind):
    source, target = two_samples(kind)
    if takes_only_images(kind):
        pytest.skip("takes images, which are uint8")
    adapter = build(kind).fit(
        source.with_(X=source.X.astype(np.float32)), target.with_(X=target.X.astype(np.float32))
    )
    assert adapter.source_.X.dtype == np.float32
    assert adapter.transform(target.X.astype(np.float32)).dtype == np.float32


@every_adapter
def test_sparse_rows_are_taken_or_refused_in_one_line(kind):
    source, target = two_samples(kind)
    if takes_only_images(kind):
        pytest.skip("takes images")
    dense = build(kind).fit(source, target)
    sparse_source = source.with_(X=sp.csr_matrix(source.X))
    sparse_target = target.with_(X=sp.csr_matrix(target.X))
    if "sparse" in kind.facts.inputs:
        adapter = build(kind).fit(sparse_source, sparse_target)
        assert agreement(kind, adapter.predict(sparse_target.X), dense.predict(target.X)) > 0.95
        dense_space = adapter.facts.bridge in ("paired_rows", "word_vectors")  # of few dimensions
        assert sp.issparse(adapter.source_.X) != dense_space
    else:
        try:
            adapter = build(kind).fit(sparse_source, sparse_target)
        except ValueError as error:
            assert "sparse" in str(error)  # noqa: PT017 - either outcome is right
        else:
            assert agreement(kind, adapter.predict(sparse_target.X), dense.predict(target.X)) > 0.95


@every_adapter
def test_data_frames(kind):
    source, target = two_samples(kind)
    if takes_only_images(kind):
        pytest.skip("takes images")
    columns = ["a", "b", "c", "d"]
    frame = pd.DataFrame(target.X, columns=columns)
    adapter = build(kind).fit(
        (pd.DataFrame(source.X, columns=columns), source.y),
        Domain(frame, target.y, labelled=target.labelled),
    )
    assert list(adapter.feature_names_in_) == columns
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predicted = adapter.predict(frame)
    plain = build(kind).fit(source, target)
    assert agreement(kind, predicted, plain.predict(target.X)) > 0.95


@every_adapter
def test_several_sources_are_a_list(kind):
    source, target = two_samples(kind)
    half = source.n_rows // 2
    parts = [source.take(np.arange(half)), source.take(np.arange(half, source.n_rows))]
    pooled = build(kind).fit(source, target)
    several = build(kind).fit(parts, target)
    pairs = build(kind).fit([(part.X, part.y) for part in parts], target)
    assert_array_equal(several.predict(target.X), pairs.predict(target.X))
    assert agreement(kind, several.predict(target.X), pooled.predict(target.X)) > 0.9


@every_adapter
def test_source_weights_matter(kind):
    source, target = two_samples(kind)
    if takes_only_images(kind):
        pytest.skip("the source only trains the backbone")
    # Not by class: a resampler may well impose the shares of the classes.
    weight = np.where(source.X[:, 0] > 1, 20.0, 1.0)
    plain, weighted = (
        build(kind).fit(source, target),
        build(kind).fit(source.with_(weight=weight), target),
    )
    answers = [a.predict_proba if classifies(kind) else a.predict for a in (plain, weighted)]
    assert np.abs(answers[0](target.X) - answers[1](target.X)).max() > 1e-3


@every_adapter
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["source", "target"])
def test_missing_and_infinite_values_get_one_clear_error(kind, bad, where):
    source, target = two_samples(kind)
    if takes_only_images(kind):
        pytest.skip("uint8 images have neither")
    X = (source if where == "source" else target).X.copy()
    X[3, 1] = bad
    pair = (source.with_(X=X), target) if where == "source" else (source, target.with_(X=X))
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        build(kind).fit(*pair)


@every_adapter
def test_columns_that_do_not_match(kind):
    source, target = two_samples(kind)
    fewer = target.with_(X=target.X[:, :3])
    if "feature_space" not in kind.facts.handles:
        with pytest.raises(ValueError, match=r"features|shape"):
            build(kind).fit(source, fewer)
    adapter = build(kind).fit(source, target)
    with pytest.raises(ValueError, match=r"features|shape"):
        adapter.predict(fewer.X)


@every_adapter
@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_tiny_samples_work_or_say_what_is_wrong(kind, n):
    source, target = two_samples(kind)
    for pair in ((source.take(range(n)), target), (source, target.take(range(n)))):
        try:
            predicted = build(kind).fit(*pair).predict(target.X)
        except ValueError as error:
            assert len(str(error)) > 20  # noqa: PT017 - either outcome is right
        else:
            assert np.isfinite(predicted).all()
            assert not classifies(kind) or set(predicted.tolist()) <= {0, 1, 2}


@every_adapter
def test_one_class_works_or_says_so(kind):
    needs_classes(kind)
    source, target = two_samples(kind)
    try:
        adapter = build(kind).fit(source.with_(y=np.zeros_like(source.y)), target)
        adapter.predict(target.X)
    except ValueError as error:
        assert re.search("class", str(error))  # noqa: PT017 - either outcome is right
    else:
        assert set(adapter.predict(target.X).tolist()) <= {0, 1, 2}


@every_adapter
def test_a_source_without_labels_cannot_train_an_estimator(kind):
    source, target = two_samples(kind)
    with pytest.raises(ValueError, match="label"):
        build(kind).fit(source.unlabelled(), target)


@every_adapter
def test_parameters_out_of_range_are_named(kind):
    source, target = two_samples(kind)
    constrained = [
        n for n in kind._parameter_constraints if n in inspect.signature(kind).parameters
    ]
    assert set(inspect.signature(kind).parameters) <= set(constrained), "every one has a constraint"
    for name in constrained:
        adapter = build(kind).set_params(**{name: object()})
        with pytest.raises((ValueError, TypeError), match=name):
            adapter.fit(source, target)


@every_adapter
def test_docstring_parameters_equal_the_signature(kind):
    text = inspect.getdoc(kind)
    section = re.search(r"\nParameters\n-+\n(.*?)\n\n[A-Z][a-z ]+\n-+\n", text, flags=re.S)
    assert section, f"{kind.__name__} has no Parameters section"
    named = re.findall(r"^(\w+(?:, \w+)*) : ", section.group(1), flags=re.M)
    documented = [name for group in named for name in group.split(", ")]
    assert documented == list(inspect.signature(kind).parameters)
    for part in ("Attributes", "References", "Examples"):
        assert re.search(rf"\n{part}\n-+\n", text), f"{kind.__name__} has no {part} section"


@every_adapter
def test_docstring_example_runs(kind):
    finder = doctest.DocTestFinder(recurse=False)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    tests = [t for t in finder.find(kind, globs={}) if t.examples]
    assert tests, f"{kind.__name__} has no example"
    for test in tests:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


@every_adapter
def test_no_harm_where_nothing_differs(kind):
    """On two samples of one distribution no adapter may lose more than 5 points."""
    losses = []
    for seed in range(3):
        source, _ = two_samples(kind, n=240, seed=seed)
        target, _ = two_samples(kind, n=240, seed=100 + seed)
        visible = np.random.default_rng(seed).random(target.n_rows) < 0.4
        target = target.with_(labelled=visible)
        X, Xt = (d.X.reshape(d.n_rows, -1) / (255 if d.is_image else 1) for d in (source, target))
        plain = LogisticRegression() if classifies(kind) else Ridge()
        alone = plain.fit(X, source.y).score(Xt, target.y)
        losses.append(alone - build(kind).fit(source, target).score(target.X, target.y))
    assert np.mean(losses) < 0.05
