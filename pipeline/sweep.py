"""A study from its spec to its front: what `prunefront search` and `pipeline.search` run.

    task ─► rows ─┐
    model ────────┼─► anchors ─► StudySpec, frozen ─► ledger ⇄ trials on Ray ─► store, MLflow ─► front
    space ────────┘

The driver is the only one that writes to the ledger and to MLflow. Everything a person gives is checked before
anything is written.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from pipeline.anchors import (
    RATE_FACTORS,
    DenseRecipe,
    anchors_of,
    dense_folder,
    read_dense,
    train_dense,
    write_dense,
)
from pipeline.execute import (
    Cluster,
    Job,
    Resources,
    check_resources,
    connect,
    run_each,
    run_trials,
)
from pipeline.fronts import DEFAULT_STORE, Front, front_of, load_front
from pipeline.methods import METHODS
from pipeline.models import tokenizer, write_source
from pipeline.provenance import provenance
from pipeline.records import Anchors, BadInput, StudySpec, TrialRecord
from pipeline.resolve import BUILTIN, resolve_model
from pipeline.space import Space, load_space
from pipeline.store import Store
from pipeline.study import Ask, Ledger, check_sampler, open_ledger
from pipeline.task import Task, load_task, tokenise, train_texts
from pipeline.tracking import Tracker, TrackingLost, open_tracking
from pipeline.trial import TrialInputs

DEFAULT_TASK = "builtin/docstrings"
DEFAULT_TRIALS = 8
GATHER_EVERY = 25  # trials; records that are not gathered yet are read one by one
PRECISIONS = ("auto", "bf16", "fp32")


@dataclass(frozen=True)
class Search:
    """What is asked of a search; the command's options, and `pipeline.search`'s arguments."""

    task: str = DEFAULT_TASK
    model: str = BUILTIN
    method: str = "snip"
    space: Path | None = None
    trials: int = DEFAULT_TRIALS
    minutes: float | None = None
    seed: int = 0
    name: str | None = None
    sampler: str = "tpe"
    precision: str = "auto"
    store: Path = DEFAULT_STORE
    ledger: str | None = None
    tracking: str | None = None
    resources: Resources = field(default_factory=Resources)
    text: tuple[str, ...] = ()
    label: str | None = None
    metric: str | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True)
class Standing:
    """How a study stands while it runs."""

    ended: int
    total: int
    running: int
    failed: int
    front: Front | None


class Watcher(Protocol):
    """Who watches a search: the terminal, or nobody."""

    def stage(self, what: str) -> None:
        """Something that takes a while begins."""

    def dense(self) -> None:
        """One of the dense networks is trained."""

    def anchors(self, spec: StudySpec) -> None:
        """The anchors are known: trials begin."""

    def heard(self, number: int, values: dict[str, float]) -> None:
        """A running trial has ended an epoch."""

    def stands(self, standing: Standing, record: TrialRecord | None) -> None:
        """The study's standing has changed; `record` is the trial that has just ended."""

    def warn(self, message: str) -> None:
        """Something went wrong that does not stop the search."""


class Nobody:
    """A watcher that does not look."""

    def stage(self, what: str) -> None:
        """Nothing."""

    def dense(self) -> None:
        """Nothing."""

    def anchors(self, spec: StudySpec) -> None:
        """Nothing."""

    def heard(self, number: int, values: dict[str, float]) -> None:
        """Nothing."""

    def stands(self, standing: Standing, record: TrialRecord | None) -> None:
        """Nothing."""

    def warn(self, message: str) -> None:
        """Nothing."""


