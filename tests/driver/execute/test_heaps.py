"""A process that runs trials has one heap: what one trial frees, the next one has."""

import gc
import os
import weakref
from pathlib import Path

import pytest

from pipeline.driver.execute import Resources, connect, run_each, run_trials
from pipeline.driver.execute.queue import in_worker
from pipeline.driver.execute.start import SPARE
from pipeline.study.records import TrialRecord
from pipeline.study.store import Store
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.job import TrialJob
from tests.kit.queue import FiveTrials
from tests.kit.synthetic import spec

LEFT: list[weakref.ref[object]] = []  # of a worker's earlier trials


@pytest.mark.usefixtures("one_ray")
def test_workers_have_one_heap_and_see_no_gpu_that_is_not_theirs() -> None:
    names = ["MALLOC_ARENA_MAX", "PYTORCH_CUDA_ALLOC_CONF", "CUDA_VISIBLE_DEVICES"]
    with connect(Resources(concurrent=1), shared_bytes=0) as cluster:
        found = run_each(cluster, lambda _, name: os.environ.get(name), None, names, done=lambda: None)
        assert cluster.device == "cpu"
    assert found == ["1", "expandable_segments:True", ""]


@pytest.mark.usefixtures("one_ray")
def test_ray_runs_no_process_that_serves_none_of_ours() -> None:
    """And it has those that are left out by the names by which they are."""
    from ray._private import worker
    from ray._private.node import Node

    assert all(callable(getattr(Node, name)) for name in SPARE)
    running = {*worker._global_node.all_processes}
    assert "raylet" in running
    assert not running & {"log_monitor", "monitor", "dashboard"}, running


class Ring:
    """What nobody holds but itself, as a network whose hooks know it."""

    def __init__(self) -> None:
        self.ring = self


def test_what_work_leaves_in_cycles_goes_with_it() -> None:
    left = []
    gc.disable()
    try:
        in_worker(lambda _, __: left.append(weakref.ref(Ring())), None, None, 1)
        assert left[0]() is None
    finally:
        gc.enable()


def body(_inputs: TrialInputs, job: TrialJob, *_tell: object) -> TrialRecord:
    """Says how many rings of earlier trials there are in its process, and leaves one."""
    gc.disable()  # a ring is so small that Python might find it by itself
    alive = sum(ring() is not None for ring in LEFT)
    said = f"{alive} of {len(LEFT)}"
    LEFT.append(weakref.ref(Ring()))
    return TrialRecord(job.ask.number, "failed", said, job.ask.params, job.ask.seed)


@pytest.mark.usefixtures("one_ray")
def test_what_a_trial_leaves_in_cycles_is_gone_before_the_next_one(tmp_path: Path) -> None:
    store, queue = Store(tmp_path), FiveTrials()
    store.write_spec(spec("toy"))
    count = len(queue.asks)
    with connect(Resources(concurrent=1), shared_bytes=0) as cluster:
        run_trials(cluster, None, store=store, study="toy", queue=queue, body=body)  # type: ignore[arg-type]
    said = [store.study("toy").read_record(number).reason for number in range(count)]
    assert said == [f"0 of {number}" for number in range(count)]
