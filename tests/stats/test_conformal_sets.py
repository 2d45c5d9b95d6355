"""Sets of equal weights are those of split conformal prediction, also where its rank is whole."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest

from shiftlab.stats.conformal import conformal_radius, conformal_sets


@pytest.mark.parametrize("weight", [1.0, 0.1, 1 / 3, 7.0])
@pytest.mark.parametrize(("n", "alpha"), [(9, "1/5"), (99, "1/10"), (19, "1/20"), (50, "1/10")])
def test_the_largest_score_of_a_set_is_the_order_statistic_of_the_textbook(n, alpha, weight):
    scores = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    rank = ceil((n + 1) * (1 - Fraction(alpha)))
    candidates = np.arange(0.5, n + 1.5, 0.5)
    weights, level = np.full(n, weight), float(Fraction(alpha))
    told = conformal_sets(scores, weights, [candidates], [weight], level)[0]
    assert told.tolist() == (candidates <= rank).tolist()
    assert conformal_radius(scores, weights, [weight], level).tolist() == [rank]


def test_coverage_of_a_whole_rank_is_exact_and_not_one_row_more():
    """Of 10 exchangeable rows the last is in the set of 80% in 8 cases of 10."""
    rng = np.random.default_rng(0)
    draws = rng.random((4000, 10))
    held = [conformal_sets(row[:9], np.ones(9), [[row[9]]], [1.0], 0.2)[0, 0] for row in draws]
    assert np.mean(held) == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / 4000))
