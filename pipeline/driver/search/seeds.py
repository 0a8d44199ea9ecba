"""A study's seeds, one after the other: the same search again, so that fronts get their spread."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from pipeline.driver.search.request import Search
from pipeline.driver.search.run import run
from pipeline.driver.search.watcher import Watcher
from pipeline.fronts.front import Front
from pipeline.study.records import BadInput


def run_seeds(wanted: Search, watcher: Watcher, *, seeds: int) -> tuple[Front, ...]:
    """Runs, or goes on with, the studies of seeds `wanted.seed`, + 1, ...; `minutes` are those of all together.

    Their names end in -seedN, that of seed 0 does not.

    Raises:
        BadInput: what was asked cannot be done; nothing has been written.
    """
    if seeds < 1:
        raise BadInput(f"A search has one seed or more; --seeds is {seeds}.")
    return tuple(run(one, watcher) for one in _each(wanted, seeds))


def _each(wanted: Search, seeds: int) -> Iterator[Search]:
    """What is asked of each seed; time that one left is the next one's."""
    started = time.monotonic()
    for place in range(seeds):
        seed = wanted.seed + place
        name = f"{wanted.name}-seed{seed}" if wanted.name and seed and seeds > 1 else wanted.name
        minutes = wanted.minutes
        if minutes is not None and seeds > 1:
            left = minutes - (time.monotonic() - started) / 60
            if place and left <= 0:
                return
            minutes = left / (seeds - place) if left > 0 else minutes
        yield replace(wanted, seed=seed, name=name, minutes=minutes)
