"""Each generator's truth: what it keeps is kept, and what it moves moves by the planted size."""

import time

import narwhals.stable.v1 as nw
import numpy as np
import pytest
from scipy import stats

from shiftlab.data import shifts
from shiftlab.data.shifts import class_probabilities, make_shift

FAMILIES = ("linear", "nonlinear", "heavy_tailed", "mixed")
KINDS = ("none", "covariate", "label", "concept", "general", "feature_space", "new_class")
ROWS = {"n_source": 20_000, "n_target": 20_000}
SURE = 1e-4  # per test; all seeds are fixed, so a failure is a change of the code


def columns(domain):
    """Every column as numbers; categories by their position, missing as NaN."""
    if not domain.is_frame:
        return dict(zip(domain.feature_names, domain.X.T, strict=True))
    frame = nw.from_native(domain.X, eager_only=True)
    code = {"a": 0.0, "b": 1.0, "c": 2.0}
    return {
        name: np.array(
            [np.nan if v is None or v != v else code.get(v, v) for v in frame[name].to_list()],
            dtype=float,
        )
        for name in frame.columns
    }


def least_p(a, b, names=None):
    """Smallest p-value over columns, Bonferroni-corrected: KS, or chi-square for few values."""
    names = names or list(a)
    found = []
    for name in names:
        x, y = (v[name][~np.isnan(v[name])] for v in (a, b))
        levels = np.unique(np.concatenate([x, y]))
        if levels.size > 10:
            found.append(stats.ks_2samp(x, y).pvalue)
        else:
            table = [[(v == level).sum() for level in levels] for v in (x, y)]
            found.append(stats.chi2_contingency(table).pvalue)
    return min(found) * len(found)


def miscalibration(domain, family, turn=0.0, rows=slice(None)):
    """Largest |z| of the residuals of the known P(Y|X) against functions of X; N(0, 1) each."""
    X = domain.X.iloc[rows] if domain.is_frame else domain.X[rows]
    p = class_probabilities(X, family=family, turn=turn)
    y = domain.y[rows]
    values = columns(domain)
    bounded = [np.tanh(values[c][rows]) for c in ("x0", "x1", "x2", "x3")]
    angle = np.arctan2(values["x1"], values["x0"])[rows]
    tests = [np.ones(y.size), *bounded]
    tests += [f(k * angle) for f in (np.sin, np.cos) for k in (1, 2, 3, 4)]
    z = [
        (((y == k) - p[:, k]) * f).sum() / np.sqrt((p[:, k] * (1 - p[:, k]) * f**2).sum())
        for k in range(3)
        for f in tests
    ]
    return np.abs(z).max()


def planted_turn(domain, family):
    """The angle by maximum likelihood, in degrees."""
    angles = np.arange(-10, 60, 2)
    likelihood = [
        np.log(
            class_probabilities(domain.X, family=family, turn=a)[np.arange(len(domain)), domain.y]
        )
        for a in angles
    ]
    return angles[np.argmax(np.sum(likelihood, axis=1))]


