"""Trials that distil: interrupted and continued they are the same; so is a replay; the real command."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.cli.app import run as run_here
from pipeline.export.reopen import reopen
from pipeline.model.source import build
from pipeline.study.records import Ask, BadInput
from pipeline.study.store import Store
from pipeline.trial.anchors import Banks, teach
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.job import TrialJob
from pipeline.trial.replay import Goal, repeat_trial, replay_trial
from pipeline.trial.trial import run_trial
from tests.kit.distillation import CAP, KD
from tests.kit.toy import SHORT_CUT, prunefront_here, small, write_task
from tests.kit.trials import CHANCE_ROUNDS, STEPS_PER_EPOCH, TWO_ROUNDS, Interruptions, assert_same

pytestmark = pytest.mark.usefixtures("on_the_cpu")


DRAWN = CAP | {"cap_negatives": 8}  # of 22 rows: a step draws


@pytest.fixture(scope="module")
def distilled(make_inputs) -> Callable[[str, str], TrialInputs]:
    def give(method: str, name: str) -> TrialInputs:
        inputs = make_inputs(method)
        dense, _ = build(inputs.source, seed=5)
        weights = {key: value.numpy() for key, value in dense.state_dict().items()}
        inputs = replace(inputs, dense=weights, distill=name)
        return replace(inputs, teacher=teach(inputs, Banks(finetuned=True, pretrained=True)))

    return give


CASES = {"cap": ("snip", TWO_ROUNDS | DRAWN), "kd": ("chance", CHANCE_ROUNDS | KD)}


@pytest.fixture(scope="module")
def through(distilled, tmp_path_factory):
    """The records of trials that nobody interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        folder = tmp_path_factory.mktemp("through")
        return {
            name: run_trial(
                distilled(method, name), TrialJob(Ask(3, params, 11), (folder / name,)), lambda _: None
            )
            for name, (method, params) in CASES.items()
        }


def test_it_is_learned_in_tuning_and_recovery(through) -> None:
    for record in through.values():
        assert [row.phase for row in record.history] == ["tune", "tune", "recover"]
        assert all(row.values["distill_loss"] != row.values["train_loss"] for row in record.history)
    assert {name: record.provenance["distill"] for name, record in through.items()} == {
        "cap": "cap",
        "kd": "kd",
    }


@pytest.mark.parametrize(
    "step",
    [6, 7, 12, 17, *(pytest.param(step, marks=pytest.mark.long) for step in (1, 13, 3 * STEPS_PER_EPOCH))],
)
def test_stopped_after_a_step_and_continued_it_is_the_same(
    through, distilled, tmp_path, monkeypatch, step: int
) -> None:
    trial = Interruptions(distilled("snip", "cap"), TWO_ROUNDS | DRAWN, tmp_path, monkeypatch)
    trial.start_and_die(kill_after=step)
    assert_same(trial.start(), through["cap"])


def test_the_law_holds_for_kd(through, distilled, tmp_path, monkeypatch) -> None:
    trial = Interruptions(distilled("chance", "kd"), CHANCE_ROUNDS | KD, tmp_path, monkeypatch)
    trial.start_and_die(kill_after=9)
    trial.start_and_die(kill_after=5)
    assert_same(trial.start(), through["kd"])


def test_without_a_snapshot_it_begins_anew(through, distilled, tmp_path, monkeypatch) -> None:
    trial = Interruptions(distilled("snip", "cap"), TWO_ROUNDS | DRAWN, tmp_path, monkeypatch)
    trial.start_and_die(kill_after=14)
    snapshots = sorted(trial.attempts[0].glob("snapshot-*"))
    assert [path.name for path in snapshots] == ["snapshot-00.safetensors", "snapshot-01.safetensors"]
    snapshots[0].unlink()
    assert_same(trial.start(), through["cap"])


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_replay_is_the_recorded_network(through, distilled, name: str) -> None:
    method, params = CASES[name]
    record, inputs = through[name], distilled(method, name)
    job = TrialJob(Ask(3, params, 11), checkpoint_s=math.inf, keep_weights=False)
    recovered = record.recovered
    goal = Goal("recovered", 1, recovered.threshold, recovered.measurement.compression)
    repeated = repeat_trial(inputs, job, lambda _: None, goal=goal)
    second = next(p for p in record.points if (p.kind, p.round) == ("curve", 1))
    again = replay_trial(inputs, job, lambda _: None, cuts=(second.masks, recovered.masks))
    ours = dict(repeated.model.named_parameters())
    assert all(torch.equal(value, ours[key]) for key, value in again.model.named_parameters())
    plain = run_trial(replace(inputs, distill="none"), job, lambda _: None)
    losses = [[row.values["train_loss"] for row in each.history] for each in (plain, record)]
    assert losses[0] != losses[1]  # it makes a difference


