"""Images are aligned as the features of a trained network, which is a step of a pipeline."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

pytest.importorskip("torch")

from shiftlab import CORAL, TCA, Domain, make_pipeline
from shiftlab.deep import train_classifier


def bars(n, background, seed):
    """Upright or lying bars on a background."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, size=n)
    images = rng.integers(0, 40, size=(n, 16, 16)) + background
    for image, label, at in zip(images, y, rng.integers(3, 12, size=n), strict=True):
        if label:
            image[:, at : at + 2] += 120
        else:
            image[at : at + 2, :] += 120
    return Domain(np.clip(images, 0, 255).astype(np.uint8), y)


@pytest.mark.parametrize("aligner", [TCA(n_components=5), CORAL()], ids=["TCA", "CORAL"])
def test_a_trained_network_is_the_first_step(aligner):
    source, target = bars(200, 0, 0), bars(150, 80, 1)
    net = train_classifier(source.X, source.y, epochs=5, random_state=0)
    model = make_pipeline(net, aligner, LogisticRegression()).fit(source, target.unlabelled())
    by_hand = aligner.set_params(estimator=LogisticRegression()).fit(
        (net.features(source.X), source.y), net.features(target.X)
    )
    np.testing.assert_array_equal(model.predict(target.X), by_hand.predict(net.features(target.X)))
    np.testing.assert_array_equal(clone(net).features(target.X), net.features(target.X))
