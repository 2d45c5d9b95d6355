"""What the shift costs a model: planted truths, warnings, odd input, and the known failures."""

import numpy as np
import pytest
from diagnosis_cases import pair
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from shiftlab.diagnosis.findings import Finding
from shiftlab.diagnosis.performance import assess_performance
from shiftlab.stats import BlendedClassifier

METHODS = ["importance weighting", "average confidence", "ATC", "DoC", "label-shift adjusted"]


def _finding(question, status, **details):
    return Finding(question, status, "", details=details)


def _data(seed=0, n=600, *, concept=False, move=0.0, labels=True):
    """Two classes of one number, the model knows the source's P(y|x); halves of equal size."""
    rng = np.random.default_rng(seed)
    x_s, x_t = rng.normal(size=n), rng.normal(move, 1.0, size=n)
    y_s = (rng.random(n) < expit(2 * x_s)).astype(int)
    y_t = (rng.random(n) < expit(2 * (x_t - 1.0 * concept))).astype(int)
    return {
        "task": "classification",
        "source_scores": np.column_stack([1 - expit(2 * x_s), expit(2 * x_s)]),
        "source_y": y_s,
        "target_scores": np.column_stack([1 - expit(2 * x_t), expit(2 * x_t)]),
        "target_y": y_t,
        "target_known": np.full(n, labels),
        "source_domain": expit(move * x_s - move**2 / 2),
        "target_domain": expit(move * x_t - move**2 / 2),
        "findings": {},
        "rng": np.random.default_rng(seed + 1),
    }


def _numbers(**changes):
    given = _data(**changes)
    rng = np.random.default_rng(5)
    for side in ("source", "target"):
        x = given[f"{side}_scores"][:, [1]]
        given[f"{side}_scores"] = 3 * x
        given[f"{side}_y"] = 3 * x[:, 0] + rng.normal(size=len(x))
    return given | {"task": "regression"}


def test_accuracies_and_their_difference_are_those_of_the_rows():
    given = _data(concept=True)
    found = assess_performance(**given)
    for side, value in (("source", found.source), ("target", found.target)):
        right = given[f"{side}_scores"].argmax(axis=1) == given[f"{side}_y"]
        assert value == pytest.approx(right.mean())
    parts = found.decomposition
    assert parts.total == pytest.approx(found.source - found.target)
    assert parts.x_part + parts.y_given_x_part == pytest.approx(parts.total)
    assert parts.y_given_x_interval[0] > 0.02
    assert parts.x_interval[0] <= 0.0 <= parts.x_interval[1]
    assert [e.method for e in found.estimates] == METHODS
    for estimate in found.estimates:
        assert estimate.interval[0] <= estimate.estimate <= estimate.interval[1]
        assert estimate.estimate > found.target_interval[1]  # all miss the drop
    drop = f"falls by {100 * parts.total:.1f} points"
    assert drop in found.summary
    assert f"{100 * parts.y_given_x_part:.1f} points" in found.summary
    assert "through Y at equal X" in found.summary
    assert "estimates" not in found.summary


def test_a_gain_is_told_as_a_gain():
    given = _data(concept=True)
    names = ("scores", "y", "domain")
    turned = given | {f"source_{n}": given[f"target_{n}"] for n in names}
    turned |= {f"target_{n}": given[f"source_{n}"] for n in names}
    found = assess_performance(**turned)
    assert found.target > found.source
    assert found.decomposition.total < 0
    assert f"rises by {-100 * found.decomposition.total:.1f} points" in found.summary


def test_unknown_labels_are_never_read():
    given = _data(concept=True)
    known = np.arange(600) < 300
    rubbish = np.where(known, given["target_y"], -999)
    a = assess_performance(**given | {"target_known": known})
    b = assess_performance(**_data(concept=True) | {"target_known": known, "target_y": rubbish})
    assert a == b
    right = (given["target_scores"].argmax(axis=1) == given["target_y"])[:300]
    assert a.target == pytest.approx(right.mean())


def test_without_labels_the_summary_says_what_cannot_be_seen():
    found = assess_performance(**_data(labels=False))
    assert found.target is None
    assert found.target_interval is None
    assert found.decomposition is None
    assert "concept shift" in found.summary
    assert "wrong by any amount" in found.summary
    low, high = (f(e.estimate for e in found.estimates) for f in (min, max))
    assert f"{low:.1%} to {high:.1%}" in found.summary


