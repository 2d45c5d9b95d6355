"""Validators against closed forms, naive loops and planted truths."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

import shiftlab
from shiftlab import (
    ATC,
    BNM,
    CORAL,
    DEV,
    SND,
    CircularScore,
    ClassClustering,
    DoC,
    Domain,
    ImportanceWeightedScore,
    InfoMax,
    LabelShiftAdjusted,
    MixVal,
    Oracle,
    PredictionEntropy,
    SourceScore,
    make_pipeline,
    validation_scores,
)
from shiftlab.selection.trial import Trial
from shiftlab.selection.validators.base import NEEDS, Validator
from shiftlab.selection.validators.source_risk import embedded_risk
from shiftlab.selection.validators.target_outputs import neighborhood_density
from shiftlab.stats.performance import unlabelled_accuracy

ALL = [
    SourceScore(),
    ImportanceWeightedScore(),
    DEV(),
    DEV(normalize=True),
    CircularScore(),
    MixVal(),
    SND(),
    BNM(),
    PredictionEntropy(),
    InfoMax(),
    ClassClustering(),
    LabelShiftAdjusted(),
    ATC(),
    DoC(),
]


def outputs(p):
    """Stand in for a trial where only the target's probabilities matter."""
    return SimpleNamespace(
        classifies=True, name="some", target_probabilities=np.asarray(p, dtype=float)
    )


def pair(rng, n=200, move=0.5):
    X, Z = rng.normal(size=(n, 3)), rng.normal(size=(n, 3)) + move
    return (X, (X[:, 0] + 0.3 * rng.normal(size=n) > 0).astype(int)), Z


def trial(rng, model=None, **more):
    (X, y), Z = pair(rng)
    unfitted = make_pipeline(LogisticRegression()) if model is None else model
    held_out = Domain(X[100:], y[100:])
    fitted = unfitted.fit((X[:100], y[:100]), Z)
    return Trial("plain", fitted, unfitted, held_out, Domain(Z), **more)


def test_entropies_are_those_of_the_formula():
    certain, flat = np.eye(4), np.full((4, 4), 0.25)
    assert PredictionEntropy().score(outputs(certain)) == 0
    assert PredictionEntropy().score(outputs(flat)) == pytest.approx(-np.log(4))
    assert InfoMax().score(outputs(certain)) == pytest.approx(np.log(4))
    assert InfoMax().score(outputs(flat)) == pytest.approx(0)
    # one class for every row: entropy likes it, information does not
    collapsed = np.tile([1.0, 0, 0, 0], (4, 1))
    assert PredictionEntropy().score(outputs(collapsed)) == 0
    assert InfoMax().score(outputs(collapsed)) == 0


def test_nuclear_norm_is_one_only_for_certain_and_even_classes():
    assert BNM().score(outputs(np.tile(np.eye(3), (5, 1)))) == pytest.approx(1)
    collapsed = np.tile([1.0, 0, 0], (15, 1))
    assert BNM().score(outputs(collapsed)) == pytest.approx(1 / np.sqrt(3))


def test_neighborhood_density_equals_a_naive_loop(monkeypatch):
    p = np.random.default_rng(0).dirichlet(np.ones(3), size=23)
    total = 0.0
    for i in range(len(p)):
        others = [j for j in range(len(p)) if j != i]
        cosines = [p[i] @ p[j] / np.linalg.norm(p[i]) / np.linalg.norm(p[j]) for j in others]
        q = np.exp(np.array(cosines) / 0.1)
        q /= q.sum()
        total -= float(sum(v * np.log(v) for v in q))
    assert neighborhood_density(p, 0.1) == pytest.approx(total / len(p))
    monkeypatch.setattr("shiftlab.selection.validators.target_outputs.BLOCK", 7)
    assert neighborhood_density(p, 0.1) == pytest.approx(total / len(p))
    with pytest.raises(ValueError, match="at least 2 target rows"):
        SND().score(outputs(p[:1]))


def test_weighted_score_with_the_true_ratio_is_the_accuracy_in_the_target():
    # N(0, 1) -> N(1, 1): the ratio is exp(x - 1/2). Y is x > 1 turned over with chance .1 on the
    # left of 0 and .4 on the right; the model knows the rule, so it errs just as often.
    rng = np.random.default_rng(1)
    x = rng.normal(size=200_000)
    wrong = rng.random(x.size) < np.where(x < 0, 0.1, 0.4)
    t = rng.normal(1, 1, size=200_000)
    truth = 1 - np.mean(np.where(t < 0, 0.1, 0.4))
    judged = SimpleNamespace(
        classifies=True, name="some", source_loss=wrong.astype(float), ratio=np.exp(x - 0.5)
    )
    assert ImportanceWeightedScore().score(judged) == pytest.approx(truth, abs=0.006)
    assert DEV().score(judged) == pytest.approx(truth, abs=0.006)
    # on the source itself the model is much better
    assert 1 - wrong.mean() > truth + 0.05


