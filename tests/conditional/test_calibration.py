"""Calibration maps against planted temperatures and biases."""

import numpy as np
import pytest
from scipy.special import softmax

from shiftlab.stats.calibration import (
    ALL_CALIBRATIONS,
    fit_calibration,
    log_loss,
    select_calibration,
)


def planted(n, temperature, bias, seed=0):
    """True posteriors, labels drawn from them, and the distorted posteriors of a classifier."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n, 3))
    truth = softmax(logits, axis=1)
    codes = (rng.random(n)[:, None] > truth.cumsum(1)).sum(1)
    return truth, codes, softmax(temperature * (logits - bias), axis=1)


def test_planted_map_is_found():
    bias = np.array([0.5, -0.5, 0.0])
    truth, codes, distorted = planted(20_000, 3.0, bias)
    fitted = fit_calibration(distorted, codes, "bias_corrected")
    assert fitted.temperature == pytest.approx(3.0, rel=0.05)
    np.testing.assert_allclose(fitted.bias - fitted.bias.mean(), bias, atol=0.06)
    np.testing.assert_allclose(fitted(distorted), truth, atol=0.03)


def test_bias_corrected_matches_class_shares():
    """The stationary point of the biases, up to the penalty of one row."""
    _, codes, distorted = planted(5_000, 0.5, np.array([1.0, 0.0, -1.0]))
    fitted = fit_calibration(distorted, codes, "bias_corrected")
    np.testing.assert_allclose(
        fitted(distorted).mean(0), np.bincount(codes) / len(codes), atol=1e-3
    )


def test_held_out_loss_chooses():
    folds = np.arange(4_000) % 5
    none = planted(4_000, 1.0, np.zeros(3))
    assert select_calibration(none[2], none[1], folds).temperature == pytest.approx(1, abs=0.1)
    scaled = planted(4_000, 3.0, np.zeros(3))
    assert select_calibration(scaled[2], scaled[1], folds).temperature > 2.5
    biased = planted(4_000, 1.0, np.array([1.5, 0.0, 0.0]))
    assert select_calibration(biased[2], biased[1], folds).method == "bias_corrected"


def test_weights_are_repeated_rows():
    _, codes, distorted = planted(300, 2.0, np.zeros(3))
    repeats = np.random.default_rng(1).integers(0, 3, size=300)
    a = fit_calibration(distorted, codes, "bias_corrected", repeats.astype(float))
    b = fit_calibration(
        np.repeat(distorted, repeats, 0), np.repeat(codes, repeats), "bias_corrected"
    )
    assert a.temperature == pytest.approx(b.temperature, rel=1e-3)
    np.testing.assert_allclose(a.bias, b.bias, atol=1e-3)


@pytest.mark.parametrize("method", ALL_CALIBRATIONS)
def test_certain_and_right_stays_finite(method):
    p = np.eye(2)[[0, 0, 1, 1]]
    fitted = fit_calibration(p, np.array([0, 0, 1, 1]), method)
    result = fitted(p)
    assert np.isfinite(result).all()
    # Four rows are no proof that a curve reaches 0 and 1.
    tolerance = 1 / 6 if method == "isotonic" else 1e-6
    np.testing.assert_allclose(result, p, atol=tolerance + 1e-9)
    assert log_loss(result, np.array([0, 0, 1, 1])) < 1.2 * tolerance


def test_vector_scaling_finds_a_temperature_for_each_class():
    rng = np.random.default_rng(4)
    logits = 1.5 * rng.normal(size=(30_000, 3))
    slopes = np.array([0.5, 1.0, 2.0])
    logs = np.log(softmax(logits, axis=1))
    truth = softmax(slopes * logs, axis=1)
    codes = (rng.random(30_000)[:, None] > truth.cumsum(1)).sum(1)
    fitted = fit_calibration(np.exp(logs), codes, "vector")
    np.testing.assert_allclose(fitted(np.exp(logs)), truth, atol=0.03)
    plain = fit_calibration(np.exp(logs), codes, "temperature")
    assert (
        np.abs(plain(np.exp(logs)) - truth).mean() > 3 * np.abs(fitted(np.exp(logs)) - truth).mean()
    )


def test_isotonic_mends_what_no_temperature_can():
    rng = np.random.default_rng(5)
    truth = rng.random(8_000)
    codes = (rng.random(8_000) < truth).astype(int)
    shown = np.where(truth < 0.5, 0.1 * truth, 0.9 + 0.1 * truth)
    p = np.column_stack([1 - shown, shown])
    chosen = select_calibration(p, codes, np.arange(8_000) % 5, ALL_CALIBRATIONS)
    assert chosen.method == "isotonic"
    result = chosen(p)
    np.testing.assert_allclose(result.sum(1), 1.0)
    assert np.abs(result[:, 1] - truth).mean() < 0.02
    assert (result > 0).all()
