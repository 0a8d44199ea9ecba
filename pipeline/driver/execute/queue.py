"""Tasks on Ray over a stream of items, each reported when it has ended, or over a list of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar, final

from pipeline.driver.execute.cluster import Cluster, room
from pipeline.driver.execute.trials import LOST_ATTEMPTS
from pipeline.trial.training.process import one_of_many_tasks

ROOM_CHECK_S = 5.0  # between two checks for more room

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
    """Run function(shared, item) for each item as a Ray task, as many at once as trials would be.

    An item is taken only when there is room for it, so that `items` may end early, when time is up. `ended` is
    called in the driver with each item's result or error; a lost worker is replaced LOST_ATTEMPTS times.
    """
    import ray

    start = _starter(cluster, function, shared)
    running: dict[Any, Item] = {}
    queue, at_once = iter(items), room(cluster)
    while True:
        while len(running) < at_once():
            item = next(queue, None)
            if item is None:
                break
            running[start(item)] = item
        if not running:
            return
        found, _ = ray.wait(list(running), timeout=ROOM_CHECK_S)
        if not found:
            continue
        (ready,) = found
        item = running.pop(ready)
        try:
            result: Result | Exception = ray.get(ready)
        except ray.exceptions.RayError as error:
            result = error
        ended(item, result)


@final
class SideTasks(Generic[Result]):
    """Ray tasks that run beside trials: function(shared, item) for each item."""

    def __init__(
        self,
        cluster: Cluster,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Sequence[Item],
        *,
        at_once: int,
        done: Callable[[], None],
        prepare: Callable[[Item, Sequence[Result]], Item] = lambda item, _: item,
    ) -> None:
        """Start none yet: `running` does.

        Args:
            cluster: what they run on; each has the resources of a trial.
            function: what is run.
            shared: put into Ray's object store once.
            items: one task each.
            at_once: how many run at a time, at most.
            done: called in the driver after each task.
            prepare: called with an item and the results so far before its task starts.
        """
        self._prepare = prepare
        self._start = _starter(cluster, function, shared)
        self._at_once, self._done = at_once, done
        self._waiting = deque(enumerate(items))
        self._running: dict[Any, int] = {}  # Ray's reference → the item's place
        self._results: dict[int, Result] = {}

    def running(self, *, wait: bool = False) -> int:
        """Take in what has ended, start what waits, and return how many run; with `wait`, until one has ended."""
        import ray

        if self._running:
            ended, _ = ray.wait(
                list(self._running),
                num_returns=1 if wait else len(self._running),
                timeout=None if wait else 0,
            )
            for reference in ended:
                self._results[self._running.pop(reference)] = ray.get(reference)
                self._done()
        while self._waiting and len(self._running) < self._at_once:
            place, item = self._waiting.popleft()
            item = self._prepare(item, list(self._results.values()))
            self._running[self._start(item)] = place
        return len(self._running)

    def results(self) -> list[Result]:
        """Wait for all tasks; return their results, in the order of the items."""
        while self.running():
            self.running(wait=True)
        return [self._results[place] for place in sorted(self._results)]


def run_each(
    cluster: Cluster,
    function: Callable[[Shared, Item], Result],
    shared: Shared,
    items: Sequence[Item],
    *,
    done: Callable[[], None],
) -> list[Result]:
    """Run function(shared, item) for each item as a Ray task, as many at once as there is room for.

    Returns:
        The results, in the order of the items; `done` is called after each.
    """
    return SideTasks(cluster, function, shared, items, at_once=len(items), done=done).results()


def _starter(
    cluster: Cluster, function: Callable[[Shared, Item], Result], shared: Shared
) -> Callable[[Item], Any]:
    """Return what starts function(shared, item) as a task and returns Ray's reference; `shared` is sent once."""
    import ray

    # a process that has imported torch is reused for the next item; on GPUs Ray would start a new one each time
    task: Any = ray.remote(
        num_cpus=cluster.cpus_per_trial,
        num_gpus=cluster.gpus_per_trial,
        max_retries=LOST_ATTEMPTS,
        max_calls=0,
    )(in_worker)
    reference = ray.put(shared)
    return lambda item: task.remote(function, reference, item, cluster.cpus_per_trial)


def in_worker(function: Callable[[Shared, Item], Result], shared: Shared, item: Item, cpus: float) -> Result:
    """Run function(shared, item) in a process of Ray's, with as many threads as a trial has."""
    with one_of_many_tasks(cpus):
        return function(shared, item)
