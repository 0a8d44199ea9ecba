"""Labels by hand."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.study.classes import class_key
from pipeline.task.labels import (
    alike,
    class_names,
    class_numbers,
    labelled,
    require_whole,
    values,
    without_empty_texts,
)


def column(*labels: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([list(labels)], pa.string())


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["b", "a", "b", "a"], ("a", "b")),
        (["10", "9", "-1", "10", "9", "-1"], ("-1", "9", "10")),
        (["10", "9", "x", "10", "9", "x"], ("10", "9", "x")),  # not all numbers: by name
        (["1.0", "0.0", "0.0", "1.0"], ("0.0", "1.0")),
    ],
)
def test_classes_in_order(labels: list[str], names: tuple[str, ...]) -> None:
    assert class_names(column(*labels)) == names


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["neg", "neg ", " pos", "pos\t"], ("neg", "pos")),
        (["0", "0.0", "1", "1.0"], ("0", "1")),
        (["False", "0", "true", "1.0"], ("0", "1.0")),
        (["True", "False", "True", "False"], ("False", "True")),
        (["1e1", "10", "+9", "9.00"], ("+9", "10")),
        (["no", "No", "no", "No"], ("No", "no")),  # words keep their case
        (["9" * 5000, "8", "8", "9" * 5000], ("8", "9" * 5000)),
    ],
)
def test_a_class_has_one_spelling(labels: list[str], names: tuple[str, ...]) -> None:
    assert class_names(column(*labels)) == names


def test_other_spellings_of_a_class_are_the_class() -> None:
    assert class_numbers(column("True", "false", " 1 ", "0.0"), ("0", "1")).to_pylist() == [1, 0, 1, 0]
    assert class_numbers(column("1", "0", "1"), ("False", "True")).to_pylist() == [1, 0, 1]
    assert class_numbers(column(" b", "a\n"), ("a", "b")).to_pylist() == [1, 0]


def test_the_key_of_a_class() -> None:
    spelled = ["01", "1.0", " TRUE", "1e0", "+1", ".5", "0.50", "-0", "inf", "1_0", "1.5.2", "2024-01-01"]
    keys = ["1", "1", "1", "1", "1", "0.5", "0.5", "0", "inf", "1_0", "1.5.2", "2024-01-01"]
    assert [class_key(each) for each in spelled] == keys


def test_declared_classes_keep_their_order_and_unused_ones_go() -> None:
    codes = pa.array([2, 0, 2, 0], pa.int32())
    declared = pa.DictionaryArray.from_arrays(codes, pa.array(["positive", "neutral", "negative"]))
    labels = pa.chunked_array([declared])
    assert class_names(labels) == ("positive", "negative")
    assert class_numbers(labels, ("positive", "negative")).to_pylist() == [1, 0, 1, 0]


def test_one_class_is_none() -> None:
    with pytest.raises(ValueError, match="all rows have the label 'a': it needs two classes or more"):
        class_names(column("a", "a"))


def test_a_class_for_nearly_every_row_is_none() -> None:
    with pytest.raises(ValueError, match=r"3 rows have 2 different labels, .*--kind regression"):
        class_names(column("0.5", "1.5", "1.5"))


def test_class_numbers() -> None:
    numbers = class_numbers(column("b", "a", "b"), ("a", "b"))
    assert (numbers.type, numbers.to_pylist()) == (pa.int64(), [1, 0, 1])


def test_unknown_classes_are_counted() -> None:
    with pytest.raises(
        ValueError, match=r"2 rows have a class that train has not \(a, b\); .* row 2 with 'c'"
    ):
        class_numbers(column("a", "c", "d"), ("a", "b"))


def test_values() -> None:
    numbers = values(column("1", "2.5", " 3e-1"))
    assert numbers.type == pa.float32()
    assert numbers.to_pylist() == [1.0, 2.5, float(np.float32(0.3))]


@pytest.mark.parametrize("bad", ["x", "inf", "", "1,5", "1e39"])
def test_labels_that_are_no_numbers_are_counted(bad: str) -> None:
    with pytest.raises(
        ValueError, match=f"1 row has a label that is no number; the first is row 2 with '{bad}'"
    ):
        values(column("1", bad))


@pytest.mark.parametrize("missing", [None, "", "  ", "nan", "NaN"])
def test_missing_labels_are_counted(missing: str | None) -> None:
    rows = pa.table(
        {"id": ["1", "2", "3"], "text_a": ["x", "y", "z"], "label": column("a", missing, missing)}
    )
    with pytest.raises(ValueError, match="2 rows have no label; the first is row 2"):
        require_whole(rows)


EMPTY = ["", " \t", "\u00a0\u3000", "\ufeff", "nan", " NaN ", "null", None]


@pytest.mark.parametrize("text", EMPTY)
def test_missing_texts_are_counted(text: str | None) -> None:
    labels = column("a", "b", "none", "null")
    ids = ["train-1", "train-3", "train-9", "train-10"]
    rows = pa.table({"id": ids, "text_a": ["x", "NA", text, text], "label": labels})
    with pytest.raises(ValueError, match="2 rows have no text; the first is row 9; --drop-empty leaves such"):
        require_whole(rows)
    kept, dropped = without_empty_texts(rows)
    assert (kept["id"].to_pylist(), dropped) == (["train-1", "train-3"], 2)
    require_whole(kept)


def test_words_like_nothing_are_texts() -> None:
    texts = ["NA", "none", "nothing", "nano", "0", "-", "."]
    require_whole(pa.table({"id": list("1234567"), "text_a": texts, "label": column(*"abababa")}))


def test_rows_without_labels_are_told_from_rows_of_the_class_minus_one() -> None:
    ids = ["test-1", "test-2", "test-3", "test-4"]
    rows = pa.table({"id": ids, "label": column("-1", "a", "", "-1.0")})
    kept, hidden = labelled(rows, ("a", "b"))
    assert (kept["id"].to_pylist(), hidden) == (["test-2"], 3)
    kept, hidden = labelled(rows, ("-1", "a"))
    assert (kept["id"].to_pylist(), hidden) == (["test-1", "test-2", "test-4"], 1)


def test_minus_one_is_a_value_unless_all_rows_have_it() -> None:
    rows = pa.table({"id": ["1", "2"], "label": column("-1", "0.5")})
    assert labelled(rows, ())[1] == 0
    assert labelled(rows.slice(0, 1), ())[1] == 1


def test_classes_that_look_alike_are_named() -> None:
    assert alike(("No", "no", "yes", "y es")) == (
        "'No' and 'no' differ in case or white space alone; they are 2 classes.",
        "'yes' and 'y es' differ in case or white space alone; they are 2 classes.",
    )
    assert alike(("0", "1")) == ()


def test_no_rows() -> None:
    with pytest.raises(ValueError, match="no rows"):
        require_whole(pa.table({"id": [], "label": []}))
