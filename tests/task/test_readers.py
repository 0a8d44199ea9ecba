"""What people bring as rows: delimiters, quotes, encodings, compressions, types; each value by hand."""

import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from pipeline.task import readers
from pipeline.task.readers import read_columns

COLUMNS = ("sentence", "label")


def read(
    path: Path, content: str | bytes, delimiter: str | None = None
) -> tuple[list[tuple[Any, ...]], tuple[str, ...]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    table, remarks = read_columns(path, COLUMNS, delimiter)
    return list(zip(*(table[name].to_pylist() for name in COLUMNS), strict=True)), remarks


@pytest.mark.parametrize(
    ("name", "delimiter"), [("t.csv", ";"), ("t.csv", "\t"), ("t.csv", "|"), ("t.tsv", ",")]
)
def test_the_delimiter_is_guessed_by_the_header_and_said(tmp_path: Path, name: str, delimiter: str) -> None:
    rows, remarks = read(tmp_path / name, f"label{delimiter}sentence\n1{delimiter}a b\n")
    assert rows == [("a b", "1")]
    assert remarks == (f"{name}: its columns are separated by {delimiter!r}, which its header shows.",)


def test_the_usual_delimiter_is_no_guess(tmp_path: Path) -> None:
    assert read(tmp_path / "t.csv", "sentence,label,a;b\nx;y,1,z\n") == ([("x;y", "1")], ())


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_rows_may_lie_across_the_largest_blocks(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a csv of 2 GB and more Arrow would otherwise get a size that its 32 bits do not hold: OverflowError."""
    with pytest.raises(OverflowError):
        pa.csv.ReadOptions(block_size=readers.LARGEST_BLOCK + 1)
    assert pa.csv.ReadOptions(block_size=readers.LARGEST_BLOCK).block_size == 2**31 - 1
    monkeypatch.setattr(readers, "LARGEST_BLOCK", 64)
    rows = [(f"text {number} " + "x" * (number % 40), str(number % 2)) for number in range(100)]
    between = "," if name == "t.csv" else "\t"
    content = "\n".join(between.join(row) for row in [COLUMNS, *rows])
    assert read(tmp_path / name, content) == (rows, ())


def test_a_delimiter_that_is_given_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no column 'sentence'.*if ';' separates them, write delimiter = \";\""
    ):
        read(tmp_path / "t.csv", "sentence;label\na;1\n", "|")


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('sentence\tlabel\n"a\tb"\t1\n', [("a\tb", "1")]),
        ('sentence\tlabel\n"a\nb"\t1\nc\t0', [("a\nb", "1"), ("c", "0")]),
        ('sentence\tlabel\n"""a"" b"\t1\n', [('"a" b', "1")]),
        ('"sentence"\t"label"\n"a"\t"1"\n', [("a", "1")]),
    ],
)
def test_a_tsv_is_quoted_where_pandas_has_quoted_it(
    tmp_path: Path, content: str, rows: list[tuple[str, str]]
) -> None:
    assert read(tmp_path / "t.tsv", content) == (
        rows,
        ("t.tsv: its fields are quoted, as pandas writes them.",),
    )


@pytest.mark.parametrize("text", ['"a"', '"a" said b', 'a "b"', '"', '""', '"a""'])
def test_other_quotes_of_a_tsv_are_text(tmp_path: Path, text: str) -> None:
    assert read(tmp_path / "t.tsv", f"sentence\tlabel\n{text}\t1\nb\t0\n") == ([(text, "1"), ("b", "0")], ())


def test_a_byte_order_mark_and_windows_line_ends_are_no_text(tmp_path: Path) -> None:
    expected = ([("a", "1"), ("b", "0")], ())
    assert read(tmp_path / "t.csv", b"\xef\xbb\xbfsentence,label\r\na,1\r\nb,0\r\n") == expected
    lines = b'\xef\xbb\xbf{"sentence": "a", "label": 1}\r\n{"sentence": "b", "label": 0}\r\n'
    assert read(tmp_path / "t.jsonl", lines) == expected


