"""Tables from CSV files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.data.csv import CSV
from src.errors import ConfigError, DataError, UserError

HEADER = "height,colour,legs,name"


def written(folder: Path, text: str, name: str = "table.csv") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def animals(folder: Path, rows: int = 60) -> str:
    """Height (a number), colour (a category), legs (integers) and name (three classes, a half, a third and a sixth)."""
    names = ["cat", "cat", "cat", "dog", "dog", "emu"]
    lines = [f"{0.5 * row},{'red' if row % 3 else 'blue'},{2 + 2 * (row % 2)},{names[row % 6]}" for row in range(rows)]
    return written(folder, "\n".join([HEADER, *lines]) + "\n")


def loaded(path: str, **settings: Any) -> CSV:
    data = CSV(path=path, **settings)
    data.setup("fit")
    return data


def test_numbers_are_standardised_by_the_training_samples_and_categories_are_one_hot(tmp_path: Path):
    data = loaded(animals(tmp_path), target="name", seed=4)
    assert data.feature_names == ("height", "colour=blue", "colour=red", "legs")
    assert (data.input_shape, data.classes, data.class_names) == ((4,), 3, ("cat", "dog", "emu"))
    inputs, labels = data.train_set
    assert (inputs.dtype, labels.dtype) == (torch.float32, torch.int64)
    seen = data.normalize(inputs)
    assert torch.allclose(seen[:, [0, 3]].mean(0), torch.zeros(2), atol=1e-5)
    assert torch.allclose(seen[:, [0, 3]].std(0, correction=0), torch.ones(2), atol=1e-5)
    assert torch.equal(seen[:, 1:3], inputs[:, 1:3])
    assert torch.equal(inputs[:, 1], 1 - inputs[:, 2])
    # Rows stay together: a height gives the row, and so all else.
    rows = (inputs[:, 0] * 2).long()
    assert torch.equal(inputs[:, 3], (2 + 2 * (rows % 2)).float())
    assert torch.equal(labels, torch.tensor([0, 0, 0, 1, 1, 2])[rows % 6])


def test_parts_are_disjoint_stratified_and_chosen_by_the_seed(tmp_path: Path):
    path = animals(tmp_path)

    def parts(seed: int, **settings: Any) -> list[list[float]]:
        data = loaded(path, target="name", seed=seed, **settings)
        for _, labels in (data.train_set, data.val_set, data.test_set):
            counts = torch.bincount(labels, minlength=3).double() / len(labels)
            assert torch.allclose(counts, torch.tensor([3, 2, 1]).double() / 6, atol=0.06)
        return [sorted(inputs[:, 0].tolist()) for inputs, _ in (data.train_set, data.val_set, data.test_set)]

    train, val, test = parts(0, test_size=0.25, val_size=9)
    assert (len(train), len(val), len(test)) == (36, 9, 15)
    assert sorted(train + val + test) == [0.5 * row for row in range(60)]
    assert parts(0, test_size=0.25, val_size=9)[2] == test != parts(1, test_size=0.25, val_size=9)[2]
    assert parts(0, test_size=0.25, val_size=12)[2] == test
    assert len(parts(0, test_size=6, val_size=0.5)[1]) == 27


def test_the_folds_of_a_seed_partition_what_is_not_held_out_for_the_test(tmp_path: Path):
    path, folds = animals(tmp_path), []
    for fold in range(4):
        data = loaded(path, target="name", folds=4, fold=fold, test_size=12)
        assert torch.bincount(data.val_set[1]).tolist() == [6, 4, 2]
        folds += data.val_set[0][:, 0].tolist()
        test = data.test_set[0][:, 0].tolist()
    assert sorted(folds + test) == [0.5 * row for row in range(60)]


@pytest.mark.parametrize(
    ("target", "kind", "classes", "names"),
    [
        ("legs", "auto", 2, ("2", "4")),
        ("height", "auto", None, ("height",)),
        ("height", "classification", 60, None),
        ("legs", "regression", None, ("legs",)),
        (["legs", "height"], "auto", None, ("legs", "height")),
        (["legs"], "auto", 2, ("2", "4")),
    ],
)
def test_text_and_integers_are_classes_other_numbers_are_predicted(
    target: Any, kind: str, classes: int | None, names: tuple[str, ...] | None, tmp_path: Path
):
    data = loaded(animals(tmp_path), target=target, kind=kind)
    assert data.classes == classes
    if classes is None:
        assert (data.targets, data.target_names) == (len(names or ()), names)
        assert data.train_set[1].shape == (len(data.train_set[0]), len(names or ()))
        assert data.train_set[1].dtype == torch.float32
    elif names:
        assert data.class_names == names
    assert not {*data.feature_names} & {*([target] if isinstance(target, str) else target)}


def test_integers_are_in_the_order_of_their_size(tmp_path: Path):
    rows = [f"{value},{value}" for value in (10, 9, 8, 2) * 10]
    data = loaded(written(tmp_path, "\n".join(["a,b", *rows])), target="b", categorical=["a"])
    assert data.class_names == ("2", "8", "9", "10")
    assert data.feature_names == ("a=2", "a=8", "a=9", "a=10")


def test_columns_are_chosen_and_dropped(tmp_path: Path):
    path = animals(tmp_path)
    assert CSV(path=path, target="name", columns=["legs", "colour"], drop=["colour"]).feature_names == ("legs",)
    assert CSV(path=path, target="name", drop=["colour", "height"]).feature_names == ("legs",)


def test_a_test_file_is_read_with_the_columns_of_the_training_file(tmp_path: Path):
    test = written(tmp_path, "name,legs,extra,colour,height\nemu,2,9,red,1\ncat,4,9,blue,2\n", "test.csv")
    data = loaded(animals(tmp_path), target="name", test_path=test, val_size=0)
    assert len(data.train_set[0]) == 60
    assert data.test_set[0].tolist() == [[1, 0, 1, 2], [2, 1, 0, 4]]
    assert data.test_set[1].tolist() == [2, 0]


def test_missing_values_become_the_mean_of_the_training_samples_or_no_category(tmp_path: Path):
    rows = ["1,red,0", "NA,blue,1", "3, ,0", ",red,1", "5,NaN,0"] * 8
    path = written(tmp_path, "\n".join(["a,b,y", *rows]))
    data = loaded(path, target="y", missing="mean")
    inputs, _ = data.train_set
    assert inputs.isfinite().all()
    assert data.feature_names == ("a", "b=blue", "b=red")
    known = inputs[:, 0][torch.isin(inputs[:, 0], torch.tensor([1.0, 3.0, 5.0]))]
    filled = inputs[:, 0][~torch.isin(inputs[:, 0], torch.tensor([1.0, 3.0, 5.0]))]
    mean = float(data.normalize.mean[0])
    assert len(filled) == 0 or torch.allclose(filled, torch.tensor(mean))
    assert mean == pytest.approx(float(known.mean()), rel=0.2)
    assert (inputs[:, 1:].sum(1) == 0).any()


def test_a_constant_column_is_zero(tmp_path: Path):
    rows = [f"7,{row},{row % 2}" for row in range(40)]
    data = loaded(written(tmp_path, "\n".join(["a,b,y", *rows])), target="y")
    assert (data.normalize(data.train_set[0])[:, 0] == 0).all()


def test_quotes_spaces_empty_lines_a_byte_order_mark_and_another_delimiter_are_read(tmp_path: Path):
    path = tmp_path / "table.csv"
    rows = ['"a; ""b""";  1;x', '"c";2 ;y', ""] * 10
    path.write_bytes("\n".join(["\ufefftext;number;y", *rows]).encode())
    data = loaded(str(path), target="y", delimiter=";")
    assert data.feature_names == ('text=a; "b"', "text=c", "number")
    assert len(data.train_set[0]) + len(data.val_set[0]) + len(data.test_set[0]) == 20


