"""Searches without Ray: trials one after the other in the test's own process, as a worker would run them.

For tests of what a search asks for, finds and writes; what Ray does with it is tested on Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from itertools import count
from typing import Any

import pytest

from pipeline.driver.execute import Cluster, Resources, TrialQueue, cluster_of_this_machine
from pipeline.driver.execute import trials as worker
from pipeline.driver.execute.protocol import Event, Report
from pipeline.study.store import Store
from pipeline.trial.latency import timing

USERS = {
    "pipeline.driver.search.run": ("connect", "run_trials"),
    "pipeline.driver.search.sweep": ("connect",),
    "pipeline.driver.search.dense": ("run_each",),
    "pipeline.driver.search.latency": ("run_alone",),
    "pipeline.driver.plan.planning": ("connect", "run_each"),
    "pipeline.export.confirm.confirm": ("connect", "run_queue"),
}


class Stopped(BaseException):
    """A trial goes no further than a rung: as Tune's own end, past every `except Exception`."""


@contextmanager
def connect(resources: Resources, *, shared_bytes: int) -> Iterator[Cluster]:
    yield replace(cluster_of_this_machine(resources), concurrent=1)


def run_each(
    cluster: Cluster,
    function: Callable[[Any, Any], Any],
    shared: Any,
    items: Sequence[Any],
    *,
    done: Callable[[], None],
) -> list[Any]:
    found = []
    for item in items:
        found.append(function(shared, item))
        done()
    return found


def run_alone(
    cluster: Cluster, function: Callable[[Any, Any], Any], shared: Any, item: Any, *, patience_s: float = 0.0
) -> Any:
    return function(shared, item)


def run_queue(
    cluster: Cluster,
    function: Callable[[Any, Any], Any],
    shared: Any,
    items: Iterable[Any],
    *,
    ended: Callable[[Any, Any], None],
) -> None:
    for item in items:
        try:
            result = function(shared, item)
        except Exception as error:
            result = error
        ended(item, result)


def run_trials(
    cluster: Cluster,
    inputs: Any,
    *,
    store: Store,
    study: str,
    queue: TrialQueue,
    body: Any = None,
    checkpoint_s: float = worker.CHECKPOINT_S,
    limit: int | None = None,
    at_once: Callable[[], int] | None = None,
    stack: int = 1,
) -> None:
    shared = worker._TrialShared(
        inputs, store.place, study, cluster.cpus_per_trial, body, checkpoint_s, 1 / worker.BEATS_PER_S,
        store.study(study).search,
    )  # fmt: skip

    def receive(report: Report) -> None:
        if report.event is Event.PROGRESS:
            queue.on_progress(report.number, report.values)
        elif report.event is Event.RUNG:
            assert report.rung is not None
            if not queue.on_rung(report.number, report.rung):
                raise Stopped
        else:
            assert report.event is Event.ENDED, report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "_send", receive)
        for _ in count() if limit is None else range(limit):
            ask = queue.next()
            if ask is None:
                return
            try:
                worker._attempt(store, ask, shared)
            except Stopped:
                queue.on_stop(ask.number)
            else:
                queue.on_end(ask.number, None)


def without_ray(patch: pytest.MonkeyPatch) -> None:
    """Put these in the place of Ray's, wherever a command uses them; latency is measured once."""
    for rounds in ("TABLE_ROUNDS", "WHOLE_ROUNDS", "MOST_REPEATS"):
        patch.setattr(timing, rounds, 1)
    for module, names in USERS.items():
        for name in names:
            patch.setattr(import_module(module), name, globals()[name])