@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16LE"),
        ("utf-16-be", "UTF-16BE"),
        ("utf-32", "UTF-32"),
        ("latin-1", "WINDOWS-1252"),
        ("cp1252", "WINDOWS-1252"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_another_encoding_is_refused_by_its_name(
    tmp_path: Path, suffix: str, encoding: str, named: str
) -> None:
    rows = ["sentence,label", "a,1", "déjà vu,0"]
    if suffix == "tsv":
        rows = [row.replace(",", "\t") for row in rows]
    if suffix == "jsonl":
        rows = ['{"sentence": "a", "label": 1}', "", '{"sentence": "déjà vu", "label": 0}']
    with pytest.raises(ValueError, match=rf"not encoded in UTF-8.*iconv -f {named} -t UTF-8") as raised:
        read(tmp_path / f"t.{suffix}", "\n".join(rows).encode(encoding))
    assert str(raised.value).isprintable()
    if named == "WINDOWS-1252":
        assert "line 3 has the byte 0xe9" in str(raised.value)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_compressed_files_are_read(tmp_path: Path, suffix: str) -> None:
    plain = tmp_path / f"plain.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"sentence": ["a"], "label": [1]}), plain)
    else:
        between = {"csv": ",", "tsv": "\t"}.get(suffix, "")
        plain.write_text(
            f"sentence{between}label\na{between}1\n" if between else '{"sentence": "a", "label": 1}\n'
        )
    data = plain.read_bytes()
    with (
        pa.OSFile(str(tmp_path / f"t.{suffix}.zst"), "wb") as sink,
        pa.CompressedOutputStream(sink, "zstd") as file,
    ):
        file.write(data)
    assert read_columns(tmp_path / f"t.{suffix}.zst", COLUMNS, None)[0].to_pylist() == [
        {"sentence": "a", "label": "1"}
    ]
    assert read(tmp_path / f"t.{suffix}.gz", gzip.compress(data))[0] == [("a", "1")]
    with pytest.raises(ValueError, match=r"not a whole \.gz file"):
        read(tmp_path / f"t.{suffix}.gz", gzip.compress(data)[:-9])
    with pytest.raises(ValueError, match=r"not a whole \.zst file"):
        read(tmp_path / f"t.{suffix}.zst", data)


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("t.xlsx", "read_excel"),
        ("t.xls", "read_excel"),
        ("t.arrow", "write_table"),
        ("t.feather", "write_table"),
        ("t.json", "one JSON object a line"),
        ("t.txt", "call it .csv or .tsv"),
        ("t.pkl", "can run code"),
        ("t.zip", "unpack it"),
        ("t.csv.bz2", "unpack it"),
        ("t", "one of these formats"),
    ],
)
def test_other_files_are_refused_with_the_way_out(tmp_path: Path, name: str, way_out: str) -> None:
    with pytest.raises(ValueError, match=rf"is none of \.csv, \.tsv, \.jsonl, \.parquet .*{way_out}"):
        read(tmp_path / name, "x")


@pytest.mark.parametrize(
    ("value", "string"),
    [
        ("a", "a"),
        (1, "1"),
        (1.0, "1"),
        (0.5, "0.5"),
        (True, "true"),
        (None, None),
        (["a"], "a"),
        ([None], None),
        (10**30, "1" + 30 * "0"),
        (1e300, "1e+300"),
        (float("nan"), "nan"),
        ("\u2028 \x00 \x85", "\u2028 \x00 \x85"),
    ],
)
def test_values_of_json_lines(tmp_path: Path, value: object, string: str | None) -> None:
    rows = [{"sentence": "x", "label": "0"}, {"sentence": "y", "label": value}]  # in one file with a string
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    assert read(tmp_path / "t.jsonl", lines)[0] == [("x", "0"), ("y", string)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"sentence": {"en": "a"}, "label": 1}', "line 2 has an object in 'sentence'"),
        ('{"sentence": ["a", "b"], "label": 1}', "line 2 has a list of 2 in 'sentence'"),
        ('{"sentence": [["a", "b"]], "label": 1}', "line 2 has a list of 2 in 'sentence'"),
        ('{"sentence": [], "label": 1}', "line 2 has a list of 0 in 'sentence'"),
        ('{"sentence": "a\\ud83d", "label": 1}', "line 2 has half a surrogate pair in 'sentence'"),
        ('{"sentence": "a", "label": ' + "9" * 5000 + "}", "line 2 is not JSON"),
        ('{"sentence": ' + "[" * 100_000 + "}", "line 2 is not JSON"),
        ('["a", 1]', "line 2 is not a JSON object"),
        ("nonsense", "line 2 is not JSON"),
    ],
)
def test_what_is_no_value_is_refused_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "t.jsonl", f'{{"sentence": "x", "label": 0}}\n{line}\n')


