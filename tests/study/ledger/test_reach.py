"""A ledger that cannot be opened is found out before anything is started, and nothing is made."""

from pathlib import Path

import pytest

from pipeline.study.ledger import check_opens
from pipeline.study.records import BadInput


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "sqlite:///{folder}/missing/studies.db",
        "sqlite:///{folder}/text.db",
        "journal://{folder}/missing/ledger",
        "journal://{folder}/text.db/ledger",
        "postgresql://nobody@127.0.0.1:1/none",
    ],
)
def test_one_that_cannot_be_opened_is_refused(tmp_path: Path, url: str) -> None:
    (tmp_path / "text.db").write_text("no database, and longer than the head of one: " * 4)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadInput, match="cannot be opened"):
        check_opens(url.format(folder=tmp_path))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("url", ["sqlite:///{folder}/studies.db", "journal://{folder}/ledger"])
def test_one_that_can_be_made_is_not_made_yet(tmp_path: Path, url: str) -> None:
    check_opens(url.format(folder=tmp_path))
    assert not list(tmp_path.iterdir())
