"""Rows that are tokenised once: what is read is what was made, and what is torn is made again."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.task import loading, tokencache
from pipeline.task.kinds import base
from pipeline.task.tokencache import kept, tokens_folder
from tests.kit.tasks import load, make_tokenizer, sentences, write_task

TABLE = pa.table({"id": ["a", "b"], "input_ids": pa.array([[1, 2], [3]], pa.list_(pa.int32()))})


def never() -> pa.Table:
    raise AssertionError("it was to be read")


def test_a_table_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rows.arrow"
    assert kept(path, lambda: TABLE).equals(TABLE)
    found = kept(path, never)
    assert found.equals(TABLE)
    assert found.schema == TABLE.schema
    assert [column.num_chunks for column in found.columns] == [1, 1]
    assert [file.name for file in path.parent.iterdir()] == ["rows.arrow"]


@pytest.mark.parametrize("kept_bytes", [0, 1, 100])
def test_a_torn_file_is_made_again(tmp_path: Path, kept_bytes: int) -> None:
    path = tmp_path / "rows.arrow"
    kept(path, lambda: TABLE)
    path.write_bytes(path.read_bytes()[:kept_bytes])
    assert kept(path, lambda: TABLE).equals(TABLE)
    assert kept(path, never).equals(TABLE)


def test_a_store_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert kept(tmp_path / "file" / "rows.arrow", lambda: TABLE).equals(TABLE)


def test_what_made_the_tokens_names_their_folder(tmp_path: Path) -> None:
    def folder(fingerprint: str, tokenizer: object) -> Path:
        return tokens_folder(tmp_path, task_fingerprint=fingerprint, tokenizer=tokenizer)

    one, shorter = make_tokenizer(), make_tokenizer()
    shorter.model_max_length = 7
    assert folder("a", one) == folder("a", make_tokenizer())
    assert len({folder("a", one), folder("b", one), folder("a", shorter)}) == 3


def test_a_task_is_tokenised_once_for_all_its_studies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = load(write_task(tmp_path, sentences(40)))
    plain = loading.tokenise(task, make_tokenizer(), cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()  # so few are made as fast as they are looked for
    monkeypatch.setattr(loading, "WORTH_ROWS", 10)
    loading.tokenise(task, make_tokenizer(), cache=tmp_path / "cache")
    monkeypatch.setattr(base, "encode", lambda *_, **__: never())
    again = loading.tokenise(task, make_tokenizer(), cache=tmp_path / "cache")
    for name in ("train", "calibration", "validation"):
        assert getattr(again, name).table.equals(getattr(plain, name).table)
    assert tokencache.WORTH_ROWS > 1_000
