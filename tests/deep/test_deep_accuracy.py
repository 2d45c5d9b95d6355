"""In-domain accuracy of the default training on real digits."""

import numpy as np
import pytest

pytest.importorskip("torch")

from shiftlab.data import load_digits5
from shiftlab.deep import train_classifier

FLOOR = {"mnist": 0.985, "usps": 0.95, "mnist_m": 0.93, "svhn": 0.85}


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("domain", FLOOR)
def test_one_default_setting_reaches_the_floor_in_every_domain(real_data, domain):
    """5,000 training and 2,000 test images in colour, last epoch; a few minutes each."""
    rng = np.random.default_rng(0)
    train, test = (
        load_digits5(domain, split, size=28, channels=3, source="local", root=real_data)
        for split in ("train", "test")
    )
    train = train.take(np.sort(rng.permutation(len(train))[:5000]))
    test = test.take(np.sort(rng.permutation(len(test))[:2000]))
    net = train_classifier(train.X, train.y, device="cpu", random_state=0)
    assert np.mean(net.predict(test.X) == test.y) >= FLOOR[domain]