@pytest.mark.parametrize("family", FAMILIES)
def test_none_keeps_everything(family):
    source, target = make_shift("none", family=family, **ROWS, random_state=1)
    assert least_p(columns(source), columns(target)) > SURE
    assert stats.chi2_contingency([np.bincount(d.y) for d in (source, target)]).pvalue > SURE
    for domain in (source, target):
        assert miscalibration(domain, family) < 4.5
        assert stats.chisquare(np.bincount(domain.y)).pvalue > SURE  # 1/3 each


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("severity", [1.0, 0.4])
def test_covariate_keeps_y_at_equal_x_and_moves_two_columns(family, severity):
    source, target = make_shift(
        "covariate", family=family, **ROWS, severity=severity, random_state=2
    )
    for domain in (source, target):
        assert miscalibration(domain, family) < 4.5
    a, b = columns(source), columns(target)
    assert least_p(a, b, [c for c in a if c not in ("x0", "x3")]) > SURE
    a["x0"] = a["x0"] + 0.5 * severity
    if family == "mixed":
        assert (
            stats.chi2_contingency([np.bincount(v["x3"].astype(int)) for v in (a, b)]).pvalue < SURE
        )
        cuts = stats.norm.cdf(stats.norm.ppf([1 / 3, 2 / 3]) - 0.5 * severity)
        np.testing.assert_allclose([(b["x3"] < k).mean() for k in (1, 2)], cuts, atol=0.015)
        assert least_p(a, b, ["x0"]) > SURE
    else:
        a["x3"] = a["x3"] + 0.5 * severity
        assert least_p(a, b, ["x0", "x3"]) > SURE


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("severity", [1.0, 0.4])
def test_label_keeps_x_within_classes_and_moves_the_shares(family, severity):
    source, target = make_shift("label", family=family, **ROWS, severity=severity, random_state=3)
    a, b = columns(source), columns(target)
    for k in range(3):
        inside = [
            {c: v[d.y == k] for c, v in side.items()} for d, side in ((source, a), (target, b))
        ]
        assert least_p(*inside) > SURE
    expected = (1 - severity) / 3 + severity * np.array([0.6, 0.25, 0.15])
    assert stats.chisquare(np.bincount(target.y), expected * len(target)).pvalue > SURE
    assert stats.chisquare(np.bincount(source.y)).pvalue > SURE
    assert len(np.unique(b["x0"])) == len(target)  # no row twice
    assert np.corrcoef(target.y, np.arange(len(target)))[0, 1] ** 2 < 1e-3  # in no order


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("severity", [1.0, 0.4])
def test_concept_keeps_x_and_y_and_turns_by_the_planted_angle(family, severity):
    source, target = make_shift("concept", family=family, **ROWS, severity=severity, random_state=4)
    assert least_p(columns(source), columns(target)) > SURE
    assert stats.chi2_contingency([np.bincount(d.y) for d in (source, target)]).pvalue > SURE
    assert abs(planted_turn(source, family)) <= 2
    assert abs(planted_turn(target, family) - 40 * severity) <= 2
    assert miscalibration(target, family, turn=40 * severity) < 4.5
    assert miscalibration(target, family) > 8


