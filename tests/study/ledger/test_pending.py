"""Studies whose dense network is trained beside their trials: their ledger, before and after it is known."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import optuna
import pytest

from pipeline.study.ledger import open_ledger
from pipeline.study.ledger.frozen import is_pending
from pipeline.study.records import Anchors, BadInput, StudySpec
from pipeline.study.space import load_space
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
    assert open_ledger(url, other, SPACE, trials=4).owed() == ()
    assert frozen(url)["seed"] == other.seed


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