def test_control_variate_is_unbiased_and_varies_less():
    rng = np.random.default_rng(2)
    plain, better = [], []
    for _ in range(400):
        x = rng.normal(size=300)
        w = np.exp(x - 0.5)
        loss = (rng.random(300) < np.where(x < 0, 0.2, 0.6)).astype(float)
        plain.append(np.mean(w * loss))
        better.append(embedded_risk(loss, w))
    t = rng.normal(1, 1, size=400_000)
    truth = np.mean(np.where(t < 0, 0.2, 0.6))
    assert np.mean(better) == pytest.approx(truth, abs=0.012)
    assert np.std(better) < 0.7 * np.std(plain)
    # by hand: eta = -cov/var
    w, loss = np.array([0.5, 1.0, 2.5]), np.array([0.0, 1.0, 1.0])
    eta = -np.cov(w * loss, w, bias=True)[0, 1] / np.var(w)
    assert embedded_risk(loss, w) == pytest.approx(np.mean(w * loss) + eta * (w.mean() - 1))


def test_circular_score_equals_the_way_back_by_hand():
    judged = trial(np.random.default_rng(3))
    back = LogisticRegression().fit(judged.target.X, judged.model.predict(judged.target.X))
    expected = np.mean(back.predict(judged.source.X) == judged.source.y)
    assert CircularScore().score(judged) == pytest.approx(expected)
    # one class for all target rows leaves nothing to learn, which is no crash
    (X, y), Z = pair(np.random.default_rng(3))
    unfitted = make_pipeline(LogisticRegression())
    fitted = make_pipeline(LogisticRegression()).fit((X, y), Z)
    far = Domain(Z * 0 + [50.0, 0, 0])
    assert CircularScore().score(Trial("far", fitted, unfitted, Domain(X, y), far)) == y.mean()


def test_circular_score_finds_labels_that_were_swapped():
    rng = np.random.default_rng(4)
    (X, y), Z = pair(rng, move=0)
    right = make_pipeline(LogisticRegression()).fit((X, y), Z)
    swapped = make_pipeline(LogisticRegression()).fit((X, 1 - y), Z)
    held_out, target = Domain(X, y), Domain(Z)
    unfitted = make_pipeline(LogisticRegression())
    scores = [
        CircularScore().score(Trial("", m, unfitted, held_out, target)) for m in (right, swapped)
    ]
    assert scores[0] > 0.85
    assert scores[1] < 0.15


def test_clusters_that_are_the_classes_score_one():
    X, y = make_blobs(150, centers=[[0, 0], [8, 0], [0, 8]], random_state=0)
    unfitted = make_pipeline(LogisticRegression())
    whole = Trial("", unfitted.fit((X, y), X), unfitted, Domain(X, y), Domain(X))
    assert ClassClustering().score(whole) == pytest.approx(1)
    # a boundary through the middle of clusters agrees less, as scikit-learn's measure says
    cut = (X[:, 0] > 0).astype(int)
    halved = Trial(
        "", make_pipeline(LogisticRegression(C=1e4)).fit((X, cut), X), unfitted, whole.source,
        Domain(X),
    )  # fmt: skip
    assert ClassClustering().score(halved) < 0.7
    assert adjusted_mutual_info_score(y, cut) < 0.7


def test_mixtures_equal_a_naive_loop():
    judged = trial(np.random.default_rng(5))
    Z = judged.target.X
    answered = judged.model.predict(Z)
    order = np.random.default_rng(0).permutation(len(Z))
    kept = {True: [], False: []}
    for place, a in enumerate(order):
        b = order[place - 1]
        mixed = 0.55 * Z[a] + 0.45 * Z[b]
        right = judged.model.predict(mixed[None])[0] == answered[a]
        kept[bool(answered[a] == answered[b])].append(right)
    expected = np.mean([np.mean(kept[True]), np.mean(kept[False])])
    assert MixVal().score(judged) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"mix must be above 0\.5"):
        MixVal(mix=0.5).score(judged)


def test_accuracy_estimates_are_those_of_the_diagnosis():
    judged = trial(np.random.default_rng(6))
    found = unlabelled_accuracy(
        judged.source_probabilities,
        judged.source.y,
        judged.target_probabilities,
        rng=np.random.default_rng(0),
    )
    for validator, name in (
        (ATC(), "ATC"),
        (DoC(), "DoC"),
        (LabelShiftAdjusted(), "label-shift adjusted"),
    ):
        assert validator.score(judged) == found[name].value
        assert validator.estimate(judged).interval == found[name].interval


