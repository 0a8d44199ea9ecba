"""Items on Ray, one after the other as room is free, each heard of when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pipeline.execute.cluster import Cluster, room
from pipeline.execute.trials import LOST_ATTEMPTS, in_worker

LOOK_S = 5.0  # until it is looked again whether there is room for more

Result = TypeVar("Result")
Item = TypeVar("Item")
Shared = TypeVar("Shared")


def run_queue(
    cluster: Cluster,
    function: Callable[[Shared, Item], Result],
    shared: Shared,
    items: Iterable[Item],
    *,
    ended: Callable[[Item, Result | Exception], None],
) -> None:
    """function(shared, item) of the items as Ray tasks, as many at once as trials would be.

    An item is taken only when there is room for it, so that `items` may end early, when time is up. `ended` hears of
    each one, in the driver: its result, or what it raised; a worker that is lost is replaced LOST_ATTEMPTS times.
    """
    import ray

    task: Any = ray.remote(
        num_cpus=cluster.cpus_per_trial, num_gpus=cluster.gpus_per_trial, max_retries=LOST_ATTEMPTS
    )(in_worker)
    reference = ray.put(shared)
    running: dict[Any, Item] = {}
    queue, at_once = iter(items), room(cluster)
    while True:
        while len(running) < at_once():
            item = next(queue, None)
            if item is None:
                break
            running[task.remote(function, reference, item, cluster.cpus_per_trial)] = item
        if not running:
            return
        found, _ = ray.wait(list(running), timeout=LOOK_S)
        if not found:
            continue
        (ready,) = found
        item = running.pop(ready)
        try:
            result: Result | Exception = ray.get(ready)
        except ray.exceptions.RayError as error:
            result = error
        ended(item, result)
