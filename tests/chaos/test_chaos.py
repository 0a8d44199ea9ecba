"""The short form of `make chaos`: what each round strikes is struck for real."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.rounds import FIRST_TRIALS, Chaos, Round


@pytest.mark.long
@pytest.mark.timeout(400)  # a guard against hanging: alone it takes 150 s on a slow machine
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's, of SQLAlchemy 2.1
def test_a_driver_a_trial_and_a_node_are_killed_and_nothing_is_lost_doubled_or_left(tmp_path: Path) -> None:
    told: list[Round] = []
    audit = Chaos(tmp_path, victims=("driver", "trial", "node"), seed=0, tracking=False).run(told.append)
    assert [each.victim for each in told] == ["driver", "trial", "node"]
    assert audit.clean, audit
    assert audit.trials >= FIRST_TRIALS
    assert sum(audit.states.values()) == audit.trials
    assert audit.resumed, "at least one of those that were struck had a checkpoint to go on from"


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")
def test_a_driver_is_paused_and_taken_over_another_is_told_to_end_and_nothing_is_lost(tmp_path: Path) -> None:
    told: list[Round] = []
    audit = Chaos(tmp_path, victims=("pause", "term"), seed=1, tracking=False).run(told.append)
    assert [(each.victim, each.note) for each in told] == [("pause", ""), ("term", "")]
    assert audit.clean, audit
    assert sum(audit.states.values()) == audit.trials