def test_codes_follow_unsorted_classes_and_mark_unknown_ones():
    stand_in = SimpleNamespace(classes_=np.array(["b", "c", "a"]))
    source = Domain(np.zeros((4, 1)), np.array(["a", "b", "z", "c"]))
    assert Trial("", stand_in, None, source, source).source_codes.tolist() == [2, 0, -1, 1]


@pytest.mark.parametrize("validator", ALL, ids=repr)
def test_hidden_target_labels_never_matter(validator):
    rng = np.random.default_rng(7)
    (X, y), Z = pair(rng)
    t = rng.integers(0, 2, size=len(Z))
    few = np.arange(len(Z)) < 0
    model = CORAL(LogisticRegression())
    scores = [
        validation_scores(model, (X, y), Domain(Z, labels, labelled=few), validator, cv=2,
                          random_state=0).tolist()
        for labels in (t, 1 - t)
    ]  # fmt: skip
    assert scores[0] == scores[1]
    assert np.isfinite(scores[0]).all()
    assert "target_labels" not in validator.needs
    assert validator.needs <= set(NEEDS)


def test_the_oracle_says_what_it_is_and_is_the_accuracy():
    judged = trial(np.random.default_rng(8))
    t = np.random.default_rng(9).integers(0, 2, size=judged.target.n_rows)
    oracle = Oracle(target_labels=t)
    assert oracle.score(judged) == np.mean(judged.model.predict(judged.target.X) == t)
    assert "uses target labels" in repr(oracle)
    assert "target_labels" in oracle.needs
    with pytest.raises(TypeError):
        Oracle(t)
    with pytest.raises(ValueError, match="one label for each of the 200 target rows"):
        Oracle(target_labels=t[:3]).score(judged)


def test_regression_is_judged_by_squared_error_and_refused_elsewhere():
    rng = np.random.default_rng(10)
    X = rng.normal(size=(120, 2))
    y = X[:, 0] + 0.1 * rng.normal(size=120)
    scores = validation_scores(LinearRegression(), (X, y), X, SourceScore(), random_state=0)
    assert scores.mean() == pytest.approx(-0.01, abs=0.004)
    weighted = validation_scores(
        LinearRegression(), (X, y), X, ImportanceWeightedScore(), random_state=0
    )
    assert weighted.mean() == pytest.approx(-0.01, abs=0.004)
    with pytest.raises(ValueError, match="InfoMax judges classification; candidate 'LinearReg"):
        validation_scores(LinearRegression(), (X, y), X, InfoMax())


class _Undefined(Validator):
    needs = frozenset()

    def _score(self, trial):
        return float("nan")


def test_an_undefined_score_raises_and_names_the_candidate():
    (X, y), Z = pair(np.random.default_rng(11))
    with pytest.raises(ValueError, match="_Undefined is nan for candidate 'Pipeline'"):
        validation_scores(make_pipeline(LogisticRegression()), (X, y), Z, _Undefined())
    with pytest.raises(ValueError, match="candidate 'LinearSVC' has no predict_proba"):
        validation_scores(LinearSVC(), (X, y), Z, InfoMax())
    with pytest.raises(TypeError, match="validator must be a Validator"):
        validation_scores(LogisticRegression(), (X, y), Z, InfoMax)
    with pytest.raises(TypeError, match="candidate 'CORAL' predicts nothing"):
        validation_scores(CORAL(), (X, y), Z, InfoMax())
    with pytest.raises(TypeError, match="must be an adapter, a pipeline or an estimator"):
        validation_scores("CORAL", (X, y), Z, InfoMax())
    with pytest.raises(ValueError, match="at least 2 labelled rows"):
        validation_scores(LogisticRegression(), Domain(X), Z, InfoMax())


def test_source_rows_without_labels_are_never_held_out():
    (X, y), Z = pair(np.random.default_rng(12), n=60)
    source = Domain(X, y, labelled=np.arange(60) < 40)
    hidden = y.copy()
    hidden[40:] = 1 - hidden[40:]
    for labels in (y, hidden):
        score = validation_scores(
            KNeighborsClassifier(1), source.with_(y=labels), Z, SourceScore(), cv=4, random_state=0
        )
        assert score.shape == (4,)
        # 10 rows a fold: the score is a multiple of a tenth
        assert np.allclose(score * 10, np.round(score * 10))


def test_every_validator_is_public():
    names = {type(v).__name__ for v in ALL} | {"Oracle", "Validator"}
    assert names <= set(shiftlab.__all__)
