import pytest

from shiftlab import (
    CORAL,
    CorrelationMap,
    FineTune,
    PriorCorrection,
    SchemaAlignment,
    TrAdaBoost,
    list_adapters,
)
from shiftlab.registry import ADAPTERS, adapter_table


def test_all_are_listed_in_order():
    assert [adapter.__name__ for adapter in list_adapters()] == list(ADAPTERS)


def test_by_what_they_handle():
    assert list_adapters(handles="feature_space")[0] is SchemaAlignment
    assert CorrelationMap in list_adapters(handles="feature_space")
    assert CORAL in list_adapters(handles="marginal")
    assert CORAL not in list_adapters(handles="conditional")


def test_by_what_they_need():
    assert {FineTune, TrAdaBoost} <= set(list_adapters(needs="target_labels"))
    assert CORAL not in list_adapters(needs="target_labels")
    assert PriorCorrection in list_adapters(needs=["source_labels", "classes"])
    assert CORAL not in list_adapters(needs="source_labels")
    assert CorrelationMap in list_adapters(needs="paired_rows")
    assert CORAL not in list_adapters(needs="paired_rows")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"handles": "covariate"}, r"handles must be one of feature_space.*got 'covariate'"),
        ({"needs": "gpu"}, r"needs must be among source_labels.*got \['gpu'\]"),
    ],
)
def test_words_that_are_none_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        list_adapters(**arguments)


def test_the_table_has_a_row_of_five_cells_for_each():
    lines = adapter_table().splitlines()
    assert len(lines) == 2 + len(ADAPTERS)
    for line in lines:
        # A bar inside a cell, as in P(Y|X), is escaped.
        assert line.replace("\\|", "").count("|") == 6
