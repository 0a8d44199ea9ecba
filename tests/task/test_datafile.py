"""A file or a folder of rows as a task: which columns are taken, and what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.study.records import BadInput, refer
from pipeline.task.datafile import look_into
from pipeline.task.loading import load_task, open_test
from pipeline.task.readers import read_columns
from tests.kit.toy import prunefront_here, small, write_task

ROWS = [
    (f"a {word} thing number {n}", "good" if n % 2 else "bad", n) for n in range(80) for word in ("fine",)
]


def write(
    path: Path, names: tuple[str, ...] = ("id", "review", "topic"), rows: list[tuple[str, str, int]] = ROWS
) -> Path:
    """Write (id, text, label) rows in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = [dict(zip(names, (number, text, label), strict=True)) for text, label, number in rows]
    suffix = path.name.partition(".")[2]
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(table), path)
        return path
    if suffix == "jsonl":
        text = "".join(json.dumps(row) + "\n" for row in table)
    else:
        by = {"csv": ",", "tsv": "\t", "csv.gz": ";"}[suffix]
        text = "\n".join([by.join(names), *(by.join(map(str, row.values())) for row in table)]) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    return path


@pytest.mark.parametrize(
    "name", ["reviews.csv", "reviews.tsv", "reviews.jsonl", "reviews.parquet", "reviews.csv.gz"]
)
def test_columns_are_found_by_name_and_said(tmp_path: Path, name: str) -> None:
    task = load_task(str(write(tmp_path / name)), cache=tmp_path / "cache")
    assert (task.name, task.metric, task.class_names) == ("reviews", "accuracy", ("bad", "good"))
    assert task.remarks[0] == f"{name}: text is review, label is topic (of id, review, topic)."
    assert sum(part.num_rows for part in (task.train, task.validation, *open_test(task).values())) == len(
        ROWS
    )


def test_named_columns_need_no_word(tmp_path: Path) -> None:
    file = write(tmp_path / "x.csv", ("topic", "words", "kind"))
    task = load_task(str(file), cache=tmp_path, text=("words",), label="kind")
    assert task.text == ("words",)
    assert not [line for line in task.remarks if "text is" in line]


