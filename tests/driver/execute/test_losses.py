"""How the executor tells a lost machine from a process that died, and what it counts: on Tune's own objects' fields."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Never

import pytest
from ray.tune.experiment import Trial

from pipeline.driver.execute import Loss, Resources, connect, run_trials
from pipeline.driver.execute.tune_adapters import QueueSearcher, RungScheduler
from pipeline.study.records import Ask, TrialRecord
from pipeline.study.store import Store, StudyStore
from tests.kit.queue import FiveTrials
from tests.kit.synthetic import spec

# what Ray 2.60 writes of an actor
NODE = """The actor died unexpectedly before finishing this task.
The actor died because its node has died. Node Id: 12ab
\tthe actor's node was terminated unexpectedly: health check failed"""
CUT = """The actor cc1f is unavailable: The actor is temporarily unavailable: RpcError: RPC error: Socket closed
rpc_code: 14. The task may or may not have been executed on the actor."""  # of a node that was killed
PROCESS = """The actor died unexpectedly before finishing this task.
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker
unexpectedly exits with a connection error code 2. End of file."""
RAISED = "Traceback (most recent call last):\n  File x\nRuntimeError: A later attempt has begun"
MEMORY = "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory."


class Losses(FiveTrials):
    """Notes why attempts have ended."""

    def __init__(self, *, begun: bool) -> None:
        super().__init__()
        self.losses: list[Loss] = []
        self._has_begun = begun

    def on_restart(self, number: int, loss: Loss) -> bool:
        self.losses.append(loss)
        return self._has_begun


@pytest.mark.parametrize(
    ("said", "loss"),
    [
        (NODE, Loss(node_lost=True)),
        (CUT, Loss(node_lost=True)),
        (PROCESS, Loss()),
        (RAISED, Loss(raised="RuntimeError: A later attempt has begun")),
        (MEMORY, Loss(reason="out of memory: the node that it ran on had none left")),
    ],
    ids=["node", "cut", "process", "raised", "memory"],
)
@pytest.mark.parametrize("begun", [True, False])
def test_what_ray_says_of_a_loss_is_passed_on(said: str, loss: Loss, begun: bool, tmp_path: Path) -> None:
    queue = Losses(begun=begun)
    searcher = QueueSearcher(queue, lambda: 1)
    searcher.suggest("t1")
    (tmp_path / "error.txt").write_text(
        f"Failure # 1 (occurred at noon)\n{PROCESS}\nFailure # 2 (noon)\n{said}\n"
    )
    trial: Any = SimpleNamespace(
        trial_id="t1",
        status=Trial.ERROR,
        error_file=str(tmp_path / "error.txt"),
        run_metadata=SimpleNamespace(num_failures=2),
    )
    RungScheduler(searcher).on_trial_error(None, trial)
    assert queue.losses == [loss]
    assert trial.run_metadata.num_failures == (0 if begun else 2), (
        "a process that never begins is Tune's to count"
    )


def dies(*_: object) -> Never:
    """A trial whose process dies each time, as of a fault in a library."""
    os._exit(1)


class Dying(FiveTrials):
    """One trial, which is given up after its third loss: four processes, of which Tune would have given up the last."""

    def __init__(self, study: StudyStore) -> None:
        super().__init__()
        self.asks = [Ask(0, {}, 0)]
        self.study = study
        self.losses: list[Loss] = []
        self.errors: dict[int, str | None] = {}

    def on_restart(self, number: int, loss: Loss) -> bool:
        self.losses.append(loss)
        if len(self.losses) == 3:
            self.study.write_record(TrialRecord(number, "failed", "worker lost 3 times", {}, 0))
        return True

    def on_end(self, number: int, error: str | None) -> None:
        self.errors[number] = error


@pytest.mark.long
@pytest.mark.usefixtures("one_ray")
def test_a_process_that_dies_is_started_again_until_the_queue_gives_up(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_spec(spec("toy"))
    queue = Dying(store.study("toy"))
    with connect(Resources(concurrent=1), shared_bytes=0) as cluster:
        run_trials(cluster, None, store=store, study="toy", queue=queue, body=dies)  # type: ignore[arg-type]
    assert queue.losses == [Loss()] * 3, "a process that died alone is no lost node"
    assert queue.errors == {0: None}, "the fourth process found the record"
