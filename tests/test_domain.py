import copy

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_array_equal
from sklearn.datasets import load_iris
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from shiftlab import Domain

X = np.arange(12.0).reshape(6, 2)


@pytest.mark.parametrize(
    "y",
    [
        ["b", "a", "b", "a", "b", "a"],
        np.array([-1, 1, -1, 1, -1, 1]),
        [True, False] * 3,
        [0.0, 1.0] * 3,
        np.array(["cat", "dog"] * 3, dtype=object),
    ],
)
def test_every_kind_of_class_label_is_kept(y):
    domain = Domain(X, y)
    assert domain.n_labelled == 6
    assert_array_equal(domain.y, np.asarray(y))
    assert_array_equal(domain.label_set(), np.unique(np.asarray(y)))


def test_minus_one_is_a_class_and_not_a_missing_label():
    domain = Domain(X, [-1, 1, -1, 1, -1, 1], labelled=[True, True, True, True, True, False])
    assert domain.n_labelled == 5
    assert domain.label_set().tolist() == [-1, 1]


def test_nothing_is_copied_that_need_not_be():
    y = np.array([0, 1, 0, 1, 0, 1])
    domain = Domain(X, y)
    assert domain.X is X
    assert domain.y is y
    assert domain.unlabelled().X is X
    assert domain.with_(name="other").X is X
    assert copy.deepcopy(domain) is domain
    sparse = sp.csr_matrix(X)
    assert Domain(sparse).X is sparse
    frame = pd.DataFrame(X, columns=["a", "b"])
    assert Domain(frame).X is frame


def test_float32_survives():
    assert Domain(X.astype(np.float32)).X.dtype == np.float32


def test_a_domain_is_frozen():
    with pytest.raises(AttributeError):
        Domain(X).X = X  # type: ignore[misc]


def test_masked_hides_what_is_not_labelled():
    mask = np.array([False, True, True, False, True, False])
    y = np.array(list("abcdef"))
    masked = Domain(X, y, labelled=mask).masked()
    assert masked.y.tolist() == ["b", "b", "c", "b", "e", "b"]
    assert y.tolist() == list("abcdef")
    assert Domain(X, y, labelled=np.zeros(6, bool)).masked().y is None


def test_unlabelled_and_labelled_part():
    mask = np.array([False, True, True, False, True, False])
    domain = Domain(X, list("abcdef"), labelled=mask, weight=np.arange(6.0), group=np.arange(6))
    assert domain.unlabelled().y is None
    assert domain.unlabelled().n_labelled == 0
    part = domain.labelled_part()
    assert part.y.tolist() == ["b", "c", "e"]
    assert part.weight.tolist() == [1, 2, 4]
    assert part.group.tolist() == [1, 2, 4]


@pytest.mark.parametrize("kind", ["array", "csr", "pandas", "polars", "images"])
def test_take_and_split_pick_the_same_rows_of_every_field(kind):
    n = 40
    values = np.arange(2.0 * n).reshape(n, 2)
    made = {
        "array": lambda: values,
        "csr": lambda: sp.csr_matrix(values),
        "pandas": lambda: pd.DataFrame(values, columns=["a", "b"], index=range(100, 100 + n)),
        "polars": lambda: pl.DataFrame(values, schema=["a", "b"]),
        "images": lambda: np.arange(n * 4, dtype=np.uint8).reshape(n, 2, 2),
    }[kind]()

    def first_value(domain):
        rows = domain.X
        if domain.is_frame:
            return np.asarray(rows["a"])
        if domain.is_sparse:
            rows = rows.toarray()
        return rows.reshape(len(rows), -1)[:, 0]

    whole = Domain(made, np.arange(n) % 2, weight=np.arange(1.0, n + 1))
    step = 4 if kind == "images" else 2
    assert_array_equal(first_value(whole.take([3, 0])), [3 * step, 0])
    assert whole.take([]).shape == (0, *whole.shape[1:])
    a, b = whole.split(test_size=0.25, random_state=0)
    assert (a.n_rows, b.n_rows) == (30, 10)
    for part in (a, b):
        assert_array_equal(first_value(part) / step + 1, part.weight)
        assert part.y.mean() == 0.5
    assert sorted(np.concatenate([a.weight, b.weight])) == list(range(1, n + 1))


def test_split_is_the_same_for_the_same_seed():
    domain = Domain(X, [0, 1] * 3)
    first, second = (domain.split(2, random_state=3)[1].X for _ in range(2))
    assert_array_equal(first, second)


@pytest.mark.parametrize("library", [pd, pl])
def test_label_column_of_a_frame_with_unknown_labels(library):
    frame = library.DataFrame({"a": [1, 2, 3], "y": ["u", None, "v"], "b": [4.0, 5.0, 6.0]})
    domain = Domain.of(frame, label="y", name="shop")
    assert domain.feature_names == ("a", "b")
    assert domain.labelled.tolist() == [True, False, True]
    assert domain.label_set().tolist() == ["u", "v"]
    assert domain.name == "shop"