def test_a_row_of_json_lines_may_leave_a_column_out(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    rows = [{"text": "no label yet"}, *({"text": f"t {n}", "label": n % 2} for n in range(60))]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(BadInput, match=r"x\.jsonl.*label"):  # a row without a label, not a column
        load_task(str(file), cache=tmp_path)


def test_rows_are_cut_to_a_length_of_ones_own(tmp_path: Path) -> None:
    file = str(write(tmp_path / "reviews.csv"))
    assert load_task(file, cache=tmp_path).max_length == 128
    assert load_task(file, cache=tmp_path, max_length=20).max_length == 20
    with pytest.raises(BadInput, match="at least one token"):
        load_task(file, cache=tmp_path, max_length=0)
    with pytest.raises(BadInput, match="builtin/docstrings has a length of its own"):
        load_task("builtin/docstrings", cache=tmp_path, max_length=20)


def test_pairs_are_found(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(
        json.dumps({"premise": f"p {n}", "hypothesis": f"h {n}", "label": n % 2}) + "\n" for n in range(60)
    ))  # fmt: skip
    assert load_task(str(file), cache=tmp_path).text == ("premise", "hypothesis")


def test_a_folder_has_its_parts(tmp_path: Path) -> None:
    for number, name in enumerate(("train.csv", "dev.csv", "test.csv")):
        write(
            tmp_path / "set" / name,
            rows=[(f"{text} {name}", label, n) for text, label, n in ROWS[: 40 - number]],
        )
    task = load_task(str(tmp_path / "set"), cache=tmp_path)
    assert task.name == "set"
    assert [task.train.num_rows, task.validation.num_rows, open_test(task)["test"].num_rows] == [40, 39, 38]


@pytest.mark.parametrize(
    ("names", "given", "says"),
    [
        (("id", "review", "topik"), {}, "is the label. It has: id, review, topik. Name it by --label"),
        (("id", "blurb", "topic"), {}, "is the text. It has: id, blurb. Name it by --text"),
        (("id", "review", "topic"), {"label": "topc"}, "has no column 'topc'. Did you mean topic"),
        (("id", "review", "topic"), {"text": ("reviews",)}, "has no column 'reviews'. Did you mean review"),
        (("id", "review", "topic"), {"metric": "rouge"}, "has the metric 'rouge'"),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_asked(
    tmp_path: Path, names: tuple[str, ...], given: dict[str, object], says: str
) -> None:
    file = write(tmp_path / "reviews.csv", names)
    with pytest.raises(BadInput, match=says):
        load_task(str(file), cache=tmp_path, **given)  # type: ignore[arg-type]


def test_folders_that_do_not_say_which_file_is_meant(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"has no file train\.csv"):
        load_task(str(tmp_path / "empty"), cache=tmp_path)
    for name in ("train.csv", "train.jsonl"):
        write(tmp_path / "two" / name)
    with pytest.raises(BadInput, match=r"has train.csv and train.jsonl. Keep one"):
        load_task(str(tmp_path / "two"), cache=tmp_path)
    (tmp_path / "nothing.csv").write_text("")
    with pytest.raises(BadInput, match=r"nothing.csv is empty"):
        load_task(str(tmp_path / "nothing.csv"), cache=tmp_path)
    with pytest.raises(BadInput, match=r"There is no file or folder .*qqqqqqqq.csv\.$"):
        load_task(str(tmp_path / "qqqqqqqq.csv"), cache=tmp_path)
    with pytest.raises(BadInput, match=r"notthing\.csv\. Did you mean nothing\.csv\?$"):
        load_task(str(tmp_path / "notthing.csv"), cache=tmp_path)
    with pytest.raises(BadInput, match=r"There is no file or folder .*x.csv\.$"):
        load_task(str(tmp_path / "none" / "x.csv"), cache=tmp_path)


def test_it_is_found_again_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refer("reviews.csv").task == str(tmp_path / "reviews.csv")
    assert [refer(name).task for name in ("glue/sst2", "builtin/docstrings", "hf:x")] == [
        "glue/sst2", "builtin/docstrings", "hf:x",
    ]  # fmt: skip


@pytest.mark.usefixtures("inline")
def test_from_a_csv_to_a_front_and_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = write_task(tmp_path / "task", rows=160)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.tsv").write_text((toy.parent / "train.tsv").read_text())
    given = [each for each in small(toy) if each not in ("--task", toy)]
    run = prunefront_here(
        "search", "--data", "reviews.tsv", *given, "--trials", "1", "--latency-grid", "none", "--name", "r",
        "--max-length", "16", "--store", tmp_path / "store", "--json",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "reviews.tsv: text is sentence, label is label" in run.stderr
    front = json.loads(run.stdout)
    assert front["task"] == "reviews"
    monkeypatch.chdir("/")
    run = prunefront_here(
        "export", "r", "--point", "1", "--to", tmp_path / "out", "--store", tmp_path / "store", "--json"
    )
    assert run.returncode == 0, run.stderr
    exported = json.loads(run.stdout)
    assert exported["point"]["metric"] == front["points"][0]["metric"]
    (kept_aside,) = exported["test_rows"].values()
    assert 10 < kept_aside < 60  # of 160: a fifth or so, that no trial has seen


@pytest.mark.parametrize("space", ["\u2028", "\u0085", "\x0c"])
def test_json_lines_end_at_line_feeds_alone(tmp_path: Path, space: str) -> None:
    """JSON may have U+2028 and U+0085 in a string as they are: pandas writes them so with force_ascii=False."""
    escaped = json.dumps(space) if space == "\x0c" else f'"{space}"'
    lines = [f'{{"text": "one" , "more": {escaped}, "label": "{number % 2}"}}' for number in range(40)]
    (tmp_path / "data.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = look_into(tmp_path / "data.jsonl", text=(), label=None, labelled=True)
    assert (found.text, found.label) == (("text",), "label")
    table, _ = read_columns(tmp_path / "data.jsonl", ("more", "label"), None)
    assert table["more"].to_pylist() == [space] * 40
