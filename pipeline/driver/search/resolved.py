"""A search and all that is read before anything is started or written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

from pipeline.driver.search.check import check, kept_space, space_of
from pipeline.driver.search.inputs import check_method, data_facts, make_inputs, read_task
from pipeline.driver.search.latency import shapes_of
from pipeline.driver.search.names import earlier_name, study_name
from pipeline.driver.search.own import remarks_of, starts_from_own
from pipeline.driver.search.request import Search
from pipeline.driver.search.watcher import Watcher
from pipeline.driver.warm_start import StudyKind, warm_starts
from pipeline.model.resolve import check_model
from pipeline.model.source import ModelSource
from pipeline.study.ledger import Lease, LedgerLost, NotOpened, hold, shown
from pipeline.study.records import Anchors, BadInput
from pipeline.study.space import Space
from pipeline.study.store import DataFacts, Shape, Store, StudyStore, sqlite_url
from pipeline.task.loading import Task
from pipeline.trial.inputs import TrialInputs


@dataclass(frozen=True, eq=False)
class ResolvedSearch:
    """A request with all that follows from it, each fact computed once."""

    request: Search
    name: str
    objective: str
    space: Space
    store: Store
    task: Task
    inputs: TrialInputs  # without what the study's folder keeps
    shapes: tuple[Shape, ...]  # latency is measured at these; the first is the study's own
    starts: str  # as `StudySpec.starts`; those of a study that has begun are kept
    anchors: Anchors | None  # of a study that has begun
    data: DataFacts  # what a user should know of its rows and model
    own: bool  # the model is the dense network as it came

    @property
    def study(self) -> StudyStore:
        """The files of the study."""
        return self.store.study(self.name)

    @property
    def ledger_url(self) -> str:
        """Where the ledger is."""
        return self.request.ledger or sqlite_url(self.store.studies_db)

    @contextmanager
    def ledger_errors(self) -> Iterator[None]:
        """Turn the refusal of a ledger that this study has had before, and that cannot be opened now, into LedgerLost.

        Its address is right: it is away, or locked.
        """
        try:
            yield
        except NotOpened as refusal:
            in_store = self.request.ledger is None and self.store.studies_db.exists()
            known = in_store or self.study.ledger.read().place == shown(self.ledger_url)
            if refusal.refused or not known:
                raise
            raise LedgerLost(str(refusal)) from None

    def hold(self, watcher: Watcher) -> AbstractContextManager[Lease]:
        """Return the study's lease: within it no other driver writes to the study.

        Raises:
            BadInput: another driver has it.
        """
        return hold(self.ledger_url, self.name, take_over=self.request.take_over, on_wait=watcher.warn)


def resolve(request: Search, watcher: Watcher) -> ResolvedSearch:
    """Read task and model, and what there is of the study.

    Raises:
        BadInput: the request cannot be carried out.
    """
    checked = check(request)
    store = Store(request.store)
    if remark := store.check_writable():
        watcher.warn(remark)
    check_model(request.model)
    check_method(request, store)
    kind = StudyKind(request.method, request.distill, checked.objective)
    _find_starts(request, store, checked.space, kind)
    watcher.stage("reading the task")
    task = read_task(request, cache=store.cache)
    name = study_name(request, task)
    watcher.stage("reading the model")
    inputs = make_inputs(request, task, study=name, cache=store.cache)
    if request.name is None:
        earlier = _own_name(store, (earlier_name(request, task), name), inputs.source)
        if earlier != name:
            name, inputs = earlier, make_inputs(request, task, study=earlier, cache=store.cache)
    shapes = shapes_of(request.latency_grid, length=inputs.length, max_length=inputs.source.max_length)
    begun = store.study(name).read_spec() if store.study(name).exists() else None
    own = starts_from_own(request, inputs.source, begun=begun)
    space = space_of(request, own=True) if own else checked.space
    starts = _find_starts(request, store, space, kind) if begun is None else begun.starts
    if begun is not None and (begun.method, begun.distill) == (request.method, request.distill):
        space = kept_space(replace(checked, space=space), begun.space_toml)
    data = data_facts(task, inputs)
    if own:
        said = remarks_of(request, inputs.source, task.class_names)
        data = replace(data, remarks=(*data.remarks, *said))
    return ResolvedSearch(
        request=request,
        name=name,
        objective=checked.objective,
        space=space,
        store=store,
        task=task,
        inputs=inputs,
        shapes=shapes,
        starts=starts,
        anchors=None if begun is None else begun.anchors,
        data=data,
        own=own,
    )


def _own_name(store: Store, names: Sequence[str], source: ModelSource) -> str:
    """Return the name of the model's own study: one of `names` that it has, or the last; else that with a hash."""
    names = [name for name in names if _is_name(store, name)]
    taken = {name for name in names if store.study(name).exists()}
    for name in names:
        if name in taken and store.study(name).read_spec().model_fingerprint == source.fingerprint:
            return name
    return f"{names[-1]}-{source.fingerprint[:6]}" if names[-1] in taken else names[-1]


def _is_name(store: Store, name: str) -> bool:
    try:
        store.study(name)
    except BadInput:  # earlier versions made names that no study could have
        return False
    return True


def _find_starts(request: Search, store: Store, space: Space, kind: StudyKind) -> str:
    """Return the first trials' parameters that earlier studies give, as `StudySpec.starts`; of a new study.

    Raises:
        BadInput: no such study, or it gives none.
    """
    if request.warm_start is None or (request.name is not None and store.study(request.name).exists()):
        return ""
    return json.dumps(warm_starts(store, request.warm_start, kind=kind, space=space))
