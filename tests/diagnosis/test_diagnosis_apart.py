"""Times and row numbers: compared by themselves, so that they do not hide everything else."""

import numpy as np
import pytest

from shiftlab import diagnose
from shiftlab.diagnosis.apart import set_apart
from shiftlab.diagnosis.columns import Column


def _column(name, source, target, family="number"):
    return Column(name, "number", np.asarray(source, float), np.asarray(target, float), (), family)


def test_row_numbers_and_times_are_set_apart_and_measurements_are_not():
    n = np.arange(60)
    rng = np.random.default_rng(0)
    columns = [
        _column("id", n, n + 60),
        _column("when", rng.normal(size=60), rng.normal(size=60), "time"),
        _column("size", rng.normal(size=60), rng.normal(size=60)),
        _column("count", rng.poisson(90, 60), rng.poisson(90, 60)),
        _column("sorted measurement", np.sort(rng.normal(size=60)), np.sort(rng.normal(size=60))),
        _column("few", n[:10], n[:10]),
    ]
    kept, apart, note = set_apart(columns)
    assert [c.name for c in apart] == ["id", "when"]
    assert [c.name for c in kept] == ["size", "count", "sorted measurement", "few"]
    assert "'id', 'when'" in note
    assert set_apart(columns[:2]) == (columns[:2], [], "")


@pytest.mark.parametrize("as_text", [True, False])
def test_last_year_and_this_month_have_something_in_common(as_text):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(1)

    def table(n, first, move):
        days = pd.Timestamp(first) + pd.to_timedelta(np.sort(rng.integers(0, 300, n)), unit="D")
        x = rng.normal(move, 1.0, n)
        return pd.DataFrame(
            {
                "date": days.strftime("%Y-%m-%d") if as_text else days,
                "customer": rng.permutation(n),
                "x": x,
                "z": rng.normal(size=n),
                "bought": np.where(x + rng.normal(size=n) > 0, "yes", "no"),
            }
        )

    last, this = table(900, "2023-01-01", 0.0), table(900, "2024-01-01", 0.8)
    found = diagnose(last, this, label="bought", random_state=0)
    assert found.kind == "covariate"
    assert not found.feature_space_differs
    assert found.findings["conditional"].details["common_support"] > 0.8
    date = next(f for f in found.features if f.feature == "date")
    assert date.status == "differs"
    assert "2023" in date.note
    assert "2024" in date.note
    assert any("'date'" in note for note in found.notes)
    for advice in found.recommend():
        exec(advice.code, {"source": last, "target": this})


def test_new_classes_count_as_wrong_and_converted_units_are_said():
    rng = np.random.default_rng(2)
    y = rng.integers(2, size=800)
    X = np.column_stack([50 + 20 * y + rng.normal(0, 4, 800), rng.normal(size=800)])
    t = rng.integers(4, size=800) // 2 + (rng.random(800) < 0.3)  # classes 0, 1 and new 2
    T = np.column_stack([50 + 20 * np.minimum(t, 1) + rng.normal(0, 4, 800), rng.normal(size=800)])
    found = diagnose((X, y), (T, t), random_state=0)
    performance = found.explanation.performance
    known = float((t < 2).mean())
    assert performance.target == pytest.approx(known * performance.source, abs=0.03)
    assert "always wrong" in performance.summary
    scaled = diagnose((X, y), (X * [1000, 1], y), random_state=0)
    assert scaled.feature_space_differs
    assert "'x0' converted to the source's unit" in scaled.explanation.performance.summary


def test_class_shares_are_not_told_where_label_shift_is_refuted():
    rng = np.random.default_rng(3)
    y = rng.integers(2, size=800)
    X = rng.normal(size=(800, 3)) + 2 * y[:, None]
    T = rng.normal(size=(800, 3)) + 2 * rng.integers(2, size=(800, 1))
    T[:, 0] += 1.5
    found = diagnose((X, y), T, random_state=0, explain=False)
    assert found.kind == "not_label"
    assert not found.findings["prior"].testable
    assert "does not explain" in found.findings["prior"].summary


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"model": "logistic"}, TypeError, "model must be a scikit-learn estimator"),
        ({"domain_classifier": 3}, TypeError, "domain_classifier must be"),
    ],
)
def test_models_are_checked_before_any_work(given, error, words):
    X = np.random.default_rng(4).normal(size=(40, 2))
    with pytest.raises(error, match=words):
        diagnose((X, X[:, 0] > 0), X, **given)


def test_models_without_probabilities_and_fitted_ones():
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    X = np.random.default_rng(5).normal(size=(200, 2))
    y = (X[:, 0] > 0).astype(int)
    with pytest.raises(TypeError, match="CalibratedClassifierCV"):
        diagnose((X, y), X, model=SVC(probability=False))
    fitted = LogisticRegression().fit(X, y)
    before = fitted.coef_.copy()
    found = diagnose((X, y), X + 0.1, model=fitted, domain_classifier=LogisticRegression())
    np.testing.assert_array_equal(fitted.coef_, before)
    assert any("trained anew" in note for note in found.notes)


def test_texts_point_to_the_parameter_they_need():
    with pytest.raises(ValueError, match="features='tfidf'"):
        diagnose(["good book", "bad book"], ["good pan", "bad pan"])
