"""SafeAdapter: evidence against closed forms, decisions on planted shifts, nothing leaks."""

import numpy as np
import pytest
from scipy.integrate import quad
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from shiftlab import (
    CORAL,
    ClassifierWeighting,
    Domain,
    LocationScale,
    OptimalTransport,
    PriorCorrection,
    SafeAdapter,
    SourceRegularized,
    make_pipeline,
)
from shiftlab.data.gaussian_shifts import make_gaussian_shift
from shiftlab.selection.evidence import Evidence, remaining_difference, win_e_value
from shiftlab.selection.ground import Ground
from shiftlab.selection.probabilities import held_out_brier, held_out_calibration
from shiftlab.selection.safe_adapter import source_only
from shiftlab.stats.performance import label_shift_estimate


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (7, 2), (3, 9), (40, 12)])
def test_the_e_value_is_the_mean_bet_over_all_win_rates_above_a_half(wins, losses):
    bet, _ = quad(lambda p: 2 * (2 * p) ** wins * (2 * (1 - p)) ** losses, 0.5, 1)
    assert win_e_value(wins, losses) == pytest.approx(bet, rel=1e-6)


def test_looking_after_every_label_rejects_a_true_null_at_most_alpha_often():
    rng = np.random.default_rng(0)
    draws, rows = 2000, 100
    first = rng.random((draws, rows)) < 0.5
    wins = first.cumsum(axis=1)
    count = np.arange(1, rows + 1)
    table = {(w, n): win_e_value(w, n - w) for n in count for w in range(n + 1)}
    ever = np.array(
        [max(table[int(w), int(n)] for w, n in zip(line, count, strict=True)) for line in wins]
    )
    # a supermartingale passes 10 in at most one case of ten; two standard errors are 0.013
    assert 0.02 < (ever >= 10).mean() < 0.1 + 0.013
    strong = rng.random((500, rows)) < 0.75
    assert np.mean([win_e_value(int(w), rows - int(w)) >= 10 for w in strong.sum(axis=1)]) > 0.95


def test_the_label_shift_estimate_finds_the_gain_under_the_planted_prior():
    covered, centres = 0, []
    truth = 0.1 * 0.4 + 0.9 * -0.05  # a model that gains 40 points in class 0, loses 5 in class 1
    for seed in range(40):
        rng = np.random.default_rng(seed)
        y, z = (rng.random(1000) > 0.5).astype(int), (rng.random(1000) > 0.1).astype(int)

        def proba(codes, rng=rng):
            x = rng.normal(2.0 * codes - 1.0, 1.0)
            p = 1 / (1 + np.exp(-2 * x))
            return np.column_stack([1 - p, p])

        gain = np.where(y == 0, rng.random(1000) < 0.4, -1.0 * (rng.random(1000) < 0.05))
        found = label_shift_estimate(gain, y, proba(y), proba(z), rng=rng)
        centres.append(found.value)
        covered += found.interval[0] <= truth <= found.interval[1]
    assert np.mean(centres) == pytest.approx(truth, abs=0.01)
    assert covered >= 34  # 38 of 40 are expected; fewer than 34 have a chance of 2%


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": [1.0]}, "got 1 values"),
        ({"codes": [0, 5, 1]}, r"within 0\.\.1, got 0\.\.5"),
        ({"target_probabilities": np.empty((0, 2))}, "0 target rows"),
    ],
)
def test_the_label_shift_estimate_says_what_does_not_fit(change, message):
    given = {
        "values": [1.0, 0.0, 1.0],
        "codes": [0, 1, 1],
        "source_probabilities": np.full((3, 2), 0.5),
        "target_probabilities": np.full((3, 2), 0.5),
    }
    with pytest.raises(ValueError, match=message):
        label_shift_estimate(*(given | change).values(), rng=np.random.default_rng(0))


def test_exact_density_ratios_leave_no_difference_and_wrong_ones_do():
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2000, 3)), rng.normal([0.7, 0, 0], 1, size=(2000, 3))
    exact = np.exp(0.7 * x[:, 0] - 0.245)
    left = [remaining_difference(x, z, w) for w in (exact, 1 / exact, None)]
    assert left[0] < 0.55
    assert left[1] > left[2] > 0.62


