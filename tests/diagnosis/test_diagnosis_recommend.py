"""What is recommended runs as it is printed, and follows the size of what was found."""

from dataclasses import replace

import numpy as np
import pytest

from shiftlab import diagnose, make_shift
from shiftlab.diagnosis.recommend import recommend
from shiftlab.diagnosis.situation import Situation

PLAIN = Situation("covariate", False, False, "classification", "dense", 500, 0)


@pytest.mark.parametrize("kind", ["covariate", "label", "general", "feature_space"])
@pytest.mark.parametrize("with_labels", [True, False])
def test_every_line_runs_on_a_table_with_categories_and_gaps(kind, with_labels):
    pytest.importorskip("pandas")
    source, target = make_shift(
        kind, family="mixed", n_source=400, n_target=400, missing=0.05, random_state=1
    )
    target = target if with_labels else target.unlabelled()
    diagnosis = diagnose(source, target, random_state=0, explain=False)
    methods = []
    for advice in diagnosis.recommend():
        names = {"source": source, "target": target}
        exec(advice.code, names)
        methods.append(advice.method)
        if "adapted" in names and kind != "feature_space":
            assert names["adapted"].predict(target.X).shape == (400,)
        if "model" in names:
            assert names["model"].predict(target.X).shape == (400,)
    assert "Do nothing" in methods
    assert len(methods) > 1


def test_numbers_with_gaps_are_filled_before_a_method_that_needs_them():
    source, target = make_shift(
        "covariate", n_source=300, n_target=300, missing=0.1, random_state=2
    )
    first = diagnose(source, target.unlabelled(), random_state=0, explain=False).recommend()[0]
    assert "SimpleImputer()" in first.code
    names = {"source": source, "target": target.unlabelled()}
    exec(first.code, names)
    assert set(names["adapted"].predict(np.nan_to_num(target.X))) <= {0, 1, 2}


def test_weights_come_last_where_they_leave_few_rows_and_the_reason_says_so():
    usual = [r.method for r in recommend(PLAIN)]
    assert usual.index("ClassifierWeighting") < usual.index("CORAL")
    few = recommend(replace(PLAIN, effective_share=0.04))
    methods = [r.method for r in few]
    assert methods.index("CORAL") < methods.index("ClassifierWeighting")
    assert "about 4% of the source's rows" in few[methods.index("ClassifierWeighting")].reason


def test_a_difference_too_small_to_matter_asks_for_nothing_first():
    first = recommend(replace(PLAIN, negligible=True))[0]
    assert first.method == "Do nothing"
    assert "smaller than what usually matters" in first.reason
    assert recommend(PLAIN)[0].method != "Do nothing"
