"""The recommender reads what helped and harmed on known shifts."""

import pytest

from shiftlab import diagnose
from shiftlab.data import make_shift, measured_gains
from shiftlab.data.gains import Gain
from shiftlab.diagnosis.track_record import TrackRecord, track_record


def methods(kind, labelled):
    source, target = make_shift(kind, random_state=0)
    target = target if labelled else target.unlabelled()
    diagnosis = diagnose(source, target, explain=False, random_state=0)
    return diagnosis.kind, diagnosis.recommend()


def test_the_record_is_the_study():
    gains = measured_gains()
    record = track_record("CORAL", "not_label")
    assert record.gains["covariate"] == gains["covariate"]["CORAL"]
    assert record.mean == pytest.approx(
        (gains["covariate"]["CORAL"].points + gains["location_scale"]["CORAL"].points) / 2
    )
    assert f"{gains['location_scale']['CORAL'].points:+.1f} points" in record.sentence


def test_what_transports_the_mean_harms_where_the_mean_may_have_moved_by_itself():
    assert track_record("OptimalTransport", "not_label").harms
    assert track_record("OptimalTransport", "covariate").harms
    assert not track_record("CORAL", "not_label").harms


def test_nothing_measured_is_no_record():
    record = track_record("Unheard", "covariate")
    assert record == TrackRecord({})
    assert (record.mean, record.harms, record.sentence) == (0.0, False, "")


def test_tiny_gains_have_no_sign():
    assert "by 0.0 points" in TrackRecord({"label": Gain(-0.01, 0.1, 20)}).sentence


def test_without_labels_what_may_harm_is_not_advised():
    kind, advice = methods("covariate", labelled=False)
    assert kind == "not_label"
    names = [r.method for r in advice]
    assert names[0] in ("CORAL", "LinearTransport")
    assert "OptimalTransport" not in names
    assert "LocationScale" not in names
    assert "in the study of known shifts" in advice[0].reason


def test_label_shift_is_answered_by_prior_correction_first():
    kind, advice = methods("label", labelled=True)
    assert kind == "label"
    assert advice[0].method == "PriorCorrection"


def test_a_list_of_all_weights_would_say_nothing():
    found, advice = methods("covariate", labelled=True)
    assert found == "covariate"
    names = [r.method for r in advice]
    assert names[0] == "ClassifierWeighting"
    assert len(names) <= 6
