"""Studies whose dense network is trained beside their trials: their ledger, before and after it is known."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import optuna
import pytest

from pipeline.study.ledger import LeaseLost, hold, open_ledger
from pipeline.study.ledger.frozen import is_pending
from pipeline.study.records import Anchors, Ask, BadInput, StudySpec, TrialRecord
from pipeline.study.space import load_space
from pipeline.study.store import Began, Store
from pipeline.study.store.written_once import publish_record
from tests.kit.synthetic import spec

SPACE = load_space("snip", file=None, pretrained=True)
WHOLE = replace(spec(), space_toml=SPACE.toml)
PENDING = replace(WHOLE, anchors=Anchors.pending(WHOLE.anchors.constant))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


def frozen(url: str) -> dict[str, object]:
    return dict(optuna.load_study(study_name="toy", storage=url).user_attrs["spec"])


def test_the_same_search_goes_on_before_its_dense_network_is_trained(url: str) -> None:
    first = open_ledger(url, PENDING, SPACE, trials=4).ask()
    again = open_ledger(url, PENDING, SPACE, trials=4)
    assert again.owed() == (first,)
    assert is_pending(frozen(url))


def test_another_search_begins_anew_before_the_dense_network_is_trained(url: str) -> None:
    open_ledger(url, PENDING, SPACE, trials=4).ask()
    other = replace(PENDING, seed=PENDING.seed + 1)
    with hold(url, "toy") as lease:
        assert open_ledger(url, other, SPACE, trials=4, lease=lease).owed() == ()
    assert frozen(url)["seed"] == other.seed


def test_a_driver_that_was_taken_over_does_not_begin_anew(url: str) -> None:
    """It stood still after it had seen that the study was another search's."""
    open_ledger(url, PENDING, SPACE, trials=4).ask()
    other = replace(PENDING, seed=PENDING.seed + 1)
    with hold(url, "toy") as old, hold(url, "toy", take_over=True):
        with pytest.raises(LeaseLost):
            open_ledger(url, other, SPACE, trials=4, lease=old)
        with pytest.raises(BadInput, match="differs in"):
            open_ledger(url, other, SPACE, trials=4)
    assert frozen(url)["seed"] == PENDING.seed
    assert len(open_ledger(url, PENDING, SPACE, trials=4).owed()) == 1


def test_a_spec_is_frozen_when_the_dense_network_is_trained(url: str) -> None:
    ledger = open_ledger(url, PENDING, SPACE, trials=4)
    drawn = ledger.ask()
    ledger.freeze(WHOLE)
    assert frozen(url) == {**asdict(WHOLE), "starts": WHOLE.starts}
    assert open_ledger(url, WHOLE, SPACE, trials=4).owed() == (drawn,)
    for other in (
        replace(WHOLE, seed=WHOLE.seed + 1),
        replace(WHOLE, anchors=replace(WHOLE.anchors, dense=0.123)),
        replace(PENDING, seed=WHOLE.seed + 1),  # whose dense network is not trained either
    ):
        with pytest.raises(BadInput, match="differs in"):
            open_ledger(url, other, SPACE, trials=4)


def test_a_search_that_died_between_ledger_and_store_goes_on(url: str) -> None:
    """The ledger has the dense network, the store has not: nobody has seen the study."""
    ledger = open_ledger(url, PENDING, SPACE, trials=4)
    drawn = ledger.ask()
    ledger.freeze(WHOLE)
    assert open_ledger(url, PENDING, SPACE, trials=4).owed() == (drawn,)


def test_anchors_are_known_or_not() -> None:
    assert not PENDING.anchors.known
    assert WHOLE.anchors.known
    assert PENDING.anchors.constant == WHOLE.anchors.constant
    assert isinstance(WHOLE, StudySpec)


def test_records_that_another_search_left_are_removed(url: str, tmp_path: Path) -> None:
    """Of a worker that was cut off; of a trial that is owed, and of one that is not drawn yet."""
    study = Store(tmp_path / "store").study("toy")
    study.began.write(Began("5e6f7a8b"))
    ledger = open_ledger(url, PENDING, SPACE, trials=4)
    asks = [ledger.ask(), ledger.ask()]
    publish_record(study.trial_folder(0), ended(asks[0]), search="5e6f7a8b")
    publish_record(study.trial_folder(1), ended(asks[1]), search="1a2b3c4d")
    publish_record(study.trial_folder(7), ended(replace(asks[1], number=7)), search="1a2b3c4d")
    again = open_ledger(url, PENDING, SPACE, trials=4)
    again.check_store(Store(tmp_path / "store"))
    found = again.reconcile(Store(tmp_path / "store"))
    assert (found.finished, found.owed, found.restored) == ((0,), (asks[1],), ())
    assert study.finished_numbers() == [0]


def ended(ask: Ask) -> TrialRecord:
    return TrialRecord(ask.number, "stopped", "others are better", ask.params, ask.seed)