def test_integer_labels_of_a_frame_stay_integers_beside_unknown_ones():
    domain = Domain.of(pd.DataFrame({"a": [1, 2, 3], "y": [1, None, 2]}), label="y")
    assert domain.label_set().dtype.kind == "i"
    assert domain.label_set().tolist() == [1, 2]


def test_of_reads_what_a_user_has_at_hand():
    assert Domain.of((X, [0, 1] * 3)).n_labelled == 6
    assert Domain.of(X.tolist()).shape == (6, 2)
    assert Domain.of(torch.tensor(X)).shape == (6, 2)
    assert Domain.of(load_iris()).feature_names[0] == "sepal length (cm)"
    domain = Domain(X)
    assert Domain.of(domain) is domain
    assert Domain.of(domain, name="a").name == "a"


def test_of_reads_torch_datasets():
    tensors = TensorDataset(torch.tensor(X), torch.tensor([0, 1] * 3))
    domain = Domain.of(tensors)
    assert_array_equal(domain.X, X)
    assert domain.y.tolist() == [0, 1] * 3

    class Pictures(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return torch.full((3, 2, 2), i / 255), "label"

    pictures = Domain.of(Pictures())
    assert pictures.shape == (4, 2, 2, 3)
    assert pictures.X.dtype == np.uint8
    assert pictures.X[:, 0, 0, 0].tolist() == [0, 1, 2, 3]

    class Endless(IterableDataset):
        def __iter__(self):
            yield torch.zeros(2)

    with pytest.raises(TypeError, match="map-style"):
        Domain.of(Endless())


def test_concat_remembers_the_source_of_each_row():
    a = Domain(X[:2], ["u", "v"], name="a")
    b = Domain(X[2:5], weight=[1, 2, 3], name="b")
    both = Domain.concat([a, b])
    assert_array_equal(both.X, X[:5])
    assert both.group.tolist() == ["a", "a", "b", "b", "b"]
    assert both.labelled.tolist() == [True, True, False, False, False]
    assert both.weight.tolist() == [1, 1, 1, 2, 3]
    assert both.name == "a+b"
    unnamed = Domain.concat([Domain(X), Domain(X)])
    assert unnamed.group.tolist() == [0] * 6 + [1] * 6


def test_classes_can_be_larger_than_what_was_seen():
    domain = Domain(X, [0, 1] * 3, classes=[2, 1, 0])
    assert domain.label_set().tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"classes does not list: \[1\]"):
        Domain(X, [0, 1] * 3, classes=[0, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": None}, "X is None"),
        ({"X": np.arange(3.0)}, "Reshape your data"),
        ({"X": [["a", "b"]]}, "must hold numbers"),
        ({"X": np.zeros((2, 4, 4))}, "must be uint8"),
        ({"X": np.zeros((2, 3, 8, 8), np.uint8)}, "channels last"),
        ({"X": X, "y": [0, 1]}, "y has 2 values for 6 rows"),
        ({"X": X, "y": [0, 1, np.nan, 0, 1, 0]}, "mark missing labels with labelled="),
        ({"X": X, "y": ["a", None, "b", "a", "a", "b"]}, "y has 1 missing"),
        ({"X": X, "y": np.zeros((6, 2))}, "one value a row"),
        ({"X": X, "labelled": np.ones(6, bool)}, "y is None"),
        ({"X": X, "y": range(6), "labelled": np.ones(6)}, "bool array"),
        ({"X": X, "weight": -np.ones(6)}, "not negative"),
        ({"X": X, "weight": np.zeros(6)}, "zero for every row"),
        ({"X": X, "weight": ["a"] * 6}, "numbers"),
        ({"X": X, "feature_names": ["a"]}, "feature_names has 1 names"),
        ({"X": X, "feature_names": ["a", "a"]}, "more than once"),
        ({"X": pd.DataFrame(X, columns=["a", "a"])}, "more than one column named 'a'"),
    ],
)
def test_bad_input_gets_one_clear_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        Domain(**arguments)


def test_bad_input_of_the_readers():
    with pytest.raises(ValueError, match="is not a column; the columns are"):
        Domain.of(pd.DataFrame(X, columns=["a", "b"]), label="c")
    with pytest.raises(ValueError, match="needs a data frame"):
        Domain.of(X, label="c")
    with pytest.raises(TypeError, match="2 parts"):
        Domain.of((X, X, X))
    with pytest.raises(TypeError, match="already a Domain"):
        Domain(Domain(X))
    with pytest.raises(ValueError, match="at least one domain"):
        Domain.concat([])
    with pytest.raises(ValueError, match="must have the same columns"):
        Domain.concat([Domain(X), Domain(X[:, :1])])


def test_repr_says_what_it_is():
    assert repr(Domain(X, name="shop")) == "Domain('shop', 6x2 rows, 0 labelled)"
