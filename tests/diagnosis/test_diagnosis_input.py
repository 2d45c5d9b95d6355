"""Odd and bad input: a right answer or one clear error."""

import datetime
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.decomposition import PCA

from shiftlab import Domain
from shiftlab.diagnosis import diagnose
from shiftlab.diagnosis.columns import column_values, read_columns
from shiftlab.diagnosis.images import describe_images

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 3))
Y = rng.integers(0, 2, 120)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X[:0], X), {}, "source has no rows"),
        ((X, X[:0]), {}, "target has no rows"),
        ((X, X), {"alpha": 0.0}, "alpha must lie between 0 and 1"),
        (
            (X, X),
            {"n_permutations": 199},
            "n_permutations must be an int of at least 239 at alpha=0.05",
        ),
        ((X, X), {"task": "ranking"}, "task must be"),
        ((X, X), {"label": "y"}, "label='y' names a column"),
        ((X, X), {"features": lambda rows: rows[0]}, "features must give a matrix with 120 rows"),
        ((pd.DataFrame(X, columns=list("aab")), X), {}, "more than one column named 'a'"),
        (((X, np.array(["a"] * 120)), X), {"task": "regression"}, "needs numbers as labels"),
    ],
)
def test_one_clear_error(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        diagnose(*arguments, random_state=0, **options)


def test_features_of_a_wrong_type():
    with pytest.raises(TypeError, match="features must be a callable"):
        diagnose(X, X, features=3)


def test_other_names_for_features():
    with pytest.raises(ValueError, match=r"must be 'tfidf' .*net.features.*got 'resnet'"):
        diagnose(X, X, features="resnet")
    with pytest.raises(ValueError, match="features='tfidf' is for text; the source holds images"):
        diagnose(np.zeros((9, 8, 8), np.uint8), np.zeros((9, 8, 8), np.uint8), features="tfidf")


NOW = pd.Timestamp("2024-01-01")
HOURS = pd.to_timedelta(np.arange(120), "h")
COLUMNS = {  # name -> (source values, target values, family, first value of the source)
    "nullable int": (pd.array([5, 7, None] * 40, dtype="Int64"),) * 2 + ("number", 5.0),
    "nullable bool": (pd.array([True, False, None] * 40, dtype="boolean"),) * 2
    + ("truth value", 1.0),
    "objects that are numbers": (
        np.array([2.5, 3, None] * 40, dtype=object),
        X[:, 0],
        "number",
        2.5,
    ),
    "objects that are truth values": (np.array([True, False, None] * 40, dtype=object),) * 2
    + ("truth value", 1.0),
    "objects that are dates": (
        np.array([datetime.date(1970, 1, 2), datetime.datetime(1970, 1, 3), None] * 40, object),
        NOW + HOURS,
        "time",
        86400.0,
    ),
    "time zones": (
        pd.DatetimeIndex(NOW + HOURS).tz_localize("Europe/Rome"),
        NOW + HOURS,
        "time",
        NOW.timestamp() - 3600,
    ),
    "durations": (HOURS, HOURS, "number", 0.0),
    "huge integers": (np.array([10**30, 1, 2] * 40, dtype=object),) * 2 + ("number", 1e30),
    "objects of mixed types": (np.array(["a", 1, None] * 40, dtype=object),) * 2 + ("text", "a"),
    "category": (pd.Categorical(["a", "b", "a"] * 40), ["a", "b", "a"] * 40, "text", "a"),
    "category of numbers": (pd.Categorical([1, 2, 1] * 40),) * 2 + ("text", "1"),
    "intervals": (pd.cut(np.arange(120), 3),) * 2 + ("text", "(-0.119, 39.667]"),
    "bytes": (np.array([b"a", b"b"] * 60, dtype=object),) * 2 + ("text", "b'a'"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_types_of_columns(name):
    a, b, family, first = COLUMNS[name]
    frames = [pd.DataFrame(X, columns=list("abc")).assign(k=v) for v in (a, b)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        columns = read_columns(*map(Domain.of, frames), None, 0)
    assert [c.name for c in columns.shared] == ["a", "b", "c", "k"]
    assert columns.shared[3].family == family
    values, _ = column_values(Domain.of(frames[0]), 3)
    assert values[0] == first


@pytest.mark.parametrize(
    "values",
    [
        [[1, 2]] * 120,
        [{"a": 1}] * 120,
        np.array([10**400 + i for i in range(120)], dtype=object),  # beyond floats
        X[:, 0] + 1j,
    ],
)
def test_column_that_cannot_be_read_is_named(values):
    frame = pd.DataFrame(X, columns=list("abc")).assign(k=values)
    diagnosis = diagnose(frame, frame[::-1], random_state=0, explain=False)
    status = {f.feature: f.status for f in diagnosis.features}
    assert status["k"] == "not_testable"
    renamed = diagnose(frame, frame.rename(columns={"k": "zzz"}), random_state=0, explain=False)
    assert {c["kind"] for c in renamed.findings["feature_space"].details["changes"]} == {
        "missing",
        "added",
    }
    assert list(status.values()).count("no_evidence") == 3


@pytest.mark.parametrize("names", [[0, 1, 2], ["", "b", "c"], [None, "b", "c"], [("a", 1), "b", 3]])
def test_names_of_columns(names):
    frame = pd.DataFrame(X)
    frame.columns = pd.Index(names, dtype=object, tupleize_cols=False)
    columns = read_columns(Domain.of(frame), Domain.of(X + 5), None, 0)
    np.testing.assert_array_equal([c.source for c in columns.shared], X.T)
    assert len(columns.shared) == 3


def test_kinds_of_matrices():
    moved = X + np.array([0, 3.0, 0])
    pairs = [
        (sp.csr_matrix(X), moved),
        (sp.csc_matrix(X), sp.coo_matrix(moved)),
        (sp.csr_array(X), sp.csr_array(moved)),
        (pd.DataFrame(X), pl.DataFrame(moved, schema=["u", "v", "w"]).to_numpy()),
        (X.astype(object), X.tolist()),
        (X.astype(np.float16), moved.astype(np.float32)),
    ]
    for source, target in pairs:
        columns = read_columns(Domain.of(source), Domain.of(target), None, 0)
        assert [c.source.shape for c in columns.shared] == [(120,)] * 3
        np.testing.assert_allclose(columns.shared[1].source, X[:, 1], rtol=2e-3)


def test_tiny_values_do_not_vanish():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert diagnose(1e-310 * X, 1e-310 * X[::-1], random_state=0, explain=False).kind == "none"


def test_labels_that_are_no_single_values():
    frame = pd.DataFrame(X, columns=list("abc")).assign(y=[[1]] * 120)
    with pytest.raises(ValueError, match="source's labels must be single values"):
        diagnose(frame, frame, label="y", random_state=0, explain=False)


def test_one_row_cannot_be_tested():
    diagnosis = diagnose((X, Y), (X[:1], Y[:1]), random_state=0, explain=False)
    assert diagnosis.kind == "undetermined"
    assert "at least 8 rows" in diagnosis.findings["marginal"].summary


def test_single_class_is_no_obstacle_to_the_rest():
    diagnosis = diagnose(
        (X, np.zeros(120)), (X[::-1] + 1.5, np.zeros(120)), random_state=0, explain=False
    )
    assert diagnosis.findings["marginal"].differs
    assert not diagnosis.label_space_differs


def test_one_bad_column_takes_nothing_from_the_others():
    n = 300

    def frame(seed, move):
        r = np.random.default_rng(seed)
        f = pd.DataFrame(
            {
                "good": r.normal(move, 1, n),
                "constant": 1.0,
                "empty": np.nan,
                "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(r.integers(0, 999, n), "h"),
                "nested": [[1]] * n,
                "mixed": r.choice(np.array([1, "x", None], dtype=object), n),
                "maybe": r.choice(np.array([True, False, None], dtype=object), n),
                "id": [f"id {v}" for v in r.integers(0, 10**9, n)],
                "infinite": np.where(np.arange(n) == 3, np.inf, r.normal(size=n)),
                "holes": np.where(r.random(n) < 0.1, np.nan, r.normal(size=n)),
            }
        )
        f["category"] = pd.Categorical(r.choice(["p", "q"], n))
        return f

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diagnosis = diagnose(frame(0, 0.0), frame(1, 1.0), random_state=0, explain=False)
    status = {f.feature: f.status for f in diagnosis.features}
    assert [name for name, s in status.items() if s == "differs"] == ["good"]
    assert {n for n, s in status.items() if s == "not_testable"} == {"empty", "nested", "id"}
    assert diagnosis.findings["marginal"].differs
    assert any("Infinite values" in note for note in diagnosis.notes)
    notes = {f.feature: f.note for f in diagnosis.features}
    assert notes["constant"] == "constant in the source; constant in the target"


def test_missingness_alone_is_found():
    holes = X.copy()
    holes[::3, 1] = np.nan
    found = diagnose(X, holes, random_state=0, explain=False).features[0]
    assert (found.feature, found.status) == ("x1", "differs")
    assert found.details["target_missing"] == pytest.approx(1 / 3)


def test_huge_values_do_not_overflow():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert diagnose(1e200 * X, 1e200 * X[::-1], random_state=0, explain=False).kind == "none"


def test_label_column_that_the_target_lacks():
    frame = pd.DataFrame(X, columns=list("abc"))
    diagnosis = diagnose(frame.assign(y=Y), frame, label="y", random_state=0, explain=False)
    assert diagnosis.situation.n_source_labels == 120
    assert diagnosis.situation.n_target_labels == 0
    assert not diagnosis.feature_space_differs


def test_few_target_labels_are_used_for_what_they_can_show():
    some = Domain(X, np.arange(120) % 10 > 0, labelled=np.arange(120) < 30)
    diagnosis = diagnose((X, Y), some, random_state=0, explain=False)
    assert diagnosis.findings["prior"].differs
    assert diagnosis.findings["conditional"].status == "not_testable"
    assert "too few labelled rows" in diagnosis.findings["conditional"].summary


def test_features_callable_and_unfitted_transformer():
    moved = X + np.array([2.0, 0, 0])
    assert (
        diagnose(X, moved, features=lambda rows: rows[:, 1:], random_state=0, explain=False).kind
        == "none"
    )
    assert (
        diagnose(X, moved, features=PCA(1), random_state=0, explain=False)
        .findings["marginal"]
        .differs
    )


def test_large_samples_are_cut_and_it_is_said():
    big = np.random.default_rng(1).normal(size=(12_000, 2))
    diagnosis = diagnose(big, big[:500], random_state=0, explain=False)
    assert any("10,000 of the 12,000 source rows" in note for note in diagnosis.notes)
    assert diagnosis.n_source == 12_000


def test_images_that_got_darker():
    images = rng.integers(0, 255, (150, 12, 12, 3), dtype=np.uint8)
    diagnosis = diagnose(images, images[::-1] // 2, random_state=0, explain=False)
    assert diagnosis.findings["marginal"].differs
    assert diagnosis.features[0].feature in {"brightness", "contrast", "edge strength"}
    assert any("thumbnails" in note for note in diagnosis.notes)


def test_grey_images_stored_in_colour_have_no_colour():
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, size=(60, 16, 16), dtype=np.uint8)
    source = np.repeat(grey[:, :, :, None], 3, axis=3)
    target = np.repeat(grey[::-1, :, :, None] // 2, 3, axis=3)
    names, a, b, _ = describe_images(source, target, 0)
    colours = [names.index(f"{c} less grey") for c in ("red", "green", "blue")]
    assert not a[:, colours].any()
    assert not b[:, colours].any()
    source[..., 0] = 255
    red = describe_images(source, target, 0)[1][:, colours]
    expected = source.reshape(60, -1, 3).mean(axis=1) / 255
    np.testing.assert_allclose(red, expected - expected.mean(axis=1, keepdims=True), atol=1e-12)


def test_a_regression_target_is_not_taken_for_hundreds_of_classes():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 2)), rng.normal(size=100)
    with pytest.raises(ValueError, match=r"source's labels are 100 different numbers.*regression"):
        diagnose((X, y), X, random_state=0, explain=False)
    # Few numbers that are no integers are classes.
    assert diagnose((X, np.tile([0.5, 1.5], 50)), X, random_state=0, explain=False).kind == "none"
