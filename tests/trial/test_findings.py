"""What a trial has found: what a later attempt takes over of it, and how its steps were run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pipeline.model.device import forms_of_a_gpu
from pipeline.study.records import Ask, HistoryRow, Rung, TrialRecord
from pipeline.trial.conformance.recorded import recorded
from pipeline.trial.findings import Findings
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.job import TrialJob
from pipeline.trial.training import loop
from pipeline.trial.trial import run_trial
from tests.kit.synthetic import point
from tests.kit.trials import CHANCE

pytestmark = pytest.mark.usefixtures("on_the_cpu")


def test_a_later_attempt_takes_over_all_that_was_found_and_remarked() -> None:
    run: Any = SimpleNamespace(device=torch.device("cpu"))
    row, rung = HistoryRow("tune", 0, 1.0, {"train_loss": 0.5}), Rung(0, 1.0, 8, (0.5,), (0.3,))
    before = TrialRecord(
        3,
        "complete",
        "at chance after the cut",
        {},
        1,
        points=(point(0.7, 0.5),),
        history=(row,),
        rungs=(rung,),
    )
    findings = Findings(run, started=0.0)
    findings.resume(before, epoch=1.5)
    assert (findings.points, findings.history, findings.rungs) == ([*before.points], [row], [rung])
    assert findings.reason == before.reason


def test_facts_of_recovery_stand_beside_those_of_tuning(
    make_inputs: Callable[..., TrialInputs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are replayed, by a stand-in for CUDA graphs: a shape is captured once it was seen often enough."""
    monkeypatch.setattr(loop, "capture_on", lambda *_: recorded)
    params = CHANCE | {"batch_size": 22, "tune_epochs": 30.0, "recover_epochs": 6.0, "target": 0.3}
    with forms_of_a_gpu():
        record = run_trial(
            make_inputs("chance"), TrialJob(Ask(3, params, 11), (tmp_path / "trial",)), lambda _: None
        )
    facts = record.provenance
    assert facts["step_graph"] in ("on", "off: no faster than eager")  # ten of each kind were timed
    assert facts["recover/step_graph"] == "undecided: the phase was over"
    assert {"row_seconds/graph", "recover/row_seconds/eager", "recover/row_seconds/graph"} <= facts.keys()
