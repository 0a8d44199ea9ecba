"""Rows that a kind cannot use: one message with file and row, exit code 2, nothing written."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.task.imagefiles import as_text
from tests.kit.kinds import FROM_NOTHING, write_rows
from tests.kit.toy import prunefront_here

Row = dict[str, Any]
THIRD = 2  # place of the bad row


def grey() -> str:
    file = io.BytesIO()
    Image.new("L", (8, 8), 90).save(file, "PNG")
    return as_text(file.getvalue())


BAD_ROWS: list[tuple[str, Row, str]] = [
    ("tokens", {"tokens": ["a", "b"], "ner_tags": ["O"]}, "row 3 has 2 words and 1 tags; each word has one tag"),
    ("tokens", {"tokens": [], "ner_tags": []}, "row 3 has 0 words and 0 tags"),
    ("tokens", {"tokens": ["a", " "], "ner_tags": ["O", "O"]}, "row 3 has an empty word"),
    ("tokens", {"tokens": ["a"], "ner_tags": ["X-GOOD"]}, "row 3 has the tag 'X-GOOD'; tags are O, B-TYPE"),
    (
        "question-answering",
        {"question": "q", "context": "a river", "answers": {"text": ["sea"], "answer_start": [0]}},
        "row 3 has the answer 'sea', which is not in its context",
    ),
    (
        "question-answering",
        {"question": "q", "context": "a river", "answers": {"text": ["a", "river"], "answer_start": [0]}},
        "row 3 has answers of another form than SQuAD's",
    ),
    (
        "question-answering",
        {"question": "", "context": "a river", "answers": {"text": ["a"], "answer_start": [0]}},
        "1 row has no text; the first is row 3",
    ),
    (
        "ranking",
        {"query": "alone", "passage": "p", "relevance": 1},
        "1 query has one passage, of which there is no order; the first is row 3",
    ),
    (
        "ranking",
        {"query": "story", "passage": "p", "relevance": "high"},
        "1 row has a label that is no number; the first is row 3 with 'high'",
    ),
    ("ranking", {"query": "story", "passage": "p", "relevance": -1}, "relevance is 0 or above; row 3 has -1"),
    (
        "multi-label",
        {"text": "none", "labels": []},
        "1 row has an empty list of labels; the first is row 3",
    ),
    (
        "images",
        {"image": grey(), "label": "left"},
        "image train-3 is grey and image train-1 in colour; a task has one kind",
    ),
    ("images", {"image": "bm8gaW1hZ2U=", "label": "left"}, "image train-3: it is no image"),
    ("images", {"image": None, "label": "left"}, "no text; the first is row 3"),
    ("regression", {"text": "warm", "label": "much"}, "no number; the first is row 3 with 'much'"),
    ("classification", {"text": "warm", "label": None}, "1 row has no label; the first is row 3"),
    ("embedding", {"text": " "}, "1 row has no text; the first is row 3"),
    ("language-model", {"text": None}, "1 row has no text; the first is row 3"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "row", "message"), BAD_ROWS)
def test_a_bad_row_is_named_with_its_file(kind: str, row: Row, message: str, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "data", kind)
    lines = (data / "train.jsonl").read_text().splitlines()
    bad = [*lines[:THIRD], json.dumps(row), *lines[THIRD:]]
    (data / "train.jsonl").write_text("\n".join(bad) + "\n")
    before = {*tmp_path.rglob("*")}
    found = prunefront_here(
        "search", "--data", data, "--kind", kind, "--store", tmp_path / "store", "--trials", "1", "--quiet",
        "--model", FROM_NOTHING.get(kind, "builtin/tiny-bert"),
    )  # fmt: skip
    assert found.returncode == 2
    assert message in found.stderr
    assert "train.jsonl" in found.stderr
    assert "Traceback" not in found.stderr + found.stdout
    assert len(found.stderr.strip().splitlines()) == 1
    assert {*tmp_path.rglob("*")} == before


def test_a_test_file_is_said_before_the_search(tmp_path: Path) -> None:
    """A search that could be neither exported nor confirmed: the test file's row is named in a remark of the task."""
    from pipeline.task.loading import load_task, look_at_test

    data = write_rows(tmp_path / "data", "tokens")
    with (data / "test.jsonl").open("a") as file:
        file.write(json.dumps({"tokens": ["a"], "ner_tags": ["B-NEW"]}) + "\n")
    task = load_task(str(data), cache=tmp_path, kind="tokens")
    (remark,) = look_at_test(task).remarks
    assert "test.jsonl: row 41 has the tag 'B-NEW', which train has not" in remark
