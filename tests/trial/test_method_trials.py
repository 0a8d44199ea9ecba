"""Every method runs a whole trial with the parameters of its own space, where it may in two rounds, to its target."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from pipeline.methods.registry import METHODS, in_one_round, ranks_weights
from pipeline.model.source import ModelSource
from pipeline.study.records import Ask, Params, Point, TrialRecord
from pipeline.study.space import load_space
from pipeline.task.batches import TaskData
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.job import TrialJob
from pipeline.trial.trial import run_trial
from tests.kit.kinds import CLASSES
from tests.kit.pruner import tiny_pruner

SHORT: Params = {"batch_size": 4, "learning_rate": 2e-3}
TARGET = 0.2


@pytest.fixture(scope="module")
def make_inputs(make_config, make_split):
    def make(method: str) -> TrialInputs:
        config = json.loads(make_config("bert", layers=3).to_json_string())
        data = TaskData(*(make_split(rows=rows, seed=seed) for seed, rows in enumerate((12, 6, 9))))
        source = ModelSource("tiny", "0", config, {}, {})
        fitted = tiny_pruner() if METHODS[method].needs_fit else None
        return TrialInputs(method, CLASSES, "fp32", 24, source, data, fitted=fitted)

    return make


@pytest.fixture
def run(make_inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("pipeline.trial.settings.CURVE_STEPS", 8)

    def run_one(method: str, changes: Params) -> TrialRecord:
        params = load_space(method, file=None, pretrained=True).defaults() | SHORT | changes
        return run_trial(
            make_inputs(method), TrialJob(Ask(0, params, 3), (tmp_path / "attempt-0",)), lambda _: None
        )

    return run_one


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_trial_of_every_method(run, method):
    rounds = 1 if in_one_round(method) else 2  # more are refused (tests/driver/search/test_sparsity.py)
    changes: Params = {"tune_epochs": 2, "recover_epochs": 1, "rounds": rounds}
    has_target = "target" in load_space(method, file=None, pretrained=True).keys
    record = run(method, changes | ({"target": TARGET} if has_target else {}))
    assert record.state == "complete", record.reason
    assert record.recovered is not None
    compressions = [point.measurement.compression for point in record.points if point.kind == "curve"]
    assert compressions[0] == 0.0
    if ranks_weights(method):
        assert set(compressions) == {0.0}
    curves = [
        [p for p in record.points if (p.kind, p.round) == ("curve", round_)] for round_ in range(rounds)
    ]
    for curve in curves:
        assert len(curve) > 1
        assert np.all(np.diff([p.measurement.share for p in curve]) > 0)
        assert all(b.masks <= a.masks for a, b in pairwise(curve))
    if has_target:
        _assert_reached(record.recovered.measurement.share, curves[-1], weights=ranks_weights(method))


def _assert_reached(reached: float, curve: list[Point], *, weights: bool) -> None:
    """Check that a target is reached to within one unit."""
    if weights:
        assert reached == pytest.approx(TARGET, abs=2e-3)  # of 36 matrices that lose a share each, 36 weights
        return
    assert TARGET <= reached <= TARGET + 0.34  # a layer of three
    shares = [point.measurement.share for point in curve]
    assert max((share for share in shares if share < reached), default=0.0) < TARGET