def search(
    *,
    task: str = DEFAULT_TASK,
    model: str = BUILTIN,
    method: str = "snip",
    space: Path | str | None = None,
    trials: int = DEFAULT_TRIALS,
    minutes: float | None = None,
    concurrent: int | None = None,
    seed: int = 0,
    name: str | None = None,
    sampler: str = "tpe",
    precision: str = "auto",
    store: Path | str = DEFAULT_STORE,
    ledger: str | None = None,
    tracking: str | None = None,
    address: str | None = None,
    cpus_per_trial: float = 1.0,
    gpus_per_trial: float | None = None,
    text: tuple[str, ...] = (),
    label: str | None = None,
    metric: str | None = None,
    trust_remote_code: bool = False,
    watcher: Watcher | None = None,
) -> Front:
    """`prunefront search` from Python: the same options, and the front comes back.

    Raises:
        BadInput: what was asked cannot be done; nothing has been written.
    """
    wanted = Search(
        task=task,
        model=model,
        method=method,
        space=None if space is None else Path(space),
        trials=trials,
        minutes=minutes,
        seed=seed,
        name=name,
        sampler=sampler,
        precision=precision,
        store=Path(store),
        ledger=ledger,
        tracking=tracking,
        resources=Resources(address, concurrent, cpus_per_trial, gpus_per_trial),
        text=text,
        label=label,
        metric=metric,
        trust_remote_code=trust_remote_code,
    )
    return run(wanted, watcher or Nobody())


def run(wanted: Search, watcher: Watcher) -> Front:
    """Runs a study, or goes on with it, and returns its front.

    Raises:
        BadInput: what was asked cannot be done; nothing has been written.
    """
    space = check(wanted)
    store = Store(wanted.store)
    store.check_writable()
    watcher.stage("reading the task")
    task = load_task(
        wanted.task, cache=store.cache, text=wanted.text, label=wanted.label, metric=wanted.metric
    )
    watcher.stage("reading the model")
    inputs = make_inputs(wanted, task)
    name = wanted.name or default_name(wanted, task)
    known = store.read_spec(name).anchors if store.has_study(name) else None
    url = wanted.ledger or f"sqlite:///{store.studies_db}"
    if known is not None:  # another study of this name is refused before anything is started
        open_ledger(url, make_spec(wanted, task, inputs, space, known), space, trials=wanted.trials)
    tracker = None
    if wanted.tracking or os.environ.get(
        "MLFLOW_TRACKING_URI"
    ):  # a server is looked for first: it may not answer
        tracker = open_tracking(wanted.tracking, store_root=store.root)
    watcher.stage("starting Ray")
    shared_bytes = sum(array.nbytes for array in inputs.source.weights.values())
    with connect(wanted.resources, shared_bytes=shared_bytes) as cluster:
        tracker = tracker or open_tracking(None, store_root=store.root)
        anchors = known or find_anchors(cluster, store, task, inputs, watcher, method=wanted.method)
        spec = make_spec(wanted, task, inputs, space, anchors)
        ledger = open_ledger(url, spec, space, trials=wanted.trials)
        open_study(store, spec, inputs)
        tracker.start_study(spec, provenance=provenance())
        watcher.anchors(spec)
        desk = StudyDesk(wanted, spec, store, ledger, tracker, watcher)
        try:
            desk.settle()
            if desk.has_work():
                run_trials(cluster, inputs, store=store, study=name, desk=desk)
        finally:
            desk.close()
    return load_front(name, store=store.root)


def check(wanted: Search) -> Space:
    """Refuses what can be refused without reading data; returns the space.

    Raises:
        BadInput: with the first thing that is wrong.
    """
    if wanted.method not in METHODS:
        raise BadInput(
            f"A search runs one of the methods {', '.join(METHODS)}; asked for was {wanted.method!r}."
        )
    if wanted.trials <= 0:
        raise BadInput(f"A study has at least one trial; --trials is {wanted.trials}.")
    if wanted.minutes is not None and wanted.minutes <= 0:
        raise BadInput(f"A search runs for some time; --minutes is {wanted.minutes:g}.")
    if wanted.precision not in PRECISIONS:
        raise BadInput(f"--precision is one of {', '.join(PRECISIONS)}; asked for was {wanted.precision!r}.")
    if "://" in str(wanted.store):
        raise BadInput(
            f"--store is a folder (on a cluster: one that all nodes share); given was {wanted.store}."
        )
    check_sampler(wanted.sampler)
    check_resources(wanted.resources)
    return load_space(wanted.method, file=wanted.space, pretrained=wanted.model != BUILTIN)


