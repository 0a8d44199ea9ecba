"""A trial whose batches two processes share: its record is that of one process, but for rounding."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.model.source import build
from pipeline.study.records import Ask, Params, TrialRecord
from pipeline.trial import checkpoint as checkpoints
from pipeline.trial.anchors import Banks, teach
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.job import TrialJob
from pipeline.trial.training.data_parallel import Group
from pipeline.trial.trial import run_trial
from tests.kit.distillation import CAP
from tests.kit.trials import CHANCE, SNIP, TWO_ROUNDS

pytestmark = [
    pytest.mark.usefixtures("on_the_cpu"),
    pytest.mark.filterwarnings(
        "ignore:This process .* is multi-threaded:DeprecationWarning"
    ),  # from Python 3.12 on
]

# every form of what depends on a whole batch: norms relative to those of the first batch, under a bound, by heads
PARAMS: Params = TWO_ROUNDS | {"reference": "pretrained"}


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other processes are forked from this one, which has torch; the interrupted trial starts them anew."""
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr("pipeline.trial.followers.multiprocessing.get_context", lambda _: context)


def two_cards(make_inputs: Callable[..., TrialInputs], method: str = "snip") -> TrialInputs:
    found = make_inputs(method)
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    source = replace(found.source, config=found.source.config | still)
    return replace(found, source=source, cards=2, device="cpu")


def assert_alike(one: TrialRecord, other: TrialRecord) -> None:
    assert one.state == other.state == "complete"
    assert len(one.points) == len(other.points)
    for point, same in zip(one.points, other.points, strict=True):
        assert (point.kind, point.round) == (same.kind, same.round)
        assert point.masks.same(same.masks)
        assert point.measurement.metric == pytest.approx(same.measurement.metric, abs=1e-6)
    for row, same_row in zip(one.history, other.history, strict=True):
        assert row.epoch == same_row.epoch
        assert row.values == pytest.approx(same_row.values, rel=1e-2, abs=1e-4)


def test_a_trial_of_two_rounds_interrupted_in_the_second(
    make_inputs: Callable[..., TrialInputs], tmp_path: Path
) -> None:
    inputs = two_cards(make_inputs)

    def job(*names: str) -> TrialJob:
        return TrialJob(Ask(3, PARAMS, 11), tuple(tmp_path / name for name in names), checkpoint_s=0.0)

    expected = run_trial(replace(inputs, cards=1), job("alone"), lambda _: None)

    class Killed(Exception):  # noqa: N818
        pass

    def kill(values: dict[str, float]) -> None:
        if values["epoch"] == 2:  # the second round's last step; the checkpoint is that of the step before
            raise Killed

    with pytest.raises(Killed):
        run_trial(inputs, job("first"), kill)
    left = checkpoints.load([tmp_path / "first"])
    assert left is not None
    assert (left.phase, left.masks is not None) == (1, True)
    assert_alike(run_trial(inputs, job("first", "second"), lambda _: None), expected)


@pytest.mark.usefixtures("forked")
def test_a_chain_is_that_of_one_process(make_inputs: Callable[..., TrialInputs], tmp_path: Path) -> None:
    chain: Params = {"recover": "chain", "ladder_steps": 3, "ladder_end": 0.9, "chain_batch": "sandwich"}
    inputs = two_cards(make_inputs, "chance")
    chain |= {"level": "head"}  # of as few units as may be: its curve is short
    found = [
        run_trial(
            replace(inputs, cards=cards),
            TrialJob(Ask(3, CHANCE | chain | {"tune_epochs": 1.0}, 11), (tmp_path / str(cards),)),
            lambda _: None,
        )
        for cards in (1, 2)
    ]
    assert {point.round for point in found[0].points if point.kind == "recovered"} == {1}
    assert_alike(found[1], found[0])


@pytest.mark.usefixtures("forked")
def test_a_fault_of_the_trial_ends_its_processes(
    make_inputs: Callable[..., TrialInputs], tmp_path: Path
) -> None:
    job = TrialJob(Ask(3, SNIP | {"learning_rate": 1e9}, 11), (tmp_path / "a",))
    record = run_trial(two_cards(make_inputs), job, lambda _: None)
    assert record.state == "failed"
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("parts", "size", "expected"),
    [
        (4, 2, [[(0, True), (2, True)], [(1, True), (3, True)]]),
        (3, 2, [[(0, True), (2, True)], [(1, True), (2, False)]]),
        (1, 3, [[(0, True)], [(0, False)], [(0, False)]]),
    ],
)
def test_every_process_has_as_many_parts_and_each_part_counts_once(
    parts: int, size: int, expected: list[list[tuple[int, bool]]]
) -> None:
    batches = [{"rows": torch.tensor(part)} for part in range(parts)]
    found = [
        [(int(part["rows"]), counts) for part, counts in Group(rank, size).own(batches)]
        for rank in range(size)
    ]
    assert found == expected


@pytest.mark.usefixtures("forked")
def test_all_processes_learn_from_the_snapshots_of_earlier_rounds(
    make_inputs: Callable[..., TrialInputs], tmp_path: Path
) -> None:
    """The first process alone takes them, at the end of a round; the other one's rows are contrasted with them, too."""
    inputs = two_cards(make_inputs)
    dense, _ = build(inputs.source, seed=5)
    weights = {key: value.numpy() for key, value in dense.state_dict().items()}
    inputs = replace(inputs, dense=weights, distill="cap")
    inputs = replace(inputs, teacher=teach(inputs, Banks(finetuned=True, pretrained=True)))
    found = [
        run_trial(
            replace(inputs, cards=cards),
            TrialJob(Ask(3, PARAMS | CAP, 11), (tmp_path / str(cards),)),
            lambda _: None,
        )
        for cards in (1, 2)
    ]
    assert {row.round for row in found[0].history if "distill_loss" in row.values} == {0, 1}
    assert_alike(found[1], found[0])