@pytest.mark.parametrize(
    ("gain", "interval", "calibration", "shown"),
    [
        (None, None, None, False),
        (0.02, (0.01, 0.03), None, True),
        (0.02, (-0.01, 0.05), None, False),
        (0.02, (-0.01, 0.05), (0.001, 0.004), True),
        (0.02, (-0.01, 0.05), (-0.001, 0.004), False),
        (0.02, (0.01, 0.03), (-0.001, 0.004), True),
        (-0.01, (-0.03, 0.01), (0.001, 0.004), False),  # better probabilities, worse answers
    ],
)
def test_a_gain_is_shown_by_accuracy_or_by_both_scores(gain, interval, calibration, shown):
    found = Evidence("label shift", "", True, "", gain, interval, calibration)
    assert found.shown == shown


def test_the_brier_score_of_held_out_rows_is_the_mean_over_classes_by_hand():
    source, target = make_gaussian_shift("label", random_state=0)
    ground = Ground(
        make_pipeline(LogisticRegression()),
        source,
        target.unlabelled(),
        3,
        np.random.RandomState(0),
    )
    found = held_out_brier(ground, ground.baseline)
    calibration = held_out_calibration(ground, ground.baseline)
    by_hand = np.empty(source.n_rows)
    for train, test in ground.folds:
        model = LogisticRegression().fit(source.X[train], source.y[train])
        for row, p in zip(test, calibration(model.predict_proba(source.X[test])), strict=True):
            hit = [float(c == source.y[row]) for c in model.classes_]
            by_hand[row] = sum((a - b) ** 2 for a, b in zip(p, hit, strict=True)) / 2
    assert found == pytest.approx(by_hand[ground.held_out])


def test_a_model_that_is_only_less_sure_of_the_same_answers_is_no_better():
    class Sharp(LogisticRegression):
        def predict_proba(self, X):
            p = super().predict_proba(X) ** 4
            return p / p.sum(axis=1, keepdims=True)

    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2))
    y = (X[:, 0] + rng.normal(size=500) > 0).astype(int)
    ground = Ground(make_pipeline(Sharp()), Domain(X, y), Domain(X), 3, np.random.RandomState(0))
    plain = held_out_brier(ground, make_pipeline(LogisticRegression())).mean()
    raw = ground.held_out_probabilities(ground.baseline)[np.arange(500), ground.codes]
    assert np.mean((1 - raw) ** 2) > 1.05 * plain
    assert held_out_brier(ground, ground.baseline).mean() == pytest.approx(plain, rel=0.02)


def fitted(kind, adapter, seed, **params):
    source, target = make_gaussian_shift(kind, random_state=seed)
    safe = SafeAdapter(adapter, random_state=seed, **params).fit(source, target.unlabelled())
    alone = [m.score(target.X, target.y) for m in (safe.source_only_, safe.adapted_)]
    return safe, alone


