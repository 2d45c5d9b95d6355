"""The search: scikit-learn's semantics, no NaN that wins, budget, halving and resuming."""

import time

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LinearRegression, LogisticRegression

from shiftlab import (
    CORAL,
    AdaptationSearch,
    Domain,
    FeatureAugmentation,
    ImportanceWeightedScore,
    InfoMax,
    LocationScale,
    Oracle,
    SourceScore,
    make_pipeline,
    validation_scores,
)
from shiftlab.data.gaussian_shifts import make_gaussian_shift
from shiftlab.selection.search import _shares
from shiftlab.selection.validators.base import Validator
from shiftlab.store import ResultsStore


@pytest.fixture
def moved():
    source, target = make_gaussian_shift("location_scale", random_state=0)
    return source, target


def candidates():
    lr = LogisticRegression()
    return {
        "source only": lr,
        "CORAL": (CORAL(lr), {"center": [False, True]}),
        "LocationScale": LocationScale(lr, random_state=0),
    }


def test_the_best_of_an_oracle_is_the_best(moved):
    source, target = moved
    search = AdaptationSearch(candidates(), Oracle(target_labels=target.y), random_state=0)
    search.fit(source, target.unlabelled())
    truth = [
        m.fit(source, target.unlabelled()).score(target.X, target.y)
        for m in (
            make_pipeline(LogisticRegression()),
            CORAL(LogisticRegression(), center=False),
            CORAL(LogisticRegression(), center=True),
            LocationScale(LogisticRegression(), random_state=0),
        )
    ]
    results = search.cv_results_
    assert results["candidate"] == ["source only", "CORAL", "CORAL", "LocationScale"]
    assert results["params"] == [{}, {"center": False}, {"center": True}, {}]
    assert results["mean_test_score"] == pytest.approx(truth, abs=0.03)
    assert results["rank_test_score"][search.best_index_] == 1
    assert search.best_candidate_ in ("LocationScale", "CORAL")
    # the best is fitted to all rows, and the search is that model
    assert search.score(target.X, target.y) == pytest.approx(truth[search.best_index_])
    again = clone(search).fit(source, target.unlabelled())
    assert np.array_equal(again.predict_proba(target.X), search.predict_proba(target.X))
    assert search.source_.n_rows == source.n_rows
    assert list(search.classes_) == [0, 1]


def test_scores_are_those_of_one_look(moved):
    source, target = moved
    search = AdaptationSearch(candidates(), InfoMax(), cv=4, random_state=0).fit(source, target)
    splits = np.array([search.cv_results_[f"split{k}_test_score"][0] for k in range(4)])
    assert search.cv_results_["mean_test_score"][0] == pytest.approx(splits.mean())
    assert search.cv_results_["std_test_score"][0] == pytest.approx(splits.std())
    seed = int(np.random.RandomState(0).randint(2**31 - 1))
    look = validation_scores(
        LogisticRegression(), source, target, InfoMax(), cv=4, random_state=seed
    )
    assert splits == pytest.approx(look)
    parallel = AdaptationSearch(candidates(), InfoMax(), cv=4, n_jobs=2, random_state=0)
    parallel.fit(source, target)
    assert np.array_equal(
        parallel.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"]
    )


def test_a_dask_cluster_gives_the_same_search(moved):
    distributed = pytest.importorskip("distributed")
    source, target = moved
    search = AdaptationSearch(candidates(), InfoMax(), cv=3, n_jobs=2, random_state=0)
    alone = clone(search).fit(source, target)
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as client, joblib.parallel_config("dask"):
        tasks = distributed.get_task_stream(client)
        with tasks:
            search.fit(source, target)
    assert len({task["worker"] for task in tasks.data}) == 2  # both did folds
    assert np.array_equal(
        search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
    )
    assert search.best_candidate_ == alone.best_candidate_


def test_a_plain_estimator_keeps_the_names_of_its_parameters(moved):
    source, target = moved
    given = {"source only": (LogisticRegression(), {"C": [1e-6, 1.0]})}
    search = AdaptationSearch(given, SourceScore(), random_state=0).fit(source, target)
    assert search.best_params_ == {"C": 1.0}
    alone = LogisticRegression().fit(source.X, source.y)
    assert np.array_equal(search.predict_proba(target.X), alone.predict_proba(target.X))


