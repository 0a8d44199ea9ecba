"""A look ahead in mid-training: it changes nothing, and sees what the trial would give."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.study.records import TUNED, Ask, Rung
from pipeline.study.store import load_record
from pipeline.trial.job import TrialJob
from pipeline.trial.rungs import RUNG_STEPS, rung_split, rung_steps
from pipeline.trial.training.phases import Phase
from pipeline.trial.trial import run_trial
from tests.kit.trials import CHANCE, DEEPCUTS, MOVEMENT, SNIP, assert_same

pytestmark = pytest.mark.usefixtures("on_the_cpu")


def job(folder: Path, params: dict, *rungs: float) -> TrialJob:
    return TrialJob(Ask(3, params, 11, rungs=rungs), (folder / "attempt-0",))


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("snip", SNIP),
        ("snip", SNIP | {"rounds": 2}),
        ("chance", CHANCE),
        ("movement", MOVEMENT | {"start_fraction": 0.4}),
        ("deepcuts", DEEPCUTS),
    ],
    ids=["snip", "snip in rounds", "chance", "movement", "deepcuts"],
)
def test_a_trial_that_is_looked_at_gives_the_record_of_one_that_is_not(
    make_inputs, tmp_path: Path, method: str, params: dict
) -> None:
    inputs, shown = make_inputs(method), []
    plain = run_trial(inputs, job(tmp_path / "plain", params), lambda _: None)
    looked = run_trial(inputs, job(tmp_path / "looked", params, 0.2, 0.5, 0.8), lambda _: None, shown.append)
    tuned = [rung for rung in shown if rung.index == TUNED]
    for round_, curve in enumerate(tuned):
        points = [p.measurement for p in looked.points if (p.kind, p.round) == ("curve", round_)]
        assert curve.metric == tuple(each.metric for each in points)
    assert len(tuned) == params["rounds"]
    shown = [rung for rung in shown if rung.index != TUNED]
    assert looked.rungs == tuple(shown)
    assert [rung.index for rung in shown] == [0, 1, 2]
    assert_same(plain, looked.__class__(**{**vars(looked), "rungs": ()}))
    for rung in shown[:2]:
        assert 1 < len(rung.metric) <= RUNG_STEPS
        gone = rung.sparsity if inputs.zeroes else rung.compression
        assert gone[0] == pytest.approx(0.0, abs=1e-9) or params["rounds"] > 1 or method == "movement"
        assert list(gone) == sorted(gone)
    recovering = shown[2]  # past the cut: what was found, and the network that is being recovered
    assert len(recovering.metric) == len([p for p in looked.points if p.kind == "curve"]) + 1
    gone = recovering.sparsity if inputs.zeroes else recovering.compression
    assert gone[-1] == looked.recovered.measurement.share


def test_a_look_at_the_last_step_sees_the_curve_that_follows(make_inputs, tmp_path: Path) -> None:
    params = SNIP | {"recover_epochs": 0.0}
    shown: list[Rung] = []
    # 12 steps: a rung on the cut comes one step before it, where almost nothing is left to learn
    params["learning_rate"] = 1e-12
    record = run_trial(make_inputs(), job(tmp_path, params, 11 / 12), lambda _: None, shown.append)
    by_compression = {round(p.measurement.compression, 9): p.measurement.metric for p in record.points}
    for metric, compression in zip(shown[0].metric, shown[0].compression, strict=True):
        assert by_compression[round(compression, 9)] == metric


def test_a_trial_that_is_ended_at_a_rung_leaves_its_record_so_far(make_inputs, tmp_path: Path) -> None:
    def stop(_: Rung) -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        run_trial(make_inputs(), job(tmp_path, SNIP, 0.5), lambda _: None, stop)
    left = load_record(tmp_path / "attempt-0")
    assert (left.state, left.points, len(left.rungs), left.epochs) == ("stopped", (), 1, 1.5)
    assert left.history


def test_where_rungs_are() -> None:
    phases = (Phase("tune", 0, 0, 12, 0), Phase("recover", 0, 12, 12, 0))
    assert rung_steps(phases, (0.25, 0.5, 0.75)) == {6: 0, 11: 1, 18: 2}
    assert rung_steps(phases, (0.0, 0.001, 1.0)) == {23: 2}
    assert rung_steps((Phase("recover", 0, 0, 0, 0),), (0.5,)) == {}


def test_rungs_see_the_same_part_of_validation(make_split) -> None:
    rows = make_split(rows=1100)
    part = rung_split(rows)
    assert len(part) == 512
    assert part.ids[0] == rows.ids[0]
    assert part.ids[-1] == rows.ids[-1]
    assert len(set(part.ids)) == 512
    assert len(rung_split(make_split(rows=15))) == 15