@pytest.mark.parametrize(
    ("kind", "make", "use"),
    [
        ("label", lambda: PriorCorrection(LogisticRegression(), random_state=0), True),
        ("location_scale", lambda: LocationScale(LogisticRegression(), random_state=0), True),
        ("none", lambda: LocationScale(LogisticRegression(), random_state=0), False),
        ("covariate", lambda: LocationScale(LogisticRegression(), random_state=0), False),
        ("label", lambda: LocationScale(LogisticRegression(), random_state=0), False),
        ("label", lambda: OptimalTransport(LogisticRegression(), random_state=0), False),
        ("covariate", lambda: PriorCorrection(LogisticRegression(), random_state=0), False),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_it_adapts_where_that_helps_and_not_where_it_harms(kind, make, use):
    decisions = []
    for seed in range(3):
        safe, (plain, adapted) = fitted(kind, make(), seed)
        decisions.append(safe.uses_adapted_)
        chosen = adapted if safe.uses_adapted_ else plain
        assert chosen > plain - 0.01
        assert safe.decision_.startswith("adapted" if safe.uses_adapted_ else "source-only")
    assert sum(decisions) >= 2 if use else not any(decisions)


def test_it_predicts_with_the_model_that_it_says():
    safe, _ = fitted("location_scale", LocationScale(LogisticRegression(), random_state=0), 0)
    X = make_gaussian_shift("location_scale", random_state=9)[1].X
    assert safe.uses_adapted_
    np.testing.assert_array_equal(safe.predict_proba(X), safe.adapted_.predict_proba(X))
    assert safe.gain_interval_[0] <= safe.gain_ <= safe.gain_interval_[1]
    kept, _ = fitted("none", CORAL(LogisticRegression()), 0)
    np.testing.assert_array_equal(kept.predict(X), kept.source_only_.predict(X))
    np.testing.assert_array_equal(kept.source_only_.predict(X), kept.estimator_.predict(X))


def test_a_few_target_labels_overrule_an_assumption_that_does_not_hold():
    # turned by 81 degrees at equal P(X): nothing without labels can see it
    source, target = make_gaussian_shift("concept", random_state=0)
    rng = np.random.default_rng(0)
    shown = np.zeros(target.n_rows, bool)
    shown[rng.choice(target.n_rows, 60, replace=False)] = True
    few = target.with_(labelled=shown)
    learner = SourceRegularized(LogisticRegression())
    safe = SafeAdapter(learner, random_state=0).fit(source, few)
    assert safe.uses_adapted_
    assert safe.evidence_[0].name == "target labels"
    hidden = ~shown
    scores = [
        m.score(target.X[hidden], target.y[hidden]) for m in (safe.source_only_, safe.adapted_)
    ]
    assert scores[1] > scores[0] + 0.1


def test_target_labels_refuse_what_an_assumption_would_have_used():
    source, target = make_gaussian_shift("location_scale", random_state=0)
    wrong = Domain(target.X, 1 - target.y)  # now the map turns right answers into wrong ones
    adapter = LocationScale(LogisticRegression(), random_state=0)
    assert SafeAdapter(adapter, random_state=0).fit(source, target.unlabelled()).uses_adapted_
    shown = np.zeros(target.n_rows, bool)
    shown[::10] = True
    safe = SafeAdapter(adapter, random_state=0).fit(source, wrong.with_(labelled=shown))
    assert not safe.uses_adapted_
    assert "labelled target rows" in safe.decision_


@pytest.mark.parametrize("shown", [0, 20])
def test_hidden_target_labels_change_nothing(shown):
    source, target = make_gaussian_shift("location_scale", random_state=1)
    known = np.arange(target.n_rows) < shown
    answers = []
    for y in (target.y, np.where(known, target.y, 1 - target.y)):
        domain = Domain(target.X, y, labelled=known)
        adapter = LocationScale(LogisticRegression(), random_state=0)
        safe = SafeAdapter(adapter, random_state=0).fit(source, domain)
        answers.append((safe.decision_, safe.predict_proba(target.X).tobytes()))
    assert answers[0] == answers[1]


def test_numbers_are_adapted_by_weights_where_a_line_does_not_fit():
    better = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x, z = rng.normal(0, 1, (1000, 1)), rng.normal(0.9, 0.5, (1000, 1))
        y, u = x[:, 0] ** 2, z[:, 0] ** 2
        safe = SafeAdapter(ClassifierWeighting(LinearRegression(), random_state=0), random_state=0)
        safe.fit((x, y), z)
        better.append(safe.uses_adapted_)
        assert not safe.uses_adapted_ or (
            safe.score(z, u) > safe.source_only_.score(z, u) + 0.1
            and safe.evidence_[-1].name == "covariate shift"
        )
    assert sum(better) >= 4


def test_the_source_only_model_keeps_what_is_not_an_adapter():
    model = make_pipeline(StandardScaler(), CORAL(), PriorCorrection(LogisticRegression(C=3.0)))
    plain = source_only(model)
    assert [type(s).__name__ for _, s in plain.steps] == ["StandardScaler", "LogisticRegression"]
    assert plain.steps[-1][1].C == 3.0
    weighted = source_only(ClassifierWeighting(KNeighborsClassifier()))
    assert isinstance(weighted.steps[-1][1], KNeighborsClassifier)


@pytest.mark.parametrize(
    ("adapter", "error", "message"),
    [
        (CORAL(), TypeError, r"'adapter' predicts nothing: give it an estimator, CORAL\("),
        (LogisticRegression, TypeError, "must be an adapter"),
        (None, ValueError, "'adapter' parameter of SafeAdapter"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_error(adapter, error, message):
    source, target = make_gaussian_shift("none", random_state=0)
    with pytest.raises(error, match=message):
        SafeAdapter(adapter).fit(source, target.unlabelled())
