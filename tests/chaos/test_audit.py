"""What the audit of chaos reads of attempts: an audit that cannot fail is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.study.store import Store
from tests.chaos.audit import STUDY, Running, began_anew, running


def checkpoint(store: Store, attempt: int, *, resumed: bool) -> None:
    """An attempt's checkpoint, whose record says where the attempt began."""
    name = f"attempt-{attempt:02d}-1a2b3c4d-{attempt:08x}"
    folder = store.study(STUDY).trial_folder(4) / name / f"checkpoint-000-{attempt:07d}"
    folder.mkdir(parents=True)
    facts = {"resumed_at_epoch": "1.5"} if resumed else {}
    (folder / "record.json").write_text(json.dumps({"provenance": facts}))


@pytest.mark.parametrize("resumed", [True, False])
def test_an_attempt_that_began_anew_is_known_by_its_checkpoint(resumed: bool, tmp_path: Path) -> None:
    store = Store(tmp_path)
    checkpoint(store, 1, resumed=False)
    first = running(store)
    assert first == (Running(4, 1, True, from_start=(1,)),)
    checkpoint(store, 2, resumed=resumed)
    second = running(store)
    assert second == (Running(4, 2, True, (1,), (2,)) if resumed else Running(4, 2, True, (1, 2)),)
    assert began_anew([first, second]) == (set() if resumed else {4})
    assert began_anew([second]) == set(), "the second may have begun before the first had a checkpoint"
