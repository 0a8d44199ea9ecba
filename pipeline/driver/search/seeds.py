"""The same search with several seeds, one after the other: their fronts show the spread."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from pipeline.driver.search.request import Search
from pipeline.driver.search.run import run
from pipeline.driver.search.watcher import Watcher
from pipeline.fronts.front import Front
from pipeline.study.records import BadInput


def run_seeds(request: Search, watcher: Watcher, *, seeds: int) -> tuple[Front, ...]:
    """Run the studies of the seeds from `request.seed` on, or go on with them.

    A study's name ends in -seedN; that of seed 0 does not.

    Args:
        request: the search; `minutes` are those of all studies together.
        watcher: is called as the searches proceed.
        seeds: how many.

    Raises:
        BadInput: the request cannot be carried out; nothing has been written.
    """
    if seeds < 1:
        raise BadInput(f"--seeds is {seeds}. A search has one seed or more.")
    return tuple(run(one, watcher) for one in _each(request, seeds))


def _each(request: Search, seeds: int) -> Iterator[Search]:
    """Yield the search of each seed; the time that one seed leaves over is shared by the next ones."""
    started = time.monotonic()
    for place in range(seeds):
        seed = request.seed + place
        name = f"{request.name}-seed{seed}" if request.name and seed and seeds > 1 else request.name
        minutes = request.minutes
        if minutes is not None and seeds > 1:
            left = minutes - (time.monotonic() - started) / 60
            if place and left <= 0:
                return
            minutes = left / (seeds - place) if left > 0 else minutes
        yield replace(request, seed=seed, name=name, minutes=minutes)