def make_inputs(wanted: Search, task: Task) -> TrialInputs:
    """Model and tokenised rows: what all trials share. Test rows are not among them."""
    source = resolve_model(
        wanted.model,
        outputs=task.outputs,
        class_names=task.class_names,
        regression=task.regression,
        train_texts=train_texts(task) if wanted.model == BUILTIN else [],
        trust_remote_code=wanted.trust_remote_code,
    )
    data = tokenise(task, tokenizer(source))
    return TrialInputs(
        method=wanted.method,
        metric_name=task.metric,
        regression=task.regression,
        precision=wanted.precision,
        length=int(data.validation.lengths.max()),
        source=source,
        data=data,
    )


def make_spec(wanted: Search, task: Task, inputs: TrialInputs, space: Space, anchors: Anchors) -> StudySpec:
    """What is frozen at trial 0."""
    return StudySpec(
        name=wanted.name or default_name(wanted, task),
        task=task.name,
        task_fingerprint=task.fingerprint,
        metric_name=task.metric,
        validation_rows=len(inputs.data.validation),
        model=model_name(wanted.model),
        model_fingerprint=inputs.source.fingerprint,
        method=wanted.method,
        space_toml=space.toml,
        sampler=wanted.sampler,
        seed=wanted.seed,
        precision=wanted.precision,
        anchors=anchors,
    )


def model_name(model: str) -> str:
    """A hub name as it is; of a folder the last two parts of its path."""
    folder = Path(model).expanduser()
    return "/".join(folder.resolve().parts[-2:]) if folder.is_dir() else model


def default_name(wanted: Search, task: Task) -> str:
    """task-model-method, and the seed if it is not 0, in characters that a folder can have."""
    parts = [
        task.name.split("/")[-1],
        model_name(wanted.model).split("/")[0 if Path(wanted.model).is_dir() else -1],
    ]
    parts += [wanted.method] + ([f"seed{wanted.seed}"] if wanted.seed else [])
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts))


def find_anchors(
    cluster: Cluster, store: Store, task: Task, inputs: TrialInputs, watcher: Watcher, *, method: str
) -> Anchors:
    """Both anchors; the dense network is trained if the store does not hold it yet."""
    packaged = load_space(method, file=None, pretrained=inputs.source.pretrained).defaults()
    rate = float(packaged["learning_rate"])
    recipe = DenseRecipe(
        learning_rates=tuple(rate * factor for factor in RATE_FACTORS),
        epochs=float(packaged["tune_epochs"]) + float(packaged["recover_epochs"]),
        batch_size=int(packaged["batch_size"]),
        warmup_fraction=float(packaged["warmup_fraction"]),
        weight_decay=float(packaged["weight_decay"]),
    )
    folder = dense_folder(
        store.cache,
        task_fingerprint=task.fingerprint,
        model_fingerprint=inputs.source.fingerprint,
        recipe=recipe,
    )
    dense = read_dense(folder)
    if dense is None:
        rates = recipe.learning_rates
        watcher.stage(f"training the dense network at {len(rates)} learning rates")
        runs = run_each(cluster, partial(train_dense, recipe=recipe), inputs, rates, done=watcher.dense)
        whole = [run for run in runs if run is not None]
        if not whole:
            raise BadInput(
                f"A study is read against its dense network; plain fine-tuning diverged at the learning rates "
                f"{', '.join(f'{r:g}' for r in rates)}. Is the task's label right, and the model a trained one?"
            )
        dense = write_dense(folder, whole, recipe)
    return anchors_of(dense, inputs)


def open_study(store: Store, spec: StudySpec, inputs: TrialInputs) -> None:
    """Makes the study's folder, whole before its first trial: model, labels, spec last."""
    if store.has_study(spec.name):
        return
    write_source(inputs.source, store.study_folder(spec.name) / "model")
    validation = inputs.data.validation
    store.write_validation(spec.name, ids=validation.ids, labels=validation.labels)
    store.write_spec(spec)