CONTENT = [
    ("", "is empty: its first row must name the columns"),
    ("a,b\n", "has no rows below its header"),
    ("a,b\n1,2\n1,2,3\n", "row 3: it has 3 values and the header names 2 columns"),
    ("a,a,y\n1,2,3\n", "row 1: the name 'a' of column 2 is taken"),
    ("a,,y\n1,2,3\n", "row 1: column 2 has no name"),
    ("1,2,3\n4,5,6\n", "row 1: it holds numbers, and the first row must name the columns"),
    ("a;y\n1;2\n", "has one column, 'a;y': set data.delimiter=';'"),
    ('a,y\n"1,2\n', "row 2: unexpected end of data"),
    ("a,y\n1,0\n\n,1\n", "row 4, column 'a': the value is missing: set data.missing=mean"),
    ("a,y\n1,0\n1,1\n2,\n", "row 4, column 'y': the value is missing: correct the row or remove it"),
    ("a,y\n1,0\n1e39,1\n", r"row 3, column 'a': 1e39 is beyond float32's 3.4e\+38"),
    ("a,y\n1,0\n-inf,1\n", r"row 3, column 'a': -inf is beyond"),
    ("a,y\nred,0\nnone,1\n", "row 3, column 'a': the value is missing"),
    ("a,y\n1,0\n2,0\n", r"data.target=y has only the value \['0'\]"),
    ("\xff", None),
]


