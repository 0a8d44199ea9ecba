"""One task alone on a machine: a timing must not be disturbed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pipeline.driver.execute.cluster import Cluster
from pipeline.driver.execute.queue import in_worker

Result = TypeVar("Result")
Item = TypeVar("Item")
Shared = TypeVar("Shared")

TIMEOUT_S = 3600.0  # long: others may use the cluster, too
LATER_S = 2.0  # processes that start together have imported the same within about this time
IMPORTS_S = 60.0


class NeverAlone(RuntimeError):  # noqa: N818 (what happened, in a word)
    """No machine of the cluster was free for long enough."""


def run_alone(
    cluster: Cluster,
    function: Callable[[Shared, Item], Result],
    shared: Shared,
    item: Item,
    *,
    timeout_s: float = TIMEOUT_S,
) -> Result:
    """Run function(shared, item) as a Ray task with all cores of one machine, and one whole GPU if trials use any.

    Nothing else of this Ray cluster runs beside it there. It has as many threads as a trial. Of several machines
    it is always the same one, as long as they stay.

    Raises:
        NeverAlone: the task has not ended within `timeout_s`.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    rows: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    node, cores = _machine(rows, gpu=cluster.gpus_per_trial > 0)
    if cluster.marks is not None:
        _wait_for_imports(cluster.marks, round(cores))
    alone: dict[str, Any] = {
        "num_cpus": cores,
        "num_gpus": 1 if cluster.gpus_per_trial > 0 else 0,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
    }
    task: Any = ray.remote(**alone)(in_worker)
    pending = task.remote(function, ray.put(shared), item, cluster.cpus_per_trial)
    ready, _ = ray.wait([pending], timeout=timeout_s)
    if not ready:
        ray.cancel(pending, force=True)
        raise NeverAlone(
            f"no machine of the cluster had all its cores free within {timeout_s / 60:g} minutes"
        )
    result: Result = ray.get(pending)
    return result


def _wait_for_imports(marks: Path, cores: int) -> None:
    """Wait until every process of this machine's Ray has imported what it does at its start.

    No task asks them: Ray gives no trial a process that has run a task, and a new one would import all of it again.
    Where fewer have been started than there are cores, the wait ends LATER_S after the last mark.
    """
    end, count = time.monotonic() + IMPORTS_S, 0
    while count < cores and time.monotonic() < end:
        time.sleep(0.05)
        if (now := len(list(marks.iterdir()))) > count:
            count, end = now, time.monotonic() + LATER_S


def _machine(nodes: list[dict[str, Any]], *, gpu: bool) -> tuple[str, float]:
    """Return (id, cores) of the machine with most cores that can run a trial; of equal ones the first id."""
    found = [
        (node["NodeID"], float(node["Resources"].get("CPU", 0.0)))
        for node in nodes
        if node["Alive"] and (not gpu or node["Resources"].get("GPU", 0.0) >= 1)
    ]
    return min(found, key=lambda each: (-each[1], each[0]))
