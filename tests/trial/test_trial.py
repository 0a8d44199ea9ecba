"""One trial: its record, the law that interruption changes nothing, and the ends it can come to."""

import copy
import gc
import weakref
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from pipeline.methods.registry import METHODS
from pipeline.model.source import Weights, build
from pipeline.model.surgery import cut
from pipeline.study.pareto import front
from pipeline.study.records import Ask, FrontSoFar, Params, TrialRecord
from pipeline.study.store import RECOVERED, WEIGHTS, before_cut
from pipeline.task.batches import Batch
from pipeline.task.kinds import Classification
from pipeline.trial import checkpoint as resume
from pipeline.trial.components import make_method, make_network
from pipeline.trial.job import TrialJob
from pipeline.trial.measure import evaluate
from pipeline.trial.settings import CURVE_STEPS
from pipeline.trial.training.loss_checks import CHANCE_LEAST_STEPS
from pipeline.trial.trial import run_trial
from tests.kit.kinds import CLASSES
from tests.kit.synthetic import ANCHORS
from tests.kit.trials import (
    CHANCE,
    CHANCE_ROUNDS,
    SNIP,
    STEPS_PER_EPOCH,
    TRAIN,
    TWO_ROUNDS,
    Interruptions,
    Killed,
    assert_same,
    curve,
)

pytestmark = pytest.mark.usefixtures("on_the_cpu")


@pytest.fixture
def run(make_inputs, tmp_path):
    def run_one(
        method: str, params: Params, *, heard: list | None = None, dense: Weights | None = None, **changes
    ) -> TrialRecord:
        job = TrialJob(Ask(3, params, 11), (tmp_path / "attempt-0",))
        return run_trial(
            replace(make_inputs(method, **changes), dense=dense),
            job,
            (heard if heard is not None else []).append,
        )

    return run_one


