"""Pictures of the Digit-5 page: what is chosen, what is left out, and that the page holds them."""

import numpy as np
import pytest

from shiftlab.experiments import Digit5Settings, run_digit5
from shiftlab.experiments.pictures import pair_to_show, rank_picture, study_pictures
from shiftlab.experiments.report import render_report

PAIRS = (("mnist", "usps"), ("usps", "mnist"), ("mnist", "svhn"))


def rows_of(accuracies, **more):
    """One seed's rows: method -> accuracy of each pair."""
    rng = np.random.default_rng(0)
    rows = []
    for method, values in accuracies.items():
        for (source, target), accuracy in zip(PAIRS, values, strict=False):
            wanted = np.arange(20) % 10
            predicted = np.where(np.arange(20) < round(20 * accuracy), wanted, (wanted + 1) % 10)
            row = {
                "source": source,
                "target": target,
                "method": method,
                "seed": 0,
                "accuracy": accuracy,
                "settings": "s",
                "data": "d",
                "source_stand_in": False,
                "target_stand_in": False,
                "n_test": 20,
                "n_train_target": 20,
                "protocol": {"epochs": 2},
                "versions": {"python": "3"},
                "wanted": "".join(map(str, wanted)),
                "predicted": "".join(map(str, predicted)),
            }
            if method not in ("source-only", "target-supervised"):
                losses = rng.uniform(0.1, 1, size=(2, 3)).tolist()
                row["history"] = {"source_loss": losses[0], "target_share": losses[1]}
            rows.append({**row, **more})
    return rows


TABLE = {
    "source-only": (0.5, 0.6, 0.4),
    "dann": (0.6, 0.9, 0.5),
    "mcc": (0.9, 0.8, 0.9),
    "target-supervised": (1.0, 1.0, 1.0),
}


def test_the_method_that_gained_most_is_shown_where_it_did():
    assert pair_to_show(rows_of(TABLE)) == (("mnist", "svhn"), "mcc")
    assert pair_to_show(rows_of({"source-only": (0.5,), "target-supervised": (1.0,)})) is None
    few = rows_of({**TABLE, "mcc": (0.99,)})  # on one pair only
    assert pair_to_show(few)[1] == "dann"


def test_ranks_need_three_methods_on_two_pairs():
    assert rank_picture(rows_of(TABLE)) is not None
    assert rank_picture(rows_of({**TABLE, "mcc": (0.9,)})) is None
    two = {name: values for name, values in TABLE.items() if name != "mcc"}
    assert rank_picture(rows_of(two)) is None


def test_a_page_holds_all_that_the_results_allow():
    rows = rows_of(TABLE)
    found = study_pictures(rows, None)
    assert [p.title for p in found] == [
        "Which methods differ",
        "Training curves",
        "Confusion matrices",
    ]
    page = render_report(rows, pictures=found)
    for picture in found:
        assert picture.image.startswith("data:image/png;base64,")
        assert page.count(picture.image) == 1
        assert picture.title in page
    bare = [{k: v for k, v in row.items() if k not in ("predicted", "history")} for row in rows]
    assert [p.title for p in study_pictures(bare, None)] == ["Which methods differ"]


def test_a_real_study_shows_features_and_samples(tmp_path):
    pytest.importorskip("torch")
    from functools import partial

    from shiftlab.experiments.illustrate import nets_and_samples

    settings = Digit5Settings(
        pairs="mnist:usps",
        methods=("mcc",),
        seeds=1,
        n_train=64,
        n_test=60,
        epochs=1,
        size=16,
        channels=1,
        source_data="offline",
    )
    rows = run_digit5(settings, out=tmp_path)
    load = partial(nets_and_samples, rows, settings, tmp_path, None)
    nets, samples = load(("mnist", "usps"), "mcc")
    for net, method in zip(nets, ("source-only", "mcc"), strict=True):
        (row,) = [row for row in rows if row["method"] == method]
        predicted = net.predict(samples[1][0])
        assert "".join(map(str, predicted)) == row["predicted"]
        assert np.mean(predicted == samples[1][1]) == row["accuracy"]
    titles = [p.title for p in study_pictures(rows, load)]
    assert titles[-2:] == ["Features before and after", "What adaptation fixed and broke"]