def test_heavy_tailed_columns_have_three_degrees_of_freedom_and_a_round_plane():
    X = make_shift("none", family="heavy_tailed", **ROWS, random_state=5)[0].X
    for column in X.T:
        assert stats.kstest(column, stats.t(3).cdf).pvalue > SURE
    angle = np.arctan2(X[:, 1], X[:, 0])
    assert stats.kstest(angle, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > SURE
    assert abs(stats.spearmanr(np.hypot(X[:, 0], X[:, 1]), angle).statistic) < 0.03


def test_linear_is_the_softmax_of_three_directions():
    X = np.random.default_rng(6).normal(size=(50, 6))
    directions = np.array([[1, 0], [-0.5, np.sqrt(0.75)], [-0.5, -np.sqrt(0.75)]])
    for turn in (0.0, 40.0):
        t = np.deg2rad(turn)
        turned = directions @ np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
        e = np.exp(3 * X[:, :2] @ turned.T)
        expected = e / e.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(class_probabilities(X, turn=turn), expected, atol=1e-12)


def test_nonlinear_shows_no_class_in_one_column_alone():
    source, _ = make_shift("none", family="nonlinear", **ROWS, random_state=7)
    for k in range(3):
        centre = source.X[source.y == k].mean(axis=0)
        assert np.abs(centre).max() < 4.5 / np.sqrt((source.y == k).sum())


def test_general_moves_both():
    source, target = make_shift("general", **ROWS, random_state=8)
    assert abs(planted_turn(target, "linear") - 40) <= 2
    np.testing.assert_allclose(
        (target.X - source.X).mean(axis=0)[[0, 3, 1]], [0.5, 0.5, 0], atol=0.05
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_feature_space_changes_names_and_a_unit_and_nothing_else(family):
    source, target = make_shift("feature_space", family=family, **ROWS, random_state=9)
    assert source.feature_names == tuple(f"x{j}" for j in range(10))
    assert target.feature_names == (*(f"x{j}" for j in range(7)), "x7_new")
    a, b = columns(source), columns(target)
    b["x7"] = b.pop("x7_new")
    b["x2"] = b["x2"] / 1000
    assert least_p(a, b, list(b)) > SURE
    assert miscalibration(target, family) < 4.5


@pytest.mark.parametrize(("severity", "share"), [(1.0, 0.15), (0.4, 0.06)])
def test_new_class_is_in_a_new_place_and_the_rest_is_kept(severity, share):
    source, target = make_shift("new_class", **ROWS, severity=severity, random_state=10)
    new = target.y == 3
    assert new.mean() == share
    assert set(source.y) == {0, 1, 2}
    a, b = columns(source), columns(target)
    old = {c: v[~new] for c, v in b.items()}
    assert least_p(a, old) > SURE
    assert miscalibration(target, "linear", rows=np.flatnonzero(~new)) < 4.5
    moved = {c: v[new] - 3 * (c == "x5") for c, v in b.items()}
    assert least_p(a, moved) > SURE


@pytest.mark.parametrize("family", FAMILIES)
def test_missing_is_completely_at_random(family):
    source, target = make_shift("none", family=family, **ROWS, missing=0.1, random_state=11)
    for domain in (source, target):
        gone = np.isnan(np.column_stack(list(columns(domain).values())))
        np.testing.assert_allclose(gone.mean(axis=0), 0.1, atol=0.01)
        together = np.corrcoef(np.column_stack([gone, domain.y == 0]).T)
        assert np.abs(together - np.eye(11)).max() < 0.035
    whole = make_shift("none", family=family, **ROWS, random_state=11)[0]
    seen, full = columns(source), columns(whole)
    for name, values in seen.items():  # nothing but the missing cells changed
        known = ~np.isnan(values)
        np.testing.assert_array_equal(values[known], full[name][known])


@pytest.mark.parametrize(
    ("family", "relevant"), [("linear", {"x0", "x1"}), ("mixed", {"x0", "x1", "x3"})]
)
def test_covariate_leaves_no_hole_where_y_depends_on_x(family, relevant):
    for domain in make_shift("covariate", family=family, missing=0.3, random_state=12):
        holes = {name for name, values in columns(domain).items() if np.isnan(values).any()}
        assert holes == {f"x{j}" for j in range(10)} - relevant


def test_mixed_has_numbers_categories_and_truth_values_in_either_library(monkeypatch):
    expected = {"x0": float, "x3": str, "x4": bool, "x5": float, "x9": str}
    frames = {}
    for library in ("pandas", "polars"):
        module = pytest.importorskip(library)
        monkeypatch.setattr(shifts, "_frame_library", lambda module=module: module)
        source, _ = make_shift("none", family="mixed", missing=0.2, random_state=13)
        assert isinstance(source.X, module.DataFrame)
        frame = nw.from_native(source.X, eager_only=True)
        for name, kind in expected.items():
            values = [v for v in frame[name].to_list() if v is not None and v == v]
            assert {type(v) for v in values} == {kind}
        frames[library] = columns(source)
    for name, values in frames["pandas"].items():
        np.testing.assert_array_equal(values, frames["polars"][name])


def test_mixed_says_what_it_needs(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(shifts, "import_module", absent)
    with pytest.raises(ImportError, match=r"pandas or polars.*shiftlab\[frames\]"):
        make_shift("none", family="mixed")


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_rows_and_other_seed_other_rows(kind):
    sizes = {"n_source": 40, "n_target": 30, "n_features": 7, "missing": 0.1}
    first, again, other = (make_shift(kind, **sizes, random_state=s) for s in (3, 3, 4))
    for side in (0, 1):
        np.testing.assert_array_equal(first[side].X, again[side].X)
        np.testing.assert_array_equal(first[side].y, again[side].y)
        assert not np.array_equal(first[side].X, other[side].X)
    assert [d.n_rows for d in first] == [40, 30]
    assert [d.name for d in first] == ["source", "target"]
    assert not np.array_equal(first[0].X[:5, 0], first[1].X[:5, 0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_one_row_is_enough(kind, family):
    source, target = make_shift(kind, family=family, n_source=1, n_target=1, random_state=0)
    assert (source.n_rows, target.n_rows) == (1, 1)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("kind", "drift", "kind must be one of 'none', 'covariate'.*got 'drift'"),
        ("family", "cubic", "family must be one of 'linear'.*got 'cubic'"),
        ("n_source", 0, "n_source must be an int of at least 1, got 0"),
        ("n_target", 2.5, "n_target must be an int of at least 1, got 2.5"),
        ("n_features", 5, "n_features must be an int of at least 6, got 5"),
        ("severity", 0, "severity must be a number above 0 and at most 1, got 0"),
        ("severity", 1.5, "severity must be a number above 0 and at most 1, got 1.5"),
        ("severity", float("nan"), "severity must be a number above 0 and at most 1, got nan"),
        ("missing", 1.0, "missing must be a number at least 0 and below 1, got 1.0"),
        ("missing", True, "missing must be a number at least 0 and below 1, got True"),
    ],
)
def test_bad_arguments_are_named(argument, value, message):
    with pytest.raises(ValueError, match=message):
        make_shift(**({"kind": "none"} | {argument: value}))


def test_it_is_fast():
    best = []
    for family in FAMILIES:
        seconds = []
        for seed in range(3):
            start = time.perf_counter()
            make_shift("label", family=family, random_state=seed)
            seconds.append(time.perf_counter() - start)
        best.append(min(seconds))
    assert max(best) < 0.05