def test_without_a_teacher_there_is_no_trial(make_inputs) -> None:
    inputs = replace(make_inputs("snip"), distill="kd")
    with pytest.raises(ValueError, match="teacher"):
        run_trial(inputs, TrialJob(Ask(0, TWO_ROUNDS | KD, 1)), lambda _: None)
    with pytest.raises(ValueError, match="dense network"):
        teach(inputs, Banks(finetuned=False, pretrained=False))


SPACE = (
    SHORT_CUT
    + """
[tune_epochs]
value = 1
[recover_epochs]
value = 1
[rounds]
value = 1
[kd_weight]
low = 0.2
high = 0.9
default = 0.5
"""
)


@pytest.mark.usefixtures("inline")
def test_a_search_through_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = write_task(tmp_path / "task", rows=160)
    (tmp_path / "space.toml").write_text(SPACE)
    store = tmp_path / "store"
    asked = ["search", *map(str, small(task)), "--space", str(tmp_path / "space.toml"), "--store", str(store)]
    asked += ["--concurrent", "1", "--latency-grid", "none", "--start", "dense"]
    run = prunefront_here(*asked, "--distill", "cap", "--trials", "2", "--json")
    assert run.returncode == 0, run.stderr
    assert "running the dense network on the training rows" in run.stderr
    front = json.loads(run.stdout)
    name = front["study"]
    assert (front["method"], front["distill"]) == ("snip", "cap")
    assert name.endswith("-snip-cap")

    study = reopen(Store(store), name)
    assert study.spec.approach == "snip+cap"
    teacher = study.inputs.teacher
    assert teacher is not None
    assert teacher.pretrained is not None  # what a folder holds is pretrained
    record = study.store.study(name).read_record(1)
    assert record.state == "complete"
    assert 0.2 <= float(record.params["kd_weight"]) <= 0.9
    job = TrialJob(Ask(1, record.params, record.seed), checkpoint_s=math.inf, keep_weights=False)
    again = run_trial(study.inputs, job, lambda _: None)  # what `confirm` and `export` rest on
    for one, other in zip(again.points, record.points, strict=True):
        assert np.array_equal(one.predictions, other.predictions)

    def here(*arguments: str) -> tuple[int, str]:
        code = run_here(list(arguments))
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    assert "kd_weight" in here("best", name, "--store", str(store))[1]
    assert "snip+cap" in here("show", name, "--store", str(store))[1]
    code, said = here(*asked, "--distill", "kd", "--name", name)
    assert code == 2
    assert "distill: it is" in said
    with study.store.study(name).origin.teacher().open("r+b") as file:
        file.truncate(100)
    with pytest.raises(BadInput, match="Remove the file"):
        reopen(Store(store), name)


@pytest.mark.parametrize(
    ("arguments", "space", "says"),
    [
        (["--distill", "tinybert"], "", "kd"),
        (["--distill", "cap"], "[cap_pretrained]\nvalue = true\n", "pretrained"),
        ([], "[kd_weight]\nvalue = 0.5\n", "kd_weight"),
        (["--distill", "kd"], "[cap_negatives]\nvalue = 5\n", "cap_negatives"),
    ],
    ids=["unknown", "no pretrained model", "keys without it", "keys of another"],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], space: str, says: str
) -> None:
    (tmp_path / "space.toml").write_text(space)
    store = tmp_path / "store"
    code = run_here(["search", "--space", str(tmp_path / "space.toml"), "--store", str(store), *arguments])
    assert code == 2
    assert says in capsys.readouterr().err
    assert not store.exists()


def test_a_ladder_goes_on_from_its_last_checkpoint(distilled, tmp_path, monkeypatch) -> None:
    """Snapshots are of the rounds of tuning; the ladder's networks are rounds of their own, and leave none."""
    ladder = TWO_ROUNDS | DRAWN | {"recover": "ladder", "ladder_steps": 2, "ladder_end": 0.8}
    inputs = distilled("snip", "cap")
    whole = run_trial(inputs, TrialJob(Ask(3, ladder, 11), (tmp_path / "whole",)), lambda _: None)
    trial = Interruptions(inputs, ladder, tmp_path, monkeypatch)
    trial.start_and_die(
        kill_after=2 * STEPS_PER_EPOCH + 5
    )  # of 12 steps of tuning and two networks of 3 each
    found = trial.start()
    assert float(found.provenance["resumed_at_epoch"]) == pytest.approx(17 / STEPS_PER_EPOCH, abs=1e-3)
    assert_same(found, whole)