def test_a_tie_goes_to_the_first(moved):
    source, target = moved
    lr = LogisticRegression()
    search = AdaptationSearch({"a": lr, "b": lr}, SourceScore(), random_state=0).fit(source, target)
    assert search.best_candidate_ == "a"
    assert search.cv_results_["rank_test_score"].tolist() == [1, 2]


class _NanForCoral(Validator):
    needs = frozenset()

    def _score(self, trial):
        return float("nan") if trial.name == "CORAL" else 0.0


def test_nan_raises_and_never_wins(moved):
    source, target = moved
    with pytest.raises(ValueError, match="nan for candidate 'CORAL'"):
        AdaptationSearch(candidates(), _NanForCoral(), random_state=0).fit(source, target)


class _Broken(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        raise ValueError("no such luck")

    def predict(self, X):
        return np.zeros(len(X))


def test_a_failed_fit_is_left_out_and_named(moved):
    source, target = moved
    given = {"broken": _Broken(), "source only": LogisticRegression()}
    search = AdaptationSearch(given, SourceScore(), random_state=0)
    with pytest.warns(UserWarning, match="1 of 2 candidates failed .* broken : ValueError: no suc"):
        search.fit(source, target)
    assert search.best_candidate_ == "source only"
    assert search.cv_results_["status"] == ["failed", "scored"]
    assert search.cv_results_["rank_test_score"].tolist() == [0, 1]
    assert np.isnan(search.cv_results_["mean_test_score"][0])
    with pytest.raises(ValueError, match=r"every candidate .* failed: broken"):
        AdaptationSearch({"broken": _Broken()}, SourceScore()).fit(source, target)


def test_hidden_target_labels_reach_no_candidate(moved):
    source, target = moved
    found = []
    for labels in (target.y, 1 - target.y):
        search = AdaptationSearch(candidates(), ImportanceWeightedScore(), random_state=0)
        search.fit(source, Domain(target.X, labels))
        found.append(search.cv_results_["mean_test_score"])
    assert np.array_equal(*found)


def test_known_target_labels_reach_those_that_learn_from_them(moved):
    source, target = moved
    known = np.arange(target.n_rows) < 50
    labelled = Domain(target.X, target.y, labelled=known)
    given = {"source only": LogisticRegression(), "FA": FeatureAugmentation(LogisticRegression())}
    search = AdaptationSearch(given, Oracle(target_labels=target.y), random_state=0)
    search.fit(source, labelled)
    alone = FeatureAugmentation(LogisticRegression()).fit(source, labelled)
    assert search.best_candidate_ == "FA"
    assert np.array_equal(search.predict(target.X), alone.predict(target.X))


class _Slow(ClassifierMixin, BaseEstimator):
    def __init__(self, seconds=0.1):
        self.seconds = seconds

    def fit(self, X, y):
        time.sleep(self.seconds)
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)


def test_a_budget_ends_the_search_with_an_answer(moved):
    source, target = moved
    given = {"slow": (make_pipeline(_Slow()), {"_slow__seconds": [0.1] * 100})}
    start = time.perf_counter()
    search = AdaptationSearch(given, SourceScore(), budget=2.0, random_state=0).fit(source, target)
    assert time.perf_counter() - start < 5  # all of it would take half a minute
    status = search.cv_results_["status"]
    assert status[0] == "scored"
    assert status[-1] == "not reached"
    assert np.isnan(search.cv_results_["mean_test_score"][-1])
    assert search.predict(target.X).shape == (target.n_rows,)
    # even where the time is over at once, the first candidate is an answer
    short = AdaptationSearch(given, SourceScore(), budget=1e-9, random_state=0).fit(source, target)
    assert short.cv_results_["status"][:2] == ["scored", "not reached"]


def test_halving_leaves_each_round_its_part_of_the_budget(moved):
    source, target = moved
    given = {"slow": (_Slow(), {"seconds": [0.02] * 100})}
    search = AdaptationSearch(given, SourceScore(), halving=10, budget=4.0, random_state=0)
    start = time.perf_counter()
    search.fit(source, target)
    assert time.perf_counter() - start < 6
    # the first of two rounds would take six seconds; it is cut, and the second has its own two
    counts = {s: search.cv_results_["status"].count(s) for s in ("scored", "dropped")}
    assert counts["dropped"] > 0
    assert counts["scored"] > 1