class StudyDesk:
    """Gives the executor its trials, and takes each end to ledger, store and MLflow, in that order."""

    def __init__(
        self,
        wanted: Search,
        spec: StudySpec,
        store: Store,
        ledger: Ledger,
        tracker: Tracker,
        watcher: Watcher,
    ) -> None:
        self.wanted, self.spec, self.store = wanted, spec, store
        self.ledger, self.tracker, self.watcher = ledger, tracker, watcher
        self.owed: list[Ask] = []
        self.running: dict[int, Ask] = {}
        self.deadline = time.monotonic() + 60 * wanted.minutes if wanted.minutes else None
        self.front: Front | None = None

    def settle(self) -> None:
        """Before the first trial: what earlier drivers left is told, published, or owed again."""
        found = self.ledger.reconcile(self.store)
        self.owed = list(found.owed)
        published = self.tracker.published()
        for number in self.store.finished_numbers(self.spec.name):
            if number not in published:
                self._publish(self.store.read_record(self.spec.name, number))
        self._report(None)

    def has_work(self) -> bool:
        """Whether a trial is owed, or may be asked for."""
        return bool(self.owed) or self._may_ask()

    def next(self) -> Job | None:
        """An owed trial, else a new one, else None."""
        if self.owed:
            ask = self.owed.pop(0)
        elif self._may_ask():
            ask = self.ledger.ask()
        else:
            return None
        self.running[ask.number] = ask
        self._report(None)
        return Job(ask.number, ask.params, ask.seed)

    def heard(self, number: int, values: dict[str, float]) -> None:
        """A running trial has ended an epoch."""
        self.watcher.heard(number, values)

    def ended(self, number: int, error: str | None) -> None:
        """The trial's own record is the truth; without one it was lost."""
        ask = self.running.pop(number)
        if not self.store.has_record(self.spec.name, number):
            reason = error or "ended without a record"
            lost = TrialRecord(number, "failed", reason, ask.params, ask.seed, provenance=provenance())
            self.store.write_record(self.spec.name, lost)
        record = self.store.read_record(self.spec.name, number)
        self.ledger.tell(record)
        self._publish(record)
        self._report(record)

    def close(self) -> None:
        """Gathers the records, and publishes the front; also on the way out of an interruption."""
        for number in self.running:
            self.store.mark_interrupted(self.spec.name, number)
        self.store.gather(self.spec.name)
        table = self.store.read_table(self.spec.name)
        try:
            self.tracker.publish_front(front_of(self.spec, table), table.to_pydict())
            self.tracker.finish_study("stopped" if self.running else "complete")
        except TrackingLost as lost:
            self.watcher.warn(f"{lost} The front is not there yet; the next search brings it.")

    def _may_ask(self) -> bool:
        counts = self.ledger.counts()
        in_time = self.deadline is None or time.monotonic() < self.deadline
        return in_time and counts.ended + counts.running < self.wanted.trials

    def _publish(self, record: TrialRecord) -> None:
        """MLflow is a view: if it fails, trials go on, and the next start publishes what is missing."""
        try:
            self.tracker.publish(record)
        except TrackingLost as lost:
            self.watcher.warn(f"{lost} Trial {record.number} is not there yet; the next search brings it.")

    def _publish_standing(self, found: Front) -> None:
        try:
            self.tracker.publish_standing(found)
        except TrackingLost as lost:
            self.watcher.warn(str(lost))

    def _report(self, record: TrialRecord | None) -> None:
        if record is not None or self.front is None:
            if record is not None and record.number % GATHER_EVERY == GATHER_EVERY - 1:
                self.store.gather(self.spec.name)
            self.front = load_front(self.spec.name, store=self.store.root)
            self._publish_standing(self.front)
        counts = self.ledger.counts()
        standing = Standing(counts.ended, self.wanted.trials, len(self.running), counts.failed, self.front)
        self.watcher.stands(standing, record)
