"""A search, and all of it that is read before anything is started or written."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from pipeline.driver.search.check import check
from pipeline.driver.search.dense import (
    check_method,
    default_name,
    find_starts,
    make_inputs,
    make_spec,
    timed_shapes,
)
from pipeline.driver.search.request import Search
from pipeline.driver.search.watcher import Watcher
from pipeline.model.resolve import check_model
from pipeline.study.ledger import Lease, hold
from pipeline.study.records import Anchors, StudySpec
from pipeline.study.space import Space
from pipeline.study.store import Shape, Store
from pipeline.task.loading import Task, load_task
from pipeline.trial.inputs import TrialInputs


@dataclass(frozen=True, eq=False)
class ResolvedSearch:
    """What is asked for. A study that has begun keeps its anchors (`known`) and the starts that it began with."""

    wanted: Search
    name: str
    space: Space
    store: Store
    task: Task
    inputs: TrialInputs
    shapes: tuple[Shape, ...]  # that latency is measured at
    known: Anchors | None
    starts: str

    @property
    def ledger_url(self) -> str:
        """Where the ledger is."""
        return self.wanted.ledger or f"sqlite:///{self.store.studies_db}"

    def spec(self, anchors: Anchors) -> StudySpec:
        """What the study is frozen to."""
        return make_spec(self.wanted, self.task, self.inputs, self.space, anchors, starts=self.starts)

    def hold(self) -> AbstractContextManager[Lease]:
        """The study, as this driver's alone.

        Raises:
            BadInput: another driver has it.
        """
        return hold(self.ledger_url, self.name, take_over=self.wanted.take_over)


def read_asked(wanted: Search, watcher: Watcher) -> ResolvedSearch:
    """Reads task and model, and what there is of the study.

    Raises:
        BadInput: what was asked cannot be done.
    """
    space = check(wanted)
    store = Store(wanted.store)
    store.check_writable()
    check_model(wanted.model)
    check_method(wanted, store)
    starts = find_starts(wanted, store, space)
    watcher.stage("reading the task")
    task = load_task(
        wanted.task, cache=store.cache, text=wanted.text, label=wanted.label, metric=wanted.metric
    )
    watcher.stage("reading the model")
    inputs = make_inputs(wanted, task)
    shapes = timed_shapes(wanted, inputs)
    name = wanted.name or default_name(wanted, task)
    known = None
    if store.study(name).exists():
        spec = store.study(name).read_spec()
        known, starts = spec.anchors, spec.starts
    return ResolvedSearch(wanted, name, space, store, task, inputs, shapes, known, starts)