@pytest.mark.parametrize(
    ("labels", "strings"),
    [
        (lambda: pa.array([1, 0], pa.uint8()), ["1", "0"]),
        (lambda: pa.array([1.0, 0.0], pa.float16()), ["1", "0"]),
        (lambda: pa.array([0.5, None], pa.float16()), ["0.5", None]),
        (lambda: pa.array([1e30, 2.0], pa.float64()), ["1e+30", "2"]),
        (lambda: pa.array([Decimal("1.00"), Decimal("0.50")], pa.decimal128(5, 2)), ["1.00", "0.50"]),
        (lambda: pa.array(["b", "a"], pa.large_string()), ["b", "a"]),
        (lambda: pa.array(["b", "a"], pa.string_view()), ["b", "a"]),
        (lambda: pa.array([b"b", b"a"], pa.binary()), ["b", "a"]),
        (lambda: pa.array(["b", None]).dictionary_encode(), ["b", None]),
        (lambda: pa.array([1, 0]).dictionary_encode(), ["1", "0"]),
        (lambda: pa.array([["b"], ["a"]]), ["b", "a"]),
        (lambda: pa.array([[1], [0]], pa.large_list(pa.int64())), ["1", "0"]),
        (lambda: pa.array([[True], [False]], pa.list_(pa.bool_(), 1)), ["true", "false"]),
        (lambda: pa.nulls(2), [None, None]),
    ],
)
def test_types_of_parquet(tmp_path: Path, labels: Callable[[], pa.Array], strings: list[str | None]) -> None:
    pq.write_table(pa.table({"label": labels(), "sentence": ["x", "y"]}), tmp_path / "t.parquet")
    table, remarks = read_columns(tmp_path / "t.parquet", COLUMNS, None)
    assert (table["label"].to_pylist(), table["label"].type, remarks) == (strings, pa.string(), ())


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([{"a": 1}, {"a": 2}], "row 1 has an object in 'label'"),
        ([["a"], ["a", "b"]], "row 2 has a list of 2 in 'label'"),
        ([b"a", b"\xff"], "row 2 has bytes in 'label' that are not UTF-8"),
    ],
)
def test_columns_of_parquet_without_a_value_are_refused(
    tmp_path: Path, labels: list[Any], message: str
) -> None:
    pq.write_table(pa.table({"label": labels, "sentence": ["x", "y"]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=message):
        read_columns(tmp_path / "t.parquet", COLUMNS, None)


def declared(names: list[str]) -> dict[bytes, bytes]:
    """What `datasets` writes into the schema of a parquet file whose labels are classes."""
    features = {
        "sentence": {"dtype": "string", "_type": "Value"},
        "label": {"names": names, "_type": "ClassLabel"},
    }
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def test_classes_that_datasets_has_declared_have_their_names_and_their_order(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = pa.table({"sentence": ["a", "b", "c"], "label": pa.array([1, 0, -1])})
    pq.write_table(table.replace_schema_metadata(declared(["same", "differs"])), path)
    rows, _ = read_columns(path, COLUMNS, None)
    assert rows["label"].to_pylist() == ["differs", "same", None]
    assert rows["label"].combine_chunks().dictionary.to_pylist() == ["same", "differs"]
    assert rows["sentence"].to_pylist() == ["a", "b", "c"]

    pq.write_table(table.replace_schema_metadata({b"huggingface": b"?"}), path)
    assert read_columns(path, COLUMNS, None)[0]["label"].to_pylist() == ["1", "0", "-1"]
    pq.write_table(table.replace_schema_metadata(declared(["one"])), path)
    with pytest.raises(ValueError, match=r"row 1 has '1' in 'label', whose 1 classes"):
        read_columns(path, COLUMNS, None)


def test_what_datasets_itself_writes_is_read_so(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "sentence": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["neg", "pos"]),
            "list": datasets.List(datasets.ClassLabel(names=["u", "v"])),
        }
    )
    rows = {"sentence": ["a", "b"], "label": [1, 0], "list": [[1], [0]]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "t.parquet"))
    found, _ = read_columns(tmp_path / "t.parquet", (*COLUMNS, "list"), None)
    assert found.to_pydict() == {"sentence": ["a", "b"], "label": ["pos", "neg"], "list": ['["v"]', '["u"]']}
