"""Many studies on one Ray: tasks × models × methods × seeds, each like a search of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from pipeline.driver.execute import connect
from pipeline.driver.search.check import check
from pipeline.driver.search.request import Search, model_of
from pipeline.driver.search.resolved import resolve
from pipeline.driver.search.run import run
from pipeline.driver.search.watcher import SilentWatcher, Watcher
from pipeline.fronts.front import Front
from pipeline.study.records import BadInput

OnEnd = Callable[[Search, Front], None]


def requests_of(
    base: Search, *, tasks: Sequence[str], models: Sequence[str], methods: Sequence[str], seeds: int
) -> tuple[Search, ...]:
    """Return the searches of a sweep, seed by seed: when time is up, all have about as many.

    Args:
        base: the options that they share; its seed is the first.
        tasks: as of `Search.task`; empty for that of `base`, like `models` and `methods`.
        models: as of `Search.model`.
        methods: as of `Search.method`.
        seeds: how many.

    Raises:
        BadInput: no seed, or one name for several studies.
    """
    if seeds < 1:
        raise BadInput(f"--seeds is {seeds}. A sweep has one seed or more.")
    own = base.model != model_of(base.task)  # it was given
    found = tuple(
        replace(base, task=task, model=model, method=method, seed=base.seed + place)
        for place in range(seeds)
        for task in dict.fromkeys(tasks or (base.task,))
        for model in dict.fromkeys(models or (base.model if own else model_of(task),))
        for method in dict.fromkeys(methods or (base.method,))
    )
    if base.name is not None and len(found) > 1:
        raise BadInput(
            f"--name {base.name!r} cannot name {len(found)} studies. Leave it out: each has its own."
        )
    return found


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
