"""Parameters of tiny trials, a trial that is killed and continued, and the comparison of two records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.study.records import Ask, Params, Point, TrialRecord
from pipeline.trial import checkpoint as resume
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.job import TrialJob
from pipeline.trial.trial import run_trial

SHARED: Params = {
    "learning_rate": 2e-3,
    "batch_size": 4,
    "warmup_fraction": 0.1,
    "weight_decay": 0.01,
    "tune_epochs": 2.0,
    "recover_epochs": 1.0,
    "rounds": 1,
    "score_per_parameter": False,
    "min_attention_blocks": 1,
}
SNIP: Params = SHARED | {
    "penalty_strength": 0.5,
    "shape": "log",
    "delta": 0.02,
    "norm": "rms",
    "reference": "pretrained",
    "unit_weight": "parameters",
    "ffn_weight": 1.0,
    "level": "head",
    "spectral_bound": "relative",
    "bound_absolute": 2.0,
    "bound_relative": 0.5,
    "bound_scope": "branch",
    "bound_warmup": 0.3,
    "threshold": 0.15,
}
CHANCE: Params = SHARED | {"level": "neuron", "target": 0.6}
TRAIN, STEPS_PER_EPOCH = 22, 6  # rows; the last batch of an epoch has two
# two rounds of 6 steps of tuning, 6 of recovery
TWO_ROUNDS: Params = SNIP | {"rounds": 2}
CHANCE_ROUNDS: Params = CHANCE | {"rounds": 2, "level": "head"}
MAGNITUDE: Params = SHARED | {
    "start_fraction": 0.1,
    "end_fraction": 0.8,
    "initial_sparsity": 0.0,
    "interval": 1,
    "scope": "network",
    "target": 0.7,
}
MOVEMENT: Params = SHARED | {
    "score_learning_rate": 0.05,
    "start_fraction": 0.0,
    "end_fraction": 0.8,
    "target": 0.7,
}
DEEPCUTS: Params = SHARED | {
    "saliency": "cam-shifted",
    "noise": 1e-3,
    "cycles": 1,
    "scope": "matrix",
    "rewind": True,
    "target": 0.7,
}


class Killed(Exception):  # noqa: N818
    """The process is gone."""


class Interruptions:
    """Runs a trial in attempts, and kills it where it is told to; each attempt writes one checkpoint at most."""

    def __init__(self, inputs: TrialInputs, params: Params, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.inputs, self.params, self.folder, self.patch = inputs, params, folder, patch
        self.attempts: tuple[Path, ...] = ()

    def start(self, *, kill_after: int | None = None, kill_before: int | None = None) -> TrialRecord:
        """A new attempt; killed right after a checkpoint of its n-th step, or while the n-th is being made."""
        self.attempts += (self.folder / f"attempt-{len(self.attempts)}",)
        alive = kill_after is None and kill_before is None
        job = TrialJob(Ask(3, self.params, 11), self.attempts, checkpoint_s=1e9 if alive else 0.0)
        save, steps = resume.save, 0

        def save_and_die(folder: Path, checkpoint: resume.Checkpoint) -> None:
            nonlocal steps
            steps += 1
            if steps == kill_after or (kill_before is not None and steps == kill_before - 1):
                save(folder, checkpoint)
            if steps in (kill_after, kill_before):
                raise Killed

        with self.patch.context() as patch:
            patch.setattr(resume, "save", save_and_die)
            return run_trial(self.inputs, job, lambda _: None)

    def start_and_die(self, **when: int) -> None:
        with pytest.raises(Killed):
            self.start(**when)


def assert_same(a: TrialRecord, b: TrialRecord) -> None:
    """All but the time it took."""
    assert len(a.points) == len(b.points)
    for one, other in zip(a.points, b.points, strict=True):
        assert one.masks.same(other.masks)
        assert np.array_equal(one.predictions, other.predictions)
        assert one.predictions.dtype == other.predictions.dtype
        scalars = [(p.kind, p.round, p.threshold, p.measurement) for p in (one, other)]
        assert scalars[0] == scalars[1]
    bare = [
        replace(
            record,
            points=(),
            seconds=0.0,
            attempts=1,
            provenance=record.provenance | {"resumed_at_epoch": ""},
        )
        for record in (a, b)
    ]
    assert bare[0] == bare[1]


def curve(record: TrialRecord, round_: int = 0) -> list[Point]:
    return [point for point in record.points if point.kind == "curve" and point.round == round_]


def uninterrupted(
    make_inputs: Callable[[str], TrialInputs], folder: Path, trials: Mapping[str, tuple[str, Params]]
) -> dict[str, TrialRecord]:
    """The records of trials on a CPU that nobody interrupts: name -> (method, settings)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.cuda.is_available", lambda: False)
        return {
            name: run_trial(
                make_inputs(method), TrialJob(Ask(3, params, 11), (folder / name,)), lambda _: None
            )
            for name, (method, params) in trials.items()
        }
