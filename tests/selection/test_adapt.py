"""adapt: what it chooses on planted shifts, what it promises, and what it refuses to start."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from shiftlab import AdaptationResult, Consensus, Domain, SelfTraining, adapt, make_pipeline
from shiftlab.data.gaussian_shifts import make_gaussian_shift
from shiftlab.encoding import TableEncoder
from shiftlab.selection.adapt import _rather_pooled, _Trials
from shiftlab.selection.ground import Ground
from shiftlab.selection.outcome import expected_score


@pytest.mark.parametrize(
    ("kind", "chosen", "ground"),
    [
        ("none", "source-only", "label shift"),
        ("covariate", "source-only", "covariate shift"),
        ("label", "PriorCorrection", "label shift"),
        ("location_scale", "LocationScale", "feature map"),
    ],
)
def test_it_chooses_what_answers_the_shift(kind, chosen, ground):
    source, target = make_gaussian_shift(kind, random_state=0)
    result = adapt(source, target.unlabelled(), random_state=0)
    assert (result.chosen, result.ground) == (chosen, ground)
    right = (result.predictions == target.y).mean()
    best = {"none": 0.97, "covariate": 0.98, "label": 0.89, "location_scale": 0.96}[kind]
    assert right >= best
    low, high = result.expected_score.interval
    assert low - 0.02 <= right <= high + 0.02
    assert result.assumption
    assert result.candidates[0].name == "source-only"


def labels_of(target, n, seed=0):
    rows = np.random.default_rng(seed).choice(target.n_rows, n, replace=False)
    return {int(i): target.y[i] for i in rows}


def test_target_labels_find_what_nothing_else_can():
    source, target = make_gaussian_shift("concept", random_state=0)
    blind = adapt(source, target.unlabelled(), random_state=0)
    labels = labels_of(target, 50)
    seeing = adapt(source, target.unlabelled(), labels=labels, random_state=0)
    hidden = np.setdiff1d(np.arange(target.n_rows), list(labels))
    scores = [(r.predictions == target.y)[hidden].mean() for r in (blind, seeing)]
    assert scores[0] < 0.65
    assert scores[1] > 0.88
    assert seeing.ground == "target labels"
    assert "50 labelled target rows" in seeing.decision


def noisy(n, weights, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    return Domain(X, (X @ np.array(weights) + rng.normal(0, 1.5, n) > 0).astype(int))


@pytest.mark.parametrize(
    ("n_labels", "chosen", "said"),
    [
        (40, "BalancedWeighting", "the 40 of the target do not speak against it"),
        (29, "source-only", "no candidate is shown to gain"),  # too few to weigh the sides by
    ],
)
def test_labelled_rows_of_both_sides_are_used_where_they_are_enough(n_labels, chosen, said):
    source, target = noisy(300, [1.0, 1, 0, 0], 0), noisy(600, [1.0, 0, 1, 0], 100)
    labels = labels_of(target, n_labels)
    result = adapt(source, target.unlabelled(), labels=labels, random_state=0)
    assert result.chosen == chosen
    assert said in result.decision


def test_labels_that_speak_against_training_on_them_are_heard():
    source, target = noisy(300, [1.0, 1, 0, 0], 0), noisy(600, [1.0, 0, 1, 0], 100)
    gains = {"BalancedWeighting": np.array([0.1, -0.3] * 20)}  # the mean is 3 errors below 0
    ground = Ground(
        make_pipeline(LogisticRegression()),
        source,
        target.unlabelled(),
        3,
        np.random.RandomState(0),
    )
    tried = _Trials(ground, 0.0, None)
    assert _rather_pooled(tried, gains) == ""
    assert tried.best == "source-only"
    even = {"BalancedWeighting": np.array([0.1, -0.1] * 20)}
    assert "BalancedWeighting used" in _rather_pooled(tried, even)
    assert tried.best == "BalancedWeighting"


def test_hidden_labels_change_nothing_and_the_seed_everything_repeats():
    source, target = make_gaussian_shift("location_scale", random_state=1)
    hidden = np.zeros(target.n_rows, dtype=bool)
    runs = [
        adapt(source, Domain(target.X, y, labelled=hidden), random_state=3)
        for y in (target.y, 1 - target.y)
    ]
    assert runs[0].decision == runs[1].decision
    np.testing.assert_array_equal(runs[0].probabilities, runs[1].probabilities)


def test_the_model_takes_new_rows_and_its_probabilities_are_calibrated():
    source, target = make_gaussian_shift("label", n_target=4000, random_state=0)
    shown = target.take(np.arange(1000)).unlabelled()
    result = adapt(source, shown, random_state=0)
    fresh = target.take(np.arange(1000, 4000))
    probability = result.predict_proba(fresh.X)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    np.testing.assert_array_equal(
        result.predict(fresh.X), result.classes[probability.argmax(axis=1)]
    )
    sure, right = probability.max(axis=1), result.predict(fresh.X) == fresh.y
    bins = np.digitize(sure, [0.6, 0.7, 0.8, 0.9])
    gaps = [
        abs(sure[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean()
        for b in set(bins)
    ]
    assert sum(gaps) < 0.05
    sets = result.conformal().predict_set(fresh.X, alpha=0.1)
    place = np.searchsorted(result.classes, fresh.y)
    assert 0.86 < sets[np.arange(len(place)), place].mean() < 0.95


def test_data_frames_with_text_gaps_and_some_labels_go_straight_in():
    pl = pytest.importorskip("polars")
    rng = np.random.default_rng(0)

    def table(n, moved):
        x = rng.normal(moved, 1, n)
        city = rng.choice(["Rome", "Oslo", "Lima"], n)
        y = np.where(x + (city == "Oslo") + rng.normal(0, 0.3, n) > 0, "yes", "no")
        gaps = [None if g else float(v) for v, g in zip(x, rng.random(n) < 0.05, strict=True)]
        return pl.DataFrame({"x": gaps, "city": city.tolist(), "bought": y.tolist()}), y

    (source, _), (target, truth) = table(400, 0.0), table(300, 0.5)
    shown = target.with_columns(
        pl.when(pl.int_range(300) < 20).then(pl.col("bought")).otherwise(None).alias("bought")
    )
    result = adapt(source, shown, label="bought", random_state=0)
    assert (result.predictions == truth).mean() > 0.85
    assert result._target.n_labelled == 20
    assert result.predict(target.drop("bought")).tolist() == result.predictions.tolist()


def test_numbers_are_adapted_too():
    rng = np.random.default_rng(0)
    X, Z = rng.normal(size=(400, 3)), rng.normal(size=(400, 3))
    beta = np.array([1.0, -2.0, 0.5])
    y, u = (v @ beta + rng.normal(0, 0.1, 400) for v in (X, Z))
    scale, shift = np.array([3.0, 0.5, 2.0]), np.array([1.0, -1.0, 4.0])
    result = adapt((X, y), Z * scale + shift, task="regression", random_state=0)
    assert result.chosen in ("LocationScale", "LinearTransport")
    error = np.mean((result.predictions - u) ** 2)
    assert error < 0.3
    plain = LinearRegression().fit(X, y).predict(Z * scale + shift)
    assert error < 0.05 * np.mean((plain - u) ** 2)
    assert result.metric == "mean squared error"
    assert result.probabilities is None


def test_the_budget_leaves_candidates_out_and_the_answer_in():
    source, target = make_gaussian_shift("label", random_state=0)
    result = adapt(source, target.unlabelled(), budget=1e-3, random_state=0)
    assert result.chosen == "source-only"
    assert {c.status for c in result.candidates[1:]} == {"not reached"}
    assert len(result.predictions) == target.n_rows


def test_the_report_and_the_json_hold_the_result(tmp_path):
    source, target = make_gaussian_shift("label", random_state=0)
    named = source.with_(name="<b>shop</b>")
    result = adapt(named, target.unlabelled(), random_state=0)
    page = result.to_html(tmp_path / "report.html").read_text()
    for text in ("Adapt with PriorCorrection", "Expected accuracy", "&lt;b&gt;shop", "<svg"):
        assert text in page
    assert "<b>shop</b>" not in page
    assert "<script" not in page
    told = json.loads(result.to_json())
    assert told["chosen"] == "PriorCorrection"
    assert told["expected_score"]["value"] == pytest.approx(result.expected_score.value)
    assert len(told["predictions"]) == target.n_rows
    assert isinstance(result, AdaptationResult)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "ranking"}, "task must be 'classification' or 'regression', got 'ranking'"),
        ({"budget": 0}, "budget must be a positive number of seconds or None, got 0"),
        ({"estimator": LinearRegression()}, "estimator must be a classifier for task="),
        ({"labels": {900: 1}}, r"labels must map row numbers 0\.\.49 of the target"),
        ({"labels": {"a": 1}}, r"labels must map row numbers 0\.\.49 of the target"),
        ({"source": np.zeros((50, 2))}, "source needs at least 6 labelled rows, got 0"),
        ({"source": (np.zeros((50, 2)), np.zeros(50))}, "labels of one class only"),
        ({"target": np.zeros((0, 2))}, "target"),
    ],
)
def test_what_cannot_be_done_is_one_clear_error_before_any_work(change, message):
    X = np.random.default_rng(0).normal(size=(50, 2))
    given = {"source": (X, X[:, 0] > 0), "target": X} | change
    with pytest.raises(ValueError, match=message):
        adapt(given.pop("source"), given.pop("target"), **given)


@pytest.mark.parametrize("kind", ["none", "covariate", "label"])
def test_intervals_of_the_expected_accuracy_cover_it(kind):
    # 40 draws at 90%: fewer than 32 hits have a chance of 2%; `slow` has more draws
    assert coverage(kind, 40) >= 32


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["none", "covariate", "label"])
def test_intervals_of_the_expected_accuracy_cover_nine_times_in_ten(kind):
    assert coverage(kind, 300) / 300 == pytest.approx(0.9, abs=0.04)


def coverage(kind, draws):
    hits = 0
    for seed in range(draws):
        source, target = make_gaussian_shift(kind, n_target=5500, random_state=seed)
        shown, rest = target.take(np.arange(500)).unlabelled(), target.take(np.arange(500, 5500))
        ground = Ground(
            make_pipeline(LogisticRegression()), source, shown, 3, np.random.RandomState(seed)
        )
        right = "covariate" if kind == "covariate" else "label"
        assumption = getattr(ground, f"{right}_shift")
        found = expected_score(ground, ground.baseline, assumption)
        truth = ground.baseline_.score(rest.X, rest.y)
        hits += found.interval[0] <= truth <= found.interval[1]
    return hits


def wide(n, share, strength, columns, seed):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < share).astype(int)
    return Domain(rng.normal(size=(n, columns)) + strength * (2 * y[:, None] - 1), y)


@pytest.mark.parametrize(
    ("columns", "strength", "share", "why"),
    [
        (80, 0.2, 0.5, ""),
        (20, 0.3, 0.5, "20 directions"),
        (80, 0.0, 0.5, "too weakly"),
        (80, 0.2, 0.95, "class shares seem to differ"),
    ],
)
def test_pseudo_labels_need_a_model_shares_and_columns_to_spare(columns, strength, share, why):
    source, target = wide(400, 0.5, strength, columns, 0), wide(300, share, strength, columns, 1)
    ground = Ground(
        make_pipeline(LogisticRegression()),
        source,
        target.unlabelled(),
        3,
        np.random.RandomState(0),
    )
    found = ground.class_structure
    assert found.plausible == (why == "")
    assert why in found.why


@pytest.mark.parametrize(("columns", "chosen"), [(80, "Consensus"), (20, "source-only")])
def test_what_no_assumption_explains_is_left_to_experience_or_alone(columns, chosen):
    rng = np.random.default_rng(0)
    source, target = wide(400, 0.5, 0.35, columns, 0), wide(300, 0.5, 0.35, columns, 1)
    far, half = np.array(target.X), columns // 2
    far[:, :half] = 4 * rng.choice([-1, 1], (300, 1)) + rng.normal(size=(300, half))
    result = adapt(source, far, random_state=0)
    assert result.chosen == chosen
    assert result.expected_score is None
    said = "by experience, not evidence" if columns == 80 else "20 directions"
    assert said in result.decision


def test_a_consensus_is_the_mean_of_its_models():
    source, target = make_gaussian_shift("covariate", random_state=0)
    models = [LogisticRegression(), SelfTraining(LogisticRegression(), random_state=0)]
    both = Consensus(models).fit(source, target.unlabelled())
    alone = [make_pipeline(m).fit(source, target.unlabelled()) for m in models]
    mean = np.mean([m.predict_proba(target.X) for m in alone], axis=0)
    np.testing.assert_allclose(both.predict_proba(target.X), mean)
    np.testing.assert_array_equal(both.predict(target.X), both.classes_[mean.argmax(axis=1)])
    with pytest.raises(ValueError, match="models must be at least two"):
        Consensus([LogisticRegression()]).fit(source, target)
    with pytest.raises(ValueError, match="all classifiers or all regressors"):
        Consensus([LogisticRegression(), LinearRegression()]).fit(source, target)


def test_the_encoder_learns_on_one_side_only():
    pl = pytest.importorskip("polars")
    first = pl.DataFrame({"a": [1.0, 3.0, None], "c": ["x", "y", "x"]})
    second = pl.DataFrame({"a": [5.0, None], "c": ["z", "y"]})
    encoder = TableEncoder().fit(first)
    spread = np.std([1.0, 3.0, 2.0])
    expected = [[(5.0 - 2.0) / spread, 0.0, 0.0], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(encoder.transform(second), expected)
    with pytest.raises(ValueError, match="column 'a' holds numbers in the source, but not here"):
        encoder.transform(pl.DataFrame({"a": ["old"], "c": ["x"]}))
