"""Real digits and reviews of which the difference is known; skipped where they are absent."""

import numpy as np
import pytest
import scipy.sparse as sp

from shiftlab import Domain
from shiftlab.data import load_digits5
from shiftlab.diagnosis import diagnose

pytestmark = pytest.mark.data
SHARES = np.array([20, 20, 15, 15, 10, 5, 5, 4, 3, 3]) / 100


@pytest.fixture(scope="module")
def mnist(real_data):
    return load_digits5("mnist", source="local", root=real_data, exclude_shared=False)


def _some(domain, n, seed):
    return domain.take(np.random.default_rng(seed).permutation(domain.n_rows)[:n])


def _verdict(source, target, **options):
    return diagnose(source, target, random_state=0, explain=False, **options)


def test_mnist_against_itself_has_not_moved(mnist):
    both = _some(mnist, 1600, 0)
    diagnosis = _verdict(both.take(np.arange(800)), both.take(np.arange(800, 1600)))
    assert diagnosis.kind == "none"
    assert not diagnosis.label_space_differs


def test_mnist_with_other_shares_of_the_digits_is_label_shift(mnist):
    rng = np.random.default_rng(0)
    whole = _some(mnist, 8000, 1)
    pool = np.arange(1000, 8000)
    counts = (1000 * SHARES).astype(int)
    rows = [rng.permutation(pool[whole.y[pool] == k])[:c] for k, c in enumerate(counts)]
    diagnosis = _verdict(whole.take(np.arange(1000)), whole.take(np.concatenate(rows)))
    assert diagnosis.kind == "label"


def test_mnist_and_usps_differ_in_x_without_labels(mnist, real_data):
    usps = load_digits5("usps", source="local", root=real_data)
    diagnosis = _verdict(_some(mnist, 800, 0), _some(usps, 800, 0).unlabelled())
    assert diagnosis.findings["marginal"].differs
    assert diagnosis.kind == "not_label"


def test_digits_that_the_source_never_had(mnist):
    whole = _some(mnist, 3000, 2)
    first = whole.take(np.arange(1500))
    diagnosis = _verdict(first.take(first.y < 5), whole.take(np.arange(1500, 2500)))
    assert diagnosis.label_space_differs
    assert diagnosis.findings["label_space"].details["new"] == [5, 6, 7, 8, 9]


def test_reviews_of_books_and_of_kitchen_goods(real_data):
    pair = []
    for topic in ("books", "kitchen"):
        with np.load(real_data / "amazon_reviews" / f"{topic}.npz", allow_pickle=False) as file:
            pair.append(_some(Domain(sp.csr_matrix(file["X"]), file["y"]), 800, 0))
    diagnosis = _verdict(*pair, features="tfidf")
    assert diagnosis.findings["marginal"].differs
    assert not diagnosis.feature_space_differs
    # the data have no vocabulary: the words are columns; the one that moved most is plain to see
    shares = [(d.X > 0).mean(axis=0).A1 for d in pair]
    assert diagnosis.features[0].feature == f"x{np.abs(shares[0] - shares[1]).argmax()}"
    assert diagnosis.features[0].effect > 0.5