def test_unequal_sizes_are_taken_out_of_the_domain_probabilities():
    """With five source rows for each of the target, the raw probabilities are shifted."""
    large, small = _data(n=3000, move=1.0), _data(seed=3, n=600, move=1.0, labels=False)
    odds = 600 / 3000
    unbalanced = {
        f"{side}_domain": odds * d[f"{side}_domain"] / (1 - d[f"{side}_domain"] * (1 - odds))
        for side, d in (("source", large), ("target", small))
    }
    from_target = {k: v for k, v in small.items() if k.startswith("target")}
    found = assess_performance(**large | from_target | unbalanced)
    truth = (large["target_scores"].argmax(axis=1) == large["target_y"]).mean()
    assert truth - found.source > 0.03
    assert found.estimates[0].estimate == pytest.approx(truth, abs=0.03)


def test_a_warning_names_the_finding_that_contradicts_the_assumption():
    def warned(**findings):
        found = assess_performance(**_data() | {"findings": findings})
        return {e.method: e.warning for e in found.estimates}

    def one(question, status="differs", **details):
        return {question: _finding(question, status, **details)}

    assert not any(warned().values())
    assert not any(warned(**one("marginal")).values())
    by_label = warned(**one("label_fit"))
    assert "class shares alone" in by_label.pop("label-shift adjusted")
    assert not any(by_label.values())
    by_class = warned(**one("class_conditional"))
    assert "within classes" in by_class.pop("label-shift adjusted")
    assert not any(by_class.values())
    assert all("rare in the source" in w for w in warned(**one("novelty")).values())
    assert all("classes" in w for w in warned(**one("label_space", new=[3])).values())
    assert not any(warned(**one("label_space", new=[], gone=[1])).values())
    concept = one("conditional")
    assert all("Y differs at equal X" in w for w in warned(**concept).values())
    both = warned(**concept, **one("class_conditional"))
    assert all("differs" in w for w in both.values())
    # Label shift moves Y at equal X while X within a class stays: its own estimate stands.
    label = warned(**concept, **one("class_conditional", "no_evidence"))
    assert label.pop("label-shift adjusted") == ""
    assert all("Y differs at equal X" in w for w in label.values())


def test_a_target_far_away_warns_and_is_not_split():
    found = assess_performance(**_data(move=6.0))
    warned = {e.method: e.warning for e in found.estimates}
    assert "effective number" in warned["importance weighting"]
    assert "lies where the source has rows" in warned["average confidence"]
    assert found.decomposition is None
    assert "hardly any X in common" in found.summary
    zeros_and_ones = {"source_domain": np.zeros(600), "target_domain": np.ones(600)}
    for apart in (_data(), _numbers()):
        found = assess_performance(**apart | zeros_and_ones)
        assert found.decomposition is None
        # nothing to weight: that estimate is left out, the others stay
        assert [e.method for e in found.estimates] == (
            METHODS[1:] if apart["task"] == "classification" else []
        )


def test_classes_that_the_model_does_not_know_are_always_wrong():
    given = _data()
    given["target_y"] = np.where(np.arange(600) % 5 == 0, 2, given["target_y"])
    right = given["target_scores"].argmax(axis=1) == given["target_y"]
    assert assess_performance(**given).target == pytest.approx(right.mean())
    given["source_y"] = np.full(600, 9)
    assert assess_performance(**given).source == 0.0


def test_numbers_are_scored_by_the_squared_error_in_units_of_the_variance():
    given = _numbers(concept=True)
    given["target_y"] = given["target_y"] + 1.0
    found = assess_performance(**given)
    assert found.metric == "squared error"
    variance = given["source_y"].var()
    error = np.square(given["target_scores"][:, 0] - given["target_y"]).mean()
    assert found.target == pytest.approx(error / variance)
    assert [e.method for e in found.estimates] == ["importance weighting"]
    assert found.estimates[0].estimate == pytest.approx(found.source, abs=0.05)
    # A change by one at every X adds one to the squared error, all of it at equal X.
    assert found.decomposition.y_given_x_part == pytest.approx(1 / variance, abs=0.25)
    assert found.decomposition.y_given_x_interval[0] > 0
    assert "source's variance" in found.summary
    assert "It rises by" in found.summary
    scaled = {k: 10 * given[k] for k in given if k.endswith(("scores", "_y"))}
    again = assess_performance(**given | scaled | {"rng": np.random.default_rng(1)})
    assert again.source == pytest.approx(found.source)


