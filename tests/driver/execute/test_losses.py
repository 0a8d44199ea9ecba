"""How the executor tells a lost machine from a process that died, and what it counts: on Tune's own objects' fields."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial

from pipeline.driver.execute import Loss
from pipeline.driver.execute.tune_adapters import QueueSearcher, RungScheduler
from tests.kit.queue import FiveTrials

# what Ray 2.60 writes of an actor
NODE = """The actor died unexpectedly before finishing this task.
The actor died because its node has died. Node Id: 12ab
\tthe actor's node was terminated unexpectedly: health check failed"""
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
        (PROCESS, Loss()),
        (RAISED, Loss(raised="RuntimeError: A later attempt has begun")),
        (MEMORY, Loss(reason="out of memory: the node that it ran on had none left")),
    ],
    ids=["node", "process", "raised", "memory"],
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
