"""A cluster that is elsewhere, and nodes that do not see the store."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pipeline.driver.execute import NodeView, is_here
from pipeline.driver.search import shared_store
from pipeline.driver.search.request import Search
from pipeline.driver.search.shared_store import check_ledger, check_shared
from pipeline.study.records import BadInput
from pipeline.study.store import Store

ELSEWHERE = "192.0.2.7:6379"  # an address that documents may use, and nobody has (RFC 5737)
SERVER = "postgresql://me@db/prunefront"


@pytest.mark.parametrize(
    "address", ["auto", "local", "127.0.0.1:6379", "localhost:6379", "127.0.0.3:1", "[::1]:6379"]
)
def test_an_address_of_this_machine_is_here(address: str) -> None:
    assert is_here(address)


def test_an_address_of_another_machine_is_not() -> None:
    assert not is_here(ELSEWHERE)
    assert not is_here(f"ray://{ELSEWHERE}")


def search(address: str | None, ledger: str | None) -> Search:
    return Search(ledger=ledger, address=address)


@pytest.mark.parametrize("ledger", [None, "sqlite:////tmp/x.db"])
def test_a_ledger_in_a_file_is_refused_for_a_cluster_elsewhere(ledger: str | None) -> None:
    with pytest.raises(BadInput, match="PGPASSWORD"):
        check_ledger(search(ELSEWHERE, ledger))
    check_ledger(search(None, ledger))
    check_ledger(search("127.0.0.1:6379", ledger))
    check_ledger(search(ELSEWHERE, SERVER))


HERE = NodeView(socket.gethostname(), here=True, sees=True)
AWAY = NodeView("10.0.0.2", here=False, sees=True)
BLIND = NodeView("10.0.0.3", here=False, sees=False)


@pytest.mark.parametrize(
    ("views", "ledger", "says"),
    [
        ((HERE,), None, None),
        ((HERE, AWAY), SERVER, None),
        ((HERE, AWAY), None, "10.0.0.2 is another machine"),
        ((HERE, AWAY, BLIND), SERVER, "10.0.0.3 does not see"),
    ],
)
def test_nodes_are_asked_and_nothing_stays(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    views: tuple[NodeView, ...],
    ledger: str | None,
    says: str | None,
) -> None:
    asked: list[Path] = []

    def answer(mark: Path) -> tuple[NodeView, ...]:
        assert mark.is_file(), "it is there while they are asked"
        asked.append(mark)
        return views

    monkeypatch.setattr(shared_store, "views_of", answer)
    store = Store(tmp_path / "a" / "store")
    if says is None:
        check_shared(search("auto", ledger), store)
    else:
        with pytest.raises(BadInput, match=says):
            check_shared(search("auto", ledger), store)
    assert len(asked) == 1
    assert not (tmp_path / "a").exists()


def test_without_a_cluster_no_node_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_store, "views_of", lambda _: pytest.fail("asked"))
    check_shared(search(None, None), Store(tmp_path))
