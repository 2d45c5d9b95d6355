"""The target rows least like the source, and the reason given for each."""

import numpy as np
import pytest

from shiftlab.diagnosis.columns import Column
from shiftlab.diagnosis.unlike import find_unlike_rows

N = 1000
RNG = np.random.default_rng(0)
USUAL = {"age": 40.0, "city": 0.0, "income": 50.0, "born": 86400.0 * 500}


def columns(**target):
    """Four columns; the target has one row, usual but for what is given."""
    row = {name: np.array([value]) for name, value in (USUAL | target).items()}
    age = np.linspace(0, 100, N)
    city = np.where(np.arange(N) < 997, np.arange(N) % 2, 2.0)
    income = np.where(np.arange(N) < 10, np.nan, np.linspace(0, 100, N))
    born = 86400.0 * np.arange(N)
    levels = ("Bari", "Rome", "Turin", "Oslo")
    return [
        Column("age", "number", RNG.permutation(age), row["age"]),
        Column("city", "category", city, row["city"], levels, "text"),
        Column("income", "number", income, row["income"]),
        Column("born", "number", born, row["born"], family="time"),
    ]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ({"age": 99.96}, "age = 99.96, above 99.9% of the source"),
        ({"age": 120.0}, "age = 120, above every value of the source"),
        ({"age": -1.0}, "age = -1, below every value of the source"),
        ({"age": 0.55}, "age = 0.55, below 99.4% of the source"),
        ({"city": 3.0}, "city = 'Oslo', never in the source"),
        ({"city": 2.0}, "city = 'Turin', as in 0.3% of the source"),
        ({"income": np.nan}, "income is missing, as in 1% of the source"),
        ({"age": np.nan}, "age is missing, never in the source"),
        ({"born": 86400.0 * 5000}, "born = 1983-09-10, above every value of the source"),
        ({}, "no single column is unusual; the combination of values is"),
        # the further out of two beyond the range
        ({"age": 101.0, "income": 900.0}, "income = 900, above every value of the source"),
        ({"age": np.inf}, "age = inf, above every value of the source"),
    ],
)
def test_reason_names_the_rarest_column(target, reason):
    (found,) = find_unlike_rows(columns(**target), [0], [0.9], [7])
    assert (found.row, found.score, found.reason) == (7, 0.9, reason)


def test_rows_are_ordered_by_probability_cut_at_a_half_and_keep_their_place():
    age = Column("age", "number", np.arange(50.0), np.array([10.0, 20.0, 30.0, 90.0, 80.0]))
    found = find_unlike_rows([age], [4, 3, 1, 0], [0.7, 0.95, 0.5, 0.2], [40, 30, 10, 0])
    assert [(r.row, r.score) for r in found] == [(30, 0.95), (40, 0.7)]
    assert [r.row for r in find_unlike_rows([age], [4, 3], [0.7, 0.95], [40, 30], most=1)] == [30]
    assert find_unlike_rows([age], [], [], []) == ()
    with pytest.raises(ValueError, match="same length, got 1, 2 and 1"):
        find_unlike_rows([age], [0], [0.9, 0.8], [0])


def test_columns_without_a_source_value_and_many_ties():
    nothing = Column("gone", "number", np.full(9, np.nan), np.array([3.0]))
    (found,) = find_unlike_rows([nothing], [0], [0.9], [0])
    assert found.reason == "gone = 3, always missing in the source"
    # the value that most rows have is not rare, however far it is from the others
    zeros = Column("zeros", "number", np.r_[np.zeros(90), 1:11], np.array([0.0]))
    (found,) = find_unlike_rows([zeros], [0], [0.9], [0])
    assert found.reason.startswith("no single column")
    truth = Column(
        "paid", "category", np.zeros(99), np.array([1.0]), ("false", "true"), "truth value"
    )
    (found,) = find_unlike_rows([truth], [0], [0.9], [0])
    assert found.reason == "paid = true, never in the source"
