"""A study in a bucket that begins anew, beside another driver that does so, too: on moto's server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.study.ledger import LeaseLost
from pipeline.study.store import Began, Store, begin_study
from pipeline.study.store.object_client import ObjectClient
from tests.kit.bucket import contents
from tests.kit.ledger import ledger_at, record_of, spec_of


@pytest.fixture
def left(machine: Callable[[str], None], place: Path) -> Store:
    """What an earlier search has left: a word, a record, an attempt."""
    store = Store(place)
    study = store.study("s")
    study.began.write(Began("1a2b3c4d"))
    study.write_record(record_of(ledger_at("sqlite://").ask()))
    study.attempts(1).begin()
    return store


def later(machine: Callable[[str], None], place: Path, url: str) -> Store:
    """Another machine takes over: it begins anew, and runs a trial to its end."""
    machine("later")
    store = Store(place)
    begin_study(store.study("s").folder, check=lambda: None)
    ledger = ledger_at(url)
    ask = ledger.ask()
    store.write_spec(spec_of())
    assert store.study("s").write_record(record_of(ask))
    ledger.tell(record_of(ask))
    return store


def names(store: Store) -> list[str]:
    return sorted(name.removeprefix("studies/s/") for name in contents(store))


def test_all_is_removed_and_the_word_is_a_new_one(left: Store) -> None:
    begin_study(left.study("s").folder, check=lambda: None)
    assert names(left) == ["began.json"]
    assert left.study("s").search not in ("", "1a2b3c4d")


def test_a_driver_that_was_taken_over_before_the_last_look_removes_nothing(left: Store) -> None:
    before = contents(left)

    def check() -> None:
        raise LeaseLost("another one has taken over")

    with pytest.raises(LeaseLost):
        begin_study(left.study("s").folder, check=check)
    assert contents(left) == before


@pytest.mark.parametrize("when", ["after the last look", "in mid-removal"])
def test_a_driver_that_stands_still_removes_nothing_of_the_later_one(
    when: str,
    left: Store,
    machine: Callable[[str], None],
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, others = f"sqlite:///{tmp_path}/later.db", list[Store]()
    client = left.bucket._client if left.bucket else None
    found = ObjectClient._found

    def stand_still() -> None:
        if not others:
            others.append(later(machine, place, url))

    def looking(self: ObjectClient, key: str, e_tag: str | None = None) -> object:
        if self is client and when == "in mid-removal":
            stand_still()
        return found(self, key, e_tag)

    looks = iter(range(9))

    def check() -> None:
        if when == "after the last look" and next(looks) == 1:
            stand_still()

    monkeypatch.setattr(ObjectClient, "_found", looking)
    begin_study(left.study("s").folder, check=check)
    (other,) = others
    word = other.study("s").search
    other.study("s").refresh()
    assert other.study("s").search == word, "the later one's word stays"
    assert other.study("s").has_record(0)
    assert {"began.json", "record.json", "spec.json"} <= {name.rpartition("/")[2] for name in names(other)}
    assert ledger_at(url).reconcile(other).again == ()


def test_what_is_removed_in_the_window_that_stays_is_missed_and_run_again(
    left: Store,
    machine: Callable[[str], None],
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the look at an object and its removal: obstore has no removal on condition."""
    url, others = f"sqlite:///{tmp_path}/later.db", list[Store]()
    delete, client = ObjectClient.delete, left.bucket._client if left.bucket else None

    def standing_still(self: ObjectClient, keys: list[str]) -> None:
        if self is client and not others and keys[0].endswith("/record.json"):
            others.append(later(machine, place, url))
        delete(self, keys)

    monkeypatch.setattr(ObjectClient, "delete", standing_still)
    begin_study(left.study("s").folder, check=lambda: None)
    (other,) = others
    assert [name for name in names(other) if name.endswith("record.json")] == []
    machine("third")
    third = Store(place)
    assert third.study("s").exists()
    ledger = ledger_at(url)
    found = ledger.reconcile(third)
    assert found.again == (0,)
    assert [ask.number for ask in found.owed] == [0]