@pytest.mark.parametrize(("text", "message"), CONTENT)
def test_a_fault_in_a_file_is_named_with_its_row_and_column(text: str, message: str | None, tmp_path: Path):
    path = written(tmp_path, text)
    if message is None:
        Path(path).write_bytes(b"a,y\n\xff,1\n")
    with pytest.raises(UserError, match=message or r"table.csv is not UTF-8 text \(byte 4\)") as caught:
        CSV(path=path, target="y")
    assert "\n" not in str(caught.value)


def test_a_column_of_numbers_with_a_mistake_is_not_turned_into_thousands_of_categories(tmp_path: Path):
    rows = [f"{row}.5,{row % 2}" for row in range(1200)]
    rows[700] = "7OO,1"
    with pytest.raises(
        DataError, match=r"row 702, column 'a': '7OO' is not a number, and as categories .* 1,200 different"
    ):
        CSV(path=written(tmp_path, "\n".join(["a,y", *rows])), target="y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "height,colour,legs,name\n1,green,2,cat\n",
            "test.csv, row 2, column 'colour': 'green' is no category of the training",
        ),
        ("height,colour,legs,name\n1,red,2,cat\n1,red,2,cow\n", "test.csv, row 3, column 'name': 'cow' is no class"),
        ("height,colour,legs,name\ntall,red,2,cat\n", "test.csv, row 2, column 'height': 'tall' is not a number"),
        ("height,colour,name\n1,red,cat\n", "data.test_path=legs: .*test.csv has no such column"),
    ],
)
def test_a_test_file_that_differs_is_named(text: str, message: str, tmp_path: Path):
    with pytest.raises(UserError, match=message):
        CSV(path=animals(tmp_path), target="name", test_path=written(tmp_path, text, "test.csv"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "nam"}, "data.target=nam: .*table.csv has no such column; did you mean 'name'"),
        ({"target": "name", "drop": ["x"]}, "data.drop=x: .* it has height, colour, legs, name"),
        ({"target": "name", "columns": ["name"]}, "data.target=name cannot be among data.columns or data.drop"),
        ({"target": []}, r"data.target=\[\] must name one column or more"),
        ({"target": ["legs", "legs"], "kind": "regression"}, r"data.target=\['legs', 'legs'\] must name .* each once"),
        ({"target": "name", "columns": []}, "has no column left to predict from"),
        (
            {"target": ["name", "legs"], "kind": "classification"},
            "data.target has 2 columns: data.kind=classification predicts",
        ),
        ({"target": "name", "kind": "regression"}, "row 2, column 'name': 'cat' is not a number"),
        ({"target": "name", "test_size": 60}, "data.test_size=60 leaves nothing to train on: there are 60 samples"),
        ({"target": "name", "val_size": 48}, "data.val_size=48 leaves nothing to train on: the training set has 48"),
        ({"target": "name", "mean": 1.0}, "data.mean cannot be set: numeric columns are standardised"),
        (
            {"target": "name", "path": "no/such.csv"},
            "such.csv does not exist: paths in data.path .* relative to the project",
        ),
        ({"target": "name", "augment": {"shift": 1.0}}, "data.augment changes images"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(UserError, match=message):
        CSV(**{"path": animals(tmp_path), **settings})


def test_many_different_integers_must_be_said_to_be_classes_or_numbers(tmp_path: Path):
    path = written(tmp_path, "\n".join(["a,y", *(f"{row % 7},{row % 101}" for row in range(404))]))
    with pytest.raises(
        ConfigError, match=r"data.target=y has 101 different values, more than 100: set data.kind=regression"
    ):
        CSV(path=path, target="y")
    assert CSV(path=path, target="y", kind="regression").targets == 1
    assert CSV(path=path, target="y", kind="classification").classes == 101


def test_a_file_that_changes_is_read_again(tmp_path: Path):
    path = animals(tmp_path, 60)
    assert len(loaded(path, target="name", test_size=12, val_size=0).train_set[0]) == 48
    animals(tmp_path, 72)
    assert len(loaded(path, target="name", test_size=12, val_size=0).train_set[0]) == 60


def test_a_large_file_is_the_same_as_numpy_reads_it(tmp_path: Path):
    values = np.random.default_rng(0).normal(size=(2000, 20))
    path = tmp_path / "table.csv"
    header = ",".join(f"c{column}" for column in range(20))
    np.savetxt(path, values, delimiter=",", header=header, comments="")
    data = loaded(str(path), target="c19", test_size=1, val_size=0)
    inputs, labels = data.train_set
    order = np.argsort(inputs[:, 0].numpy())
    expected = values[np.isin(values[:, 0].astype(np.float32), inputs[:, 0].numpy())]
    expected = expected[np.argsort(expected[:, 0])].astype(np.float32)
    assert np.array_equal(inputs.numpy()[order], expected[:, :19])
    assert np.array_equal(labels.numpy()[order], expected[:, 19:])