@pytest.mark.parametrize("make", [_data, _numbers])
@pytest.mark.parametrize("n_target", [0, 1, 5])
@pytest.mark.parametrize("labels", [False, True])
def test_a_tiny_target_gives_no_estimates_and_no_error(make, n_target, labels):
    given = make(labels=labels)
    given |= {k: v[:n_target] for k, v in given.items() if k.startswith("target")}
    found = assess_performance(**given)
    assert found.estimates == ()
    assert found.decomposition is None
    assert (found.target is None) == (n_target == 0 or not labels)
    assert 0 <= found.source <= 1
    if n_target and labels:
        low, high = found.target_interval
        assert low <= found.target <= high
        assert f"the target has {n_target} labelled" in found.summary


def test_one_class_and_an_empty_source_give_no_error():
    given = _data()
    ones = {"source_scores": np.ones((600, 1)), "target_scores": np.ones((600, 1))}
    found = assess_performance(**given | ones | {"source_y": np.zeros(600, int)})
    assert found.source == 1.0
    assert found.estimates == ()
    constant = assess_performance(**given | {"source_y": np.zeros(600, int)})
    assert len(constant.estimates) == 5
    nothing = {k: v[:0] for k, v in given.items() if k.startswith("source")}
    assert np.isnan(assess_performance(**given | nothing).source)


# ------------------------------------------------------------- the generators of the verdicts


def _assess(kind, seed, learner):
    """Train on one half of either side, assess on the other."""
    rng = np.random.default_rng(1000 + seed)
    sides = []
    for X, y in pair(kind, seed, n=2000):
        order = rng.permutation(len(y))  # some generators sort by class
        sides.append([(X[rows], y[rows]) for rows in np.split(order, 2)])
    (learn_s, test_s), (learn_t, test_t) = sides
    model = LogisticRegression().fit(*learn_s)
    is_target = np.repeat([False, True], [len(learn_s[1]), len(learn_t[1])])
    domain = learner(seed).fit(np.vstack([learn_s[0], learn_t[0]]), is_target)
    return assess_performance(
        task="classification",
        source_scores=model.predict_proba(test_s[0]),
        source_y=test_s[1],
        target_scores=model.predict_proba(test_t[0]),
        target_y=test_t[1],
        target_known=np.ones(len(test_t[1]), dtype=bool),
        source_domain=domain.predict_proba(test_s[0])[:, 1],
        target_domain=domain.predict_proba(test_t[0])[:, 1],
        findings={},
        rng=rng,
    )


def _errors(results):
    """Mean absolute error of every estimate, in points."""
    return {
        name: 100 * np.mean([abs(r.estimates[i].estimate - r.target) for r in results])
        for i, name in enumerate(METHODS)
    }


def test_concept_shift_is_missed_by_every_estimate_and_found_by_the_split():
    results = [_assess("concept", seed, lambda _: LogisticRegression()) for seed in range(3)]
    assert min(_errors(results).values()) > 14
    for r in results:
        assert r.decomposition.y_given_x_part == pytest.approx(r.decomposition.total, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["none", "covariate", "label", "concept"])
def test_estimates_hold_where_their_assumption_does_and_the_split_finds_the_cause(kind):
    results = [
        _assess(kind, seed, lambda s: BlendedClassifier(random_state=s)) for seed in range(12)
    ]
    errors = _errors(results)
    if kind == "concept":
        assert min(errors.values()) > 14
        for r in results:
            assert r.decomposition.y_given_x_part == pytest.approx(r.decomposition.total, abs=0.03)
    else:
        assert max(errors.values()) < 3, errors
        covered = [r.decomposition.y_given_x_interval for r in results]
        # Under label shift Y at equal X does move, a little.
        assert np.mean([low <= 0 <= high for low, high in covered]) >= 0.75
