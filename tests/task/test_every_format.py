"""One table in every format: the same rows with the same classes, or one message with file and row."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.study.records import BadInput
from pipeline.task.loading import Task, load_task

Value = str | int | float | bool | None
Rows = list[tuple[str | None, Value]]

# Spellings of one class, as files of different origins have them.
SPELLINGS: list[list[Value]] = [
    ["neg", " neg", "neg\t"],
    ["pos", "pos "],
    [0, 0.0, False, "0", "0.0", "False", "false "],
    [1, 1.0, True, "1", "1.00", "TRUE"],
    ["größe", " größe"],
    [-2, "-2.0"],
]
EMPTY = [None, "", " ", "nan", "NaN", "null", "\u3000"]
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0")
words = st.text(letters, min_size=1, max_size=12).filter(lambda text: text.strip() and not text.isspace())
awkward = st.sampled_from(
    [
        'say "hi"',
        '"quoted"',
        "a,b;c|d",
        "a\tb",
        "tab\there",
        "'",
        "=1+1",
        "\u2028",
        "\ufeffx",
        "\U0001f600",
        "x" * 5000,
    ]
)
texts = st.one_of(words.map(lambda text: f"w {text} w"), awkward)


@st.composite
def tables(draw: st.DrawFn) -> Rows:
    """Twelve rows and more of two or three classes, each class in several spellings; few lack a text or a label."""
    classes = draw(st.lists(st.sampled_from(range(len(SPELLINGS))), min_size=2, max_size=3, unique=True))
    count = draw(st.integers(12, 20))
    rows: Rows = [
        (f"{number} {draw(texts)}", draw(st.sampled_from(SPELLINGS[classes[number % len(classes)]])))
        for number in range(count)
    ]
    if draw(st.integers(0, 3)) == 0:
        place = draw(st.integers(0, count - 1))
        if draw(st.booleans()):
            rows[place] = (draw(st.sampled_from(EMPTY)), rows[place][1])
        else:
            rows[place] = (rows[place][0], draw(st.sampled_from([None, "", " ", "nan"])))
    return rows


def as_text(value: Value) -> str:
    return "" if value is None else str(value)


def delimited(rows: Rows, delimiter: str) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\r\n" if delimiter == ";" else "\n")
    writer.writerows([("sentence", "label"), *((as_text(text), as_text(label)) for text, label in rows)])
    return file.getvalue().encode()


def json_lines(rows: Rows) -> bytes:
    lines = [json.dumps({"label": label, "sentence": text}) for text, label in rows]
    return b"\xef\xbb\xbf" + "\n".join(lines).encode()


def parquet(kind: Callable[[list[str | None]], pa.Array]) -> Callable[[Rows], bytes]:
    def write(rows: Rows) -> bytes:
        labels = [None if label is None else str(label) for _, label in rows]
        table = pa.table({"sentence": kind([text for text, _ in rows]), "label": kind(labels)})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        return bytes(sink.getvalue())

    return write


FORMATS: dict[str, Callable[[Rows], bytes]] = {
    "comma.csv": lambda rows: delimited(rows, ","),
    "semicolon.csv": lambda rows: delimited(rows, ";"),
    "marked.csv": lambda rows: b"\xef\xbb\xbf" + delimited(rows, ","),
    "plain.csv.gz": lambda rows: gzip.compress(delimited(rows, ",")),
    "lines.jsonl": json_lines,
    "lines.jsonl.gz": lambda rows: gzip.compress(json_lines(rows)),
    "plain.parquet": parquet(lambda values: pa.array(values, pa.string())),
    "large.parquet": parquet(lambda values: pa.array(values, pa.large_string())),
    "view.parquet": parquet(lambda values: pa.array(values, pa.string_view())),
    "category.parquet": parquet(lambda values: pa.array(values, pa.string()).dictionary_encode()),
}
TASK = 'name = "t"\nmetric = "accuracy"\ntext = ["sentence"]\nlabel = "label"\n[files]\ntrain = "{0}"\ntest = "{0}"\n'


def load(folder: Path, name: str, content: bytes, *, drop_empty: bool = False) -> Task | str:
    """The task of one file, or the message by which it is refused."""
    (folder / name).write_bytes(content)
    (folder / "t.toml").write_text(TASK.format(name))
    try:
        return load_task(str(folder / "t.toml"), cache=folder, drop_empty=drop_empty)
    except BadInput as error:
        return str(error).replace(str(folder / name), "FILE").replace("line ", "row ")


def rows_of(task: Task) -> tuple[tuple[str, ...], list[tuple[str, str, str]]]:
    rows = pa.concat_tables([task.train, task.validation]).to_pylist()
    found = [(row["id"], row["text_a"], task.class_names[row["label"]]) for row in rows]
    return task.class_names, sorted(found)


@given(tables())
@settings(max_examples=settings.default.max_examples // 4, suppress_health_check=[HealthCheck.too_slow])
def test_a_table_is_the_same_rows_in_every_format_or_refused_with_its_row(rows: Rows) -> None:
    lacking = [
        number
        for number, (text, label) in enumerate(rows, start=1)
        if text in EMPTY or label is None or (isinstance(label, str) and label.strip() in ("", "nan"))
    ]
    with tempfile.TemporaryDirectory() as scratch:
        found = {name: load(Path(scratch), name, write(rows)) for name, write in FORMATS.items()}
    refused = {name: each for name, each in found.items() if isinstance(each, str)}
    if lacking:
        assert set(refused) == set(FORMATS)
        for message in refused.values():
            assert "FILE: 1 row has no " in message
            assert f"the first is row {lacking[0]}" in message
        assert len(set(refused.values())) == 1
        return
    assert refused == {}
    read = {name: rows_of(each) for name, each in found.items() if isinstance(each, Task)}
    first = read["plain.parquet"]
    assert [text for _, text, _ in sorted(first[1], key=lambda row: int(row[0].partition("-")[2]))] == [
        text for text, _ in rows
    ]
    for name, each in read.items():
        # a class may be called by another of its spellings where a format writes it in another way
        assert [row[:2] for row in each[1]] == [row[:2] for row in first[1]], name
        assert partition(each) == partition(first), name


def partition(read: tuple[tuple[str, ...], list[tuple[str, str, str]]]) -> set[frozenset[str]]:
    """Which rows are of one class."""
    return {frozenset(row for row, _, label in read[1] if label == name) for name in read[0]}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1", "cp1252"])
@pytest.mark.parametrize("name", ["comma.csv", "semicolon.csv", "lines.jsonl"])
def test_another_encoding_is_one_message(tmp_path: Path, encoding: str, name: str) -> None:
    rows: Rows = [(f"{number} déjà vu", number % 2) for number in range(12)]
    text = FORMATS[name](rows).decode("utf-8-sig")
    if name.endswith("jsonl"):
        text = text.replace("\\u00e9", "é").replace("\\u00e0", "à")
    found = load(tmp_path, name, text.encode(encoding))
    assert isinstance(found, str)
    assert "FILE: it is not encoded in UTF-8" in found
    assert found.isprintable()


@pytest.mark.parametrize("name", FORMATS)
def test_rows_without_a_text_are_left_out_where_that_is_wanted(tmp_path: Path, name: str) -> None:
    rows: Rows = [(f"{number} word", number % 2) for number in range(20)]
    rows[3] = ("", 1)
    rows[7] = (None, 1)
    rows[8] = ("nan", 0)
    found = load(tmp_path, name, FORMATS[name](rows), drop_empty=True)
    assert isinstance(found, Task)
    assert "3 of the 20 train rows have no text and are left out." in found.remarks
    kept = {f"train-{number}" for number in range(1, 21)} - {"train-4", "train-8", "train-9"}
    assert {row[0] for row in rows_of(found)[1]} == kept
