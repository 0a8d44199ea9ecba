"""Phases and schedules, by hand."""

import pytest

from pipeline.trial.settings import TrialSettings
from pipeline.trial.training.phases import phases, schedule, steps_per_epoch


def test_the_schedule_by_hand():
    factors = [schedule(step, steps=10, warmup_fraction=0.2) for step in range(10)]
    assert factors == pytest.approx([1 / 3, 2 / 3, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert schedule(0, steps=4, warmup_fraction=0.0) == 1.0
    assert schedule(0, steps=1, warmup_fraction=1.0) == 0.5


def test_an_epoch_has_a_batch_for_the_rows_that_are_left():
    assert [steps_per_epoch(rows, 4) for rows in (1, 4, 5, 8)] == [1, 1, 2, 2]


def test_phases_by_hand():
    settings = TrialSettings(
        learning_rate=1e-3,
        batch_size=4,
        warmup_fraction=0.1,
        weight_decay=0.01,
        tune_epochs=2.0,
        recover_epochs=0.5,
        rounds=4,
        score_per_parameter=False,
        min_attention_blocks=1,
        threshold=0.15,
        target=None,
        start_dense=False,
        rewind=False,
    )
    found = phases(settings, train_rows=10, seed=7)  # 3 steps per epoch
    assert [(p.name, p.round, p.first, p.steps) for p in found] == [
        ("tune", 0, 0, 2),
        ("tune", 1, 2, 1),
        ("tune", 2, 3, 1),
        ("tune", 3, 4, 2),
        ("recover", 3, 6, 2),
    ]
    assert {p.seed for p in found} == {7}
