"""Many studies on one Ray: tasks × models × methods × seeds, each like a search of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from pipeline.driver.execute import connect
from pipeline.driver.search.check import check
from pipeline.driver.search.request import Search
from pipeline.driver.search.resolved import resolve
from pipeline.driver.search.run import run
from pipeline.driver.search.watcher import SilentWatcher, Watcher
from pipeline.fronts.front import Front

OnEnd = Callable[[Search, Front], None]


def run_sweep(
    requests: Sequence[Search], watcher: Watcher, *, ended: OnEnd = lambda _, __: None
) -> tuple[Front, ...]:
    """Run the studies one after the other on one Ray, or go on with them; those that are done take seconds.

    Args:
        requests: with the same resources; `minutes` are those of all studies together.
        watcher: is called as they proceed; a stage says which study begins.
        ended: is called with each study that has ended.

    Returns:
        The fronts; fewer where time was up.

    Raises:
        BadInput: one of them cannot be carried out; those that can be refused without reading rows are refused before
            anything is written.
    """
    for each in requests:
        check(each)
    fronts = []
    with connect(requests[0].resources, shared_bytes=_shared_bytes(requests)) as cluster:
        for count, each in enumerate(_in_time(requests), 1):
            watcher.stage(
                f"study {count} of {len(requests)}: {each.method} on {each.task} with {each.model}, seed {each.seed}"
            )
            front = run(each, watcher, cluster=cluster)
            fronts.append(front)
            ended(each, front)
    return tuple(fronts)


def _shared_bytes(requests: Sequence[Search]) -> int:
    """Return the size of the largest model: Ray's memory for shared inputs is set when it starts."""
    first = {each.model: each for each in requests}
    return max(resolve(each, SilentWatcher()).inputs.source.nbytes for each in first.values())


def _in_time(requests: Sequence[Search]) -> Iterator[Search]:
    """Yield the searches; the time that one leaves over is shared by the next ones."""
    started = time.monotonic()
    for place, each in enumerate(requests):
        if each.minutes is None:
            yield each
            continue
        left = each.minutes - (time.monotonic() - started) / 60
        if place and left <= 0:
            return
        yield replace(each, minutes=left / (len(requests) - place) if left > 0 else each.minutes)