# --- interrupted ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def through(make_inputs, tmp_path_factory):
    """The records of trials that nobody interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        folder = tmp_path_factory.mktemp("through")
        return {
            name: run_trial(make_inputs(name), TrialJob(Ask(3, params, 11), (folder / name,)), lambda _: None)
            for name, params in (("snip", TWO_ROUNDS), ("chance", CHANCE_ROUNDS))
        }


# the first and the last steps of each phase and one in its middle; all others in the long tests
TELLING = {1, 6, 7, 12, 15, 18}
EVERY_STEP = [
    pytest.param(step, marks=() if step in TELLING else pytest.mark.long)
    for step in range(1, 3 * STEPS_PER_EPOCH + 1)
]


@pytest.mark.parametrize("step", EVERY_STEP)
def test_a_trial_stopped_after_any_step_and_continued_gives_the_same_record(
    through, make_inputs, tmp_path, monkeypatch, step: int
):
    trial = Interruptions(make_inputs(), TWO_ROUNDS, tmp_path, monkeypatch)
    trial.start_and_die(kill_after=step)
    assert_same(trial.start(), through["snip"])


@pytest.mark.parametrize("step", [1, 8, 14])
def test_the_step_that_was_not_written_down_is_made_again(
    through, make_inputs, tmp_path, monkeypatch, step: int
):
    trial = Interruptions(make_inputs(), TWO_ROUNDS, tmp_path, monkeypatch)
    trial.start_and_die(kill_before=step)
    assert_same(trial.start(), through["snip"])


@pytest.mark.parametrize("step", [2, 9, 15])
def test_the_law_holds_for_chance_too(through, make_inputs, tmp_path, monkeypatch, step: int):
    trial = Interruptions(make_inputs("chance"), CHANCE_ROUNDS, tmp_path, monkeypatch)
    trial.start_and_die(kill_after=step)
    assert_same(trial.start(), through["chance"])


def test_a_trial_stopped_many_times_gives_the_same_record(through, make_inputs, tmp_path, monkeypatch):
    trial = Interruptions(make_inputs(), TWO_ROUNDS, tmp_path, monkeypatch)
    for _ in range(5):  # after 4, 7, 10, 13 and 16 steps
        trial.start_and_die(kill_after=4 if not trial.attempts else 3)
    record = trial.start()
    assert_same(record, through["snip"])
    assert record.attempts == 6


def test_a_torn_checkpoint_is_passed_over_for_an_older_attempt_s(through, make_inputs, tmp_path, monkeypatch):
    trial = Interruptions(make_inputs(), TWO_ROUNDS, tmp_path, monkeypatch)
    trial.start_and_die(kill_after=8)
    trial.start_and_die(kill_after=7)  # in recovery
    (newest,) = trial.attempts[1].glob("checkpoint-*")
    assert newest.name == "checkpoint-002-0000003"
    state = (newest / "state.pt").read_bytes()
    (newest / "state.pt").write_bytes(state[: len(state) // 2])
    assert_same(trial.start(), through["snip"])


def test_with_no_checkpoint_that_can_be_read_it_begins_anew(through, make_inputs, tmp_path, monkeypatch):
    trial = Interruptions(make_inputs(), TWO_ROUNDS, tmp_path, monkeypatch)
    trial.start_and_die(kill_after=8)
    (newest,) = trial.attempts[0].glob("checkpoint-*")
    (newest / "record.npz").write_bytes(b"")
    assert_same(trial.start(), through["snip"])


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_trial_whose_teller_dies_is_continued(through, make_inputs, tmp_path, epoch: int):
    heard: list[dict[str, float]] = []

    def tell(values: dict[str, float]) -> None:
        heard.append(values)
        if len(heard) == epoch:
            raise Killed

    def job(attempt: int) -> TrialJob:
        folders = tuple(tmp_path / str(i) for i in range(attempt + 1))
        return TrialJob(Ask(3, TWO_ROUNDS, 11), folders, checkpoint_s=0.0)

    with pytest.raises(Killed):
        run_trial(make_inputs(), job(0), tell)
    assert_same(run_trial(make_inputs(), job(1), tell), through["snip"])


def test_checkpoints_are_as_rare_as_requested(make_inputs, tmp_path):
    run_trial(make_inputs(), TrialJob(Ask(3, SNIP, 11), (tmp_path / "a",), checkpoint_s=1e6), lambda _: None)
    assert not list((tmp_path / "a").glob("checkpoint-*"))


def test_time_before_an_interruption_counts(make_inputs, tmp_path, monkeypatch):
    trial = Interruptions(make_inputs(), TWO_ROUNDS, tmp_path, monkeypatch)
    trial.start_and_die(kill_after=12)
    before = resume.load(list(trial.attempts)).so_far.seconds
    after = trial.start().seconds
    assert before > 0
    assert after > before


# --- the record -------------------------------------------------------------------------------------------


def test_the_curve_is_nested_from_everything_to_bare(through):
    for record in through.values():
        for round_ in (0, 1):
            points = curve(record, round_)
            assert 3 <= len(points) <= CURVE_STEPS
            assert all(later.masks <= earlier.masks for earlier, later in pairwise(points))
            assert [p.threshold for p in points] == sorted(p.threshold for p in points)
            assert points[0].threshold == -np.inf
            compressions = [p.measurement.compression for p in points]
            assert compressions == sorted(set(compressions))
            assert points[-1].masks.heads.any(axis=1).sum() == 1  # min_attention_blocks
            assert not points[-1].masks.neurons.any()
        assert curve(record)[0].measurement.compression == 0.0
        assert {len(p.predictions) for p in record.points} == {15}


def test_each_round_goes_on_from_what_the_last_one_cut(through):
    for record in through.values():
        first, second = curve(record, 0), curve(record, 1)
        assert any(point.masks.same(second[0].masks) for point in first)
        assert 0 < second[0].measurement.compression < record.recovered.measurement.compression


def test_the_chosen_point_is_on_the_curve_and_recovered_is_its_network(through, make_inputs):
    for name, record in through.items():
        assert record.points[-1] is record.recovered
        assert sum(point.kind == "recovered" for point in record.points) == 1
        chosen = next(p for p in curve(record, 1) if p.masks.same(record.recovered.masks))
        _, anatomy = build(make_inputs(name).source, seed=11)
        kept = anatomy.costs.kept(chosen.masks)
        for point in (chosen, record.recovered):
            assert point.measurement.encoder_parameters == kept
            assert point.measurement.compression == pytest.approx(1 - kept / anatomy.costs.encoder)
            assert point.measurement.macs == anatomy.costs.macs(chosen.masks, 24)
            assert (point.round, point.threshold) == (1, chosen.threshold)


@pytest.mark.parametrize("method", ["snip", "chance"])
def test_every_point_is_the_network_of_its_masks(run, make_inputs, method: str):
    params = (SNIP if method == "snip" else CHANCE) | {"tune_epochs": 0.0, "recover_epochs": 0.0}
    record, inputs = run(method, params), make_inputs(method)
    assert record.epochs == 0
    for point in record.points:
        model, anatomy = build(inputs.source, seed=11)  # no step was made: weights are those at the start
        cut(model, anatomy, point.masks)
        found = evaluate(model, inputs.data.validation, CLASSES)
        assert np.array_equal(found.predictions, point.predictions)
        labels = inputs.data.validation.labels
        assert point.measurement.metric == pytest.approx((point.predictions == labels).mean())


def test_without_recovery_the_cut_network_is_the_recovered_one(run):
    record = run("snip", SNIP | {"recover_epochs": 0.0})
    chosen = next(p for p in curve(record) if p.masks.same(record.recovered.masks))
    assert record.recovered == replace(chosen, kind="recovered")
    assert record.epochs == 2.0


@pytest.mark.parametrize(
    ("known", "kept"),
    [
        (None, {"round-00", "round-01", "recovered"}),
        ((), None),  # those of the trial's own front
        (((0.999, 0.0), (0.999, 1.0)), set()),  # nothing is better than these
    ],
)
def test_weights_are_written_of_networks_that_may_stand_on_the_front(
    make_inputs, tmp_path, through, known, kept
):
    anchors = replace(ANCHORS, constant=0.0)
    so_far = None if known is None else FrontSoFar("compression", anchors, known)
    ask = Ask(3, TWO_ROUNDS, 11, front=so_far)
    record = run_trial(make_inputs(), TrialJob(ask, (tmp_path,)), lambda _: None)
    assert_same(record, through["snip"])
    if kept is None:
        values = np.array([(p.measurement.metric, p.measurement.compression) for p in record.points])
        names = [RECOVERED if p.kind == "recovered" else before_cut(p.round) for p in record.points]
        kept = {names[place] for place in front(values)}
    assert {path.stem for path in tmp_path.glob(f"{WEIGHTS}/*")} == kept


def test_recovery_trains_the_cut_network(run):
    record = run("snip", SNIP | {"recover_epochs": 8.0, "learning_rate": 5e-3})
    chosen = next(p for p in curve(record) if p.masks.same(record.recovered.masks))
    rows = [row for row in record.history if row.phase == "recover"]
    assert [row.epoch for row in rows] == [3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    assert rows[-1].values["metric"] == record.recovered.measurement.metric
    assert "penalty" not in rows[0].values
    assert rows[-1].values["train_loss"] < rows[0].values["train_loss"]
    assert not np.array_equal(chosen.predictions, record.recovered.predictions)


def test_history_has_the_metric_of_every_epoch(run):
    heard: list[dict[str, float]] = []
    record = run("snip", SNIP | {"tune_epochs": 2.5, "recover_epochs": 1.0}, heard=heard)
    assert [(row.phase, row.epoch) for row in record.history] == [
        ("tune", 1.0),
        ("tune", 2.0),
        ("tune", 2.5),
        ("recover", 3.0),
        ("recover", 3.5),
    ]
    assert all(0 <= row.values["metric"] <= 1 for row in record.history)
    assert all(np.isfinite(list(row.values.values())).all() for row in record.history)
    assert record.history[2].values["metric"] == curve(record)[0].measurement.metric
    assert {"penalty", "norm/head.0.0", "norm/ffn.2"} <= record.history[0].values.keys()
    assert record.epochs == 3.5
    assert [values["epoch"] for values in heard] == [1.0, 2.0, 2.5, 3.0, 3.5]
    assert {values["epochs"] for values in heard} == {3.5}
    assert heard[0]["metric"] == record.history[0].values["metric"]


def test_a_record_has_its_provenance(through):
    record = through["snip"]
    assert (record.number, record.seed, record.params) == (3, 11, TWO_ROUNDS)
    assert record.provenance["version/torch"] == torch.__version__
    assert record.provenance["device"] == "cpu"
    assert record.provenance["precision"] == "fp32"
    assert record.seconds > 0


def test_the_seed_decides(through, make_inputs, tmp_path):
    other = run_trial(make_inputs(), TrialJob(Ask(3, TWO_ROUNDS, 12), (tmp_path,)), lambda _: None)
    assert other.history[0].values != through["snip"].history[0].values


def test_a_regression_is_scored_by_its_correlations(run):
    record = run("snip", SNIP, regression=True)
    assert record.state == "complete"
    assert {"pearson", "spearman"} < record.recovered.measurement.metrics.keys()
    assert record.recovered.predictions.dtype == np.float32


def test_bf16_is_written_down(run):
    record = run("snip", SNIP, precision="bf16")
    assert record.state == "complete"
    assert record.provenance["precision"] == "bf16"


def test_a_trial_too_short_to_be_compiled_is_the_eager_one(make_inputs, through, tmp_path):
    job = TrialJob(Ask(3, TWO_ROUNDS, 11), (tmp_path,))
    record = run_trial(replace(make_inputs(), compile="auto"), job, lambda _: None)
    assert record.provenance["compile"].endswith(("could not repay it", "the phase was over"))
    assert_same(replace(record, provenance=through["snip"].provenance), through["snip"])


# --- where to cut -----------------------------------------------------------------------------------------


def test_a_threshold_is_met_in_equal_steps_of_kept_parameters(run):
    epsilon = (
        1.0  # norms hardly move: scores are about 1 over the weights, 0.63 of a head and 2.5 of an ffn block
    )
    params = {"rounds": 3, "threshold": epsilon, "penalty_strength": 0.01, "spectral_bound": "off"}
    record = run("snip", SNIP | params)
    compression = 0.0
    for round_, left in ((0, 3), (1, 2), (2, 1)):
        points = curve(record, round_)
        assert points[0].measurement.compression == pytest.approx(compression)
        wanted = max(p.measurement.compression for p in points if p.threshold <= epsilon)
        part = compression + (wanted - compression) / left
        compression = min(
            p.measurement.compression for p in points if p.measurement.compression >= part - 1e-12
        )
    assert record.recovered.measurement.compression == pytest.approx(compression)
    assert record.recovered.threshold <= epsilon
    assert 0.1 < compression < 0.9  # else this test says nothing


def test_a_target_is_met_in_equal_steps_of_kept_parameters(run, make_inputs):
    record = run("chance", CHANCE | {"rounds": 3, "target": 0.6})
    _, anatomy = build(make_inputs().source, seed=0)
    unit = (anatomy.costs.head + anatomy.hidden_size) / anatomy.costs.encoder  # the largest one
    starts = [curve(record, round_)[0].measurement.compression for round_ in range(3)]
    for found, wanted in zip(
        [*starts, record.recovered.measurement.compression], (0.0, 0.2, 0.4, 0.6), strict=True
    ):
        assert wanted <= found < wanted + 1.5 * unit


def test_at_most_32_points_of_which_one_is_chosen(run):
    record = run("chance", CHANCE | {"recover_epochs": 0.0})  # 204 units
    points = curve(record)
    assert len(points) == CURVE_STEPS
    assert any(point.masks.same(record.recovered.masks) for point in points)
    gaps = np.diff([point.measurement.compression for point in points])
    assert gaps.max() < 0.1  # even in compression


@pytest.mark.parametrize(("threshold", "compression"), [(1e-9, 0.0), (1e9, None)])
def test_a_threshold_below_or_above_all_scores(run, threshold: float, compression: float | None):
    record = run("snip", SNIP | {"threshold": threshold})
    if compression is None:
        compression = curve(record)[-1].measurement.compression
    assert record.recovered.measurement.compression == compression


def test_nothing_is_left_of_attention_only_if_allowed(run):
    record = run("snip", SNIP | {"threshold": 1e9, "min_attention_blocks": 0})
    assert not record.recovered.masks.heads.any()
    assert record.state == "complete"


def test_more_rounds_than_steps_leave_some_without_any(run):
    params = SNIP | {"rounds": 3, "tune_epochs": 1 / STEPS_PER_EPOCH, "threshold": 1e9}
    record = run("snip", params, regression=True)  # its metric is another for each network
    assert record.state == "complete"
    assert [len(curve(record, round_)) > 1 for round_ in range(3)] == [True] * 3
    (row,) = (row for row in record.history if row.phase == "tune")
    at_the_start = [curve(record, round_)[0].measurement.metric for round_ in range(3)]
    assert row.values["metric"] == at_the_start[row.round]
    assert at_the_start[1] != at_the_start[2]  # else the line above says nothing


def test_a_trial_may_train_after_the_cut_only(run):
    record = run("snip", SNIP | {"tune_epochs": 0.0})
    assert [row.phase for row in record.history] == ["recover"]
    assert record.recovered.measurement.compression > 0
    assert record.epochs == 1.0


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_trial_may_start_from_the_dense_network(run, make_inputs, make_model, rounds: int):
    inputs = make_inputs()
    dense, anatomy = build(inputs.source, seed=5)
    with torch.no_grad():
        for parameter in dense.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    weights = {name: value.numpy() for name, value in dense.state_dict().items()}
    params = SNIP | {"tune_epochs": 0.0, "recover_epochs": 0.0, "rounds": rounds, "start_dense": True}
    record = run("snip", params, dense=weights)
    for point in record.points:
        network, parts = copy.deepcopy((dense, anatomy))
        cut(network, parts, point.masks)
        found = evaluate(network, inputs.data.validation, CLASSES)
        assert np.array_equal(found.predictions, point.predictions)
    plain = run("snip", params | {"start_dense": False}, dense=weights)
    assert not np.array_equal(plain.points[0].predictions, record.points[0].predictions)
    with pytest.raises(ValueError, match="starts dense"):
        run("snip", params)


# --- how it can end ---------------------------------------------------------------------------------------


def test_a_trial_that_diverges_is_failed_with_its_reason(run):
    record = run("snip", SNIP | {"learning_rate": 1e6, "spectral_bound": "off"})
    assert record.state == "failed"
    assert "loss" in record.reason
    assert record.points == ()
    assert 0 < record.epochs < 3


def test_what_was_found_before_a_failure_is_kept(run):
    record = run("chance", CHANCE | {"tune_epochs": 0.0, "learning_rate": 1e6})
    assert record.state == "failed"
    assert len(curve(record)) == CURVE_STEPS
    assert record.recovered is None


def test_a_penalty_that_is_no_number_fails_the_trial(run):
    record = run("snip", SNIP | {"penalty_strength": float("inf")})
    assert record.state == "failed"
    assert "not a number" in record.reason


def test_a_network_at_chance_ends_its_recovery_and_keeps_its_curve(run):
    params = SNIP | {"tune_epochs": 1.0, "recover_epochs": 20.0, "learning_rate": 1e-9}
    record = run("snip", params)
    assert record.state == "complete"
    assert record.reason.startswith("at chance after the cut")
    assert record.epochs == pytest.approx(1 + CHANCE_LEAST_STEPS / STEPS_PER_EPOCH)  # of 21
    assert len(curve(record)) > 3
    assert record.recovered.measurement.compression > 0


@pytest.mark.parametrize("kill_after", [None, 9])
def test_a_trial_out_of_memory_goes_on_with_its_batches_in_parts(
    through, make_inputs, tmp_path, monkeypatch, kill_after: int | None
):
    """A network that takes two rows at once, and no more after its eighth batch."""
    seen: list[int] = []
    loss = Classification.loss

    def too_much(self: Classification, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        seen.append(len(outputs))
        if len(seen) > 8 and len(outputs) > 2:
            raise torch.OutOfMemoryError("no room for this batch")
        return loss(self, outputs, batch)

    monkeypatch.setattr(Classification, "loss", too_much)
    checkpoint_s = 1e9 if kill_after is None else 0.0
    job = TrialJob(Ask(3, TWO_ROUNDS, 11), (tmp_path / "attempt-0",), checkpoint_s=checkpoint_s)
    record = run_trial(make_inputs(), job, lambda _: None)
    assert record.state == "complete"
    assert record.provenance["batch_parts"] == "4"
    assert "batch_parts" not in through["snip"].provenance
    assert record.epochs == through["snip"].epochs
    again = seen[
        9:
    ]  # rows of one epoch by its parts, twice or three times: from the start, or the last checkpoint
    assert max(again) == 1
    assert sum(again) == (3 * TRAIN if kill_after is None else 3 * TRAIN - sum(seen[:8]))


def test_out_of_memory_in_parts_too_is_raised(make_inputs, tmp_path, monkeypatch):
    networks, alive, counted = [], [], []

    def made(*args, **more):
        alive.append(sum(network() is not None for network in networks))
        found = make_network(*args, **more)
        networks.append(weakref.ref(found[0]))
        return found

    monkeypatch.setattr("pipeline.trial.run.make_network", made)
    monkeypatch.setattr("pipeline.trial.run.count_anew", counted.append)

    def too_much(*_, **__) -> None:
        raise torch.OutOfMemoryError("no room at all")

    monkeypatch.setattr(Classification, "loss", too_much)
    gc.disable()  # networks lie in cycles with their hooks: those stay until they are looked for
    try:
        with pytest.raises(torch.OutOfMemoryError, match="no room at all"):
            run_trial(make_inputs(), TrialJob(Ask(3, SNIP, 11), (tmp_path,)), lambda _: None)
    finally:
        gc.enable()
    assert alive == [0, 0], "the network that did not fit is gone before the second try"
    assert len(counted) == 2, "each try counts its peak memory anew"


def test_an_error_that_is_no_property_of_the_training_is_raised(make_inputs, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.raises(OSError, match="file"):
        run_trial(make_inputs(), TrialJob(Ask(3, SNIP, 11), (blocked,), checkpoint_s=0.0), lambda _: None)


# --- its parts --------------------------------------------------------------------------------------------


def test_a_method_gets_the_parameters_that_are_its_fields():
    assert make_method("snip", SNIP, CLASSES).penalty_strength == 0.5
    assert make_method("chance", CHANCE | {"penalty_strength": 1.0}, CLASSES) == METHODS["chance"](
        level="neuron"
    )