class _Counted(LogisticRegression):
    fits = 0
    stop_after = np.inf

    def fit(self, X, y, sample_weight=None):
        if _Counted.fits >= _Counted.stop_after:
            raise KeyboardInterrupt
        _Counted.fits += 1
        return super().fit(X, y, sample_weight)


def test_a_stopped_search_goes_on_where_it_was(moved, tmp_path):
    source, target = moved
    path = tmp_path / "runs" / "search.jsonl"
    given = {"a": _Counted(), "b": (make_pipeline(_Counted()), {"_counted__C": [0.01, 0.1]})}
    search = AdaptationSearch(given, InfoMax(), cv=3, resume=path, random_state=0)
    _Counted.fits, _Counted.stop_after = 0, 5
    with pytest.raises(KeyboardInterrupt):
        search.fit(source, target)
    finished = len(ResultsStore(path).rows())
    assert finished >= 3
    with path.open("ab") as file:
        file.write(b'{"key": "torn')  # as a kill in the middle of a line leaves it
    _Counted.fits, _Counted.stop_after = 0, np.inf
    search.fit(source, target)
    assert _Counted.fits == 9 - finished + 1  # and the last fit
    whole = AdaptationSearch(given, InfoMax(), cv=3, random_state=0).fit(source, target)
    assert np.array_equal(
        whole.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"]
    )
    # other rows are another search
    _Counted.fits = 0
    search.fit(source.take(np.arange(300)), target)
    assert _Counted.fits == 10
    with pytest.raises(ValueError, match="resume needs a random_state"):
        AdaptationSearch(given, InfoMax(), resume=path).fit(source, target)


@pytest.mark.parametrize(
    ("n_candidates", "factor", "rows", "columns", "shares"),
    [
        (200, 3, 5000, 2, [1 / 81, 1 / 27, 1 / 9, 1 / 3, 1]),
        (200, 3, 5000, 50, [0.05, 1 / 9, 1 / 3, 1]),  # five rows a column: two rounds are one
        (200, 3, 5000, 900, [1667 / 5000, 1]),
        (3, 3, 5000, 2, [1]),
        (1, 3, 5000, 2, [1]),
        (100, 10, 40, 2, [1]),  # hardly any rows at all
    ],
)
def test_rounds_of_halving_have_rows_enough_and_differ(n_candidates, factor, rows, columns, shares):
    found = _shares(n_candidates, factor, Domain(np.zeros((rows, columns))))
    assert found == pytest.approx(shares)


def test_halving_keeps_the_best_and_uses_fewer_rows(moved):
    source, target = moved
    grid = {"logisticregression__C": [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0]}
    given = {"C": (make_pipeline(LogisticRegression()), grid)}
    few = AdaptationSearch(given, SourceScore(), halving=3, random_state=0).fit(source, target)
    status = np.array(few.cv_results_["status"])
    assert (status == "scored").sum() == 3
    assert (status == "dropped").sum() == 6
    rows = few.cv_results_["n_source_rows"]
    assert (rows[status == "scored"] == 500).all()
    assert (rows[status == "dropped"] < 200).all()
    assert (few.cv_results_["rank_test_score"][status == "dropped"] == 0).all()
    assert few.best_params_["logisticregression__C"] >= 0.01


def test_it_goes_into_scikit_learn(moved):
    from sklearn.model_selection import cross_val_score

    source, target = moved
    search = AdaptationSearch(candidates(), InfoMax(), random_state=0)
    scores = cross_val_score(search.against(target.X), source.X, source.y, cv=3)
    assert scores.shape == (3,)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, ValueError, "candidates is empty"),
        ("CORAL", TypeError, "candidates must be a mapping or a sequence"),
        ([CORAL()], TypeError, "candidate 'CORAL' predicts nothing"),
        ([LogisticRegression(), LinearRegression()], ValueError, "all be classifiers"),
        ({"a": (LogisticRegression(), {"D": [1]})}, ValueError, "Invalid parameter"),
    ],
)
def test_candidates_that_cannot_be_tried_are_refused(moved, given, error, message):
    source, target = moved
    with pytest.raises(error, match=message):
        AdaptationSearch(given, SourceScore()).fit(source, target)
