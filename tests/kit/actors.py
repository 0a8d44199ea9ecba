"""The processes of a schedule: a driver with its worker, a sync, an exporter. What they write is the program's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.driver.execute import Loss
from pipeline.driver.execute import trials as worker
from pipeline.driver.search.budget import Budget, Meter
from pipeline.driver.search.study_queue import StudyQueue
from pipeline.driver.search.study_results import StudyResults
from pipeline.driver.search.trial_source import TrialSource
from pipeline.driver.search.unseen import begin_anew
from pipeline.driver.search.watcher import SilentWatcher
from pipeline.driver.tracking import Publisher, Tracker, open_tracking, sync
from pipeline.study.halving import Verdict
from pipeline.study.ledger import LeaseLost, hold, open_ledger
from pipeline.study.records import Anchors, BadInput, Masks, Measurement, Point, StudySpec, TrialRecord
from pipeline.study.store import Confirmation, Retrained, Store, TestScores, save_record
from pipeline.study.whole_file import whole_file, whole_folder
from tests.kit.ledger import SPACE, spec_of
from tests.kit.points import POINTS

TRIALS = 2
SPEC = spec_of("random")
EARLIER = replace(
    spec_of("random", seed=1), anchors=Anchors.pending(SPEC.anchors.constant)
)  # of the same name
STOPPED = 1  # the trial that is stopped at a rung


def noise() -> float:
    """This process's own: what one process overwrites of another shows by value."""
    return os.getpid() % 9973 * 1e-7


def _measured(metric: float, compression: float) -> Measurement:
    return Measurement(metric, {}, compression, 0.0, 1, 1, 1, 1.0)


def _body(_inputs: Any, job: Any, *_: Any) -> TrialRecord:
    """A trial: a checkpoint, weights, a record with this process's noise."""
    own, pid = job.attempts[-1], os.getpid()
    with whole_folder(own / "checkpoint-000-0000001") as part:
        (part / "state.pt").write_bytes(b"x")
    with whole_file(own / "weights" / "recovered.safetensors") as part:
        part.write_bytes(str(pid).encode())
    measured = _measured(0.9 - 0.1 * job.ask.number + noise(), 0.3 + 0.1 * job.ask.number)
    point = Point("recovered", 1, 0.0, measured, Masks.full(1, 1, 1), np.full(1, pid % 1000, np.int16))
    found = TrialRecord(job.ask.number, "complete", "", job.ask.params, job.ask.seed, points=(point,))
    return replace(found, provenance={"pid": str(pid)})


class _Stop(BaseException):
    """Tune stops a trial at a rung."""


def _stopped_body(inputs: Any, job: Any, *rest: Any) -> TrialRecord:
    if job.ask.number == STOPPED:
        left = TrialRecord(
            STOPPED, "stopped", "", job.ask.params, job.ask.seed, provenance={"pid": str(os.getpid())}
        )
        save_record(job.attempts[-1], left)
        raise _Stop
    return _body(inputs, job, *rest)


class _InStep:
    """The publisher without its thread: what is owed is published at once, so that points have an order."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.publisher, self.off = Publisher(*arguments, **options), False
        Tracker.publish_front = lambda self, found, points: self.publish_standing(found)  # type: ignore[method-assign]

    def start(self, tracker: Tracker | None = None) -> None:
        self.publisher._tracker = tracker

    def _try(self, call: Callable[[], object]) -> None:
        if self.off:
            return
        for _ in range(2):
            try:
                call()
                return
            except LeaseLost:
                self.off = True
                return
            except Exception as lost:
                self.publisher._lose(lost)

    def enqueue(self, number: int, *, again: bool = False) -> None:
        self.publisher.enqueue(number, again=again)
        self._try(self.publisher._publish_owed)

    def close(self, state: Any) -> bool:
        self._try(self.publisher._publish_owed)
        self._try(lambda: self.publisher._finish(state))
        return self.publisher.done

    @property
    def delivered(self) -> int:
        return self.publisher.delivered

    def messages(self) -> list[str]:
        return []

    def abandon(self) -> None:
        self.off = True


class _Nowhere:
    """No MLflow."""

    def enqueue(self, number: int, *, again: bool = False) -> None: ...
    def close(self, state: Any) -> bool:
        return True

    def messages(self) -> list[str]:
        return []

    def abandon(self) -> None: ...


def drive(
    root: Path,
    url: str,
    *,
    take_over: bool = False,
    stops: bool = False,
    mlflow: bool = False,
    spec: StudySpec = SPEC,
) -> None:
    """What a search does with its trials."""
    store = Store(root / "store")
    study = store.study("s")
    with hold(url, "s", take_over=take_over) as lease:
        ledger = open_ledger(url, spec, SPACE, trials=TRIALS, lease=lease)
        if not study.exists():
            begin_anew(study, ledger)
            study.write_validation(["0"], np.zeros(1, np.int64))
            if spec.anchors.known:
                study.write_spec(spec)
        publisher: Any = _Nowhere()
        if mlflow:
            publisher = _InStep(
                spec, store=store, open_tracker=partial(open_tracking, None, store_root=store.root),
                may_write=lease.check, address="the store",
            )  # fmt: skip
        meter = Meter(store, "s", gpus_per_trial=0.0, may_write=ledger.check)
        queue = StudyQueue(
            TrialSource(ledger, Budget(TRIALS), meter, warn=lambda _: None),
            StudyResults(spec, store, may_write=ledger.check),
            publisher=publisher, watcher=SilentWatcher(), halving=None,
        )  # fmt: skip
        shared = worker._TrialShared(
            None, store.place, "s", 1.0, _stopped_body if stops else _body, 60.0, 0.05, study.search
        )  # type: ignore[arg-type]
        try:
            queue.settle()
            while (ask := queue.next()) is not None:
                try:
                    _work(store, ask, shared)
                except RuntimeError as error:  # as Tune does with a trial that ends by an error
                    queue.on_restart(ask.number, Loss(raised=str(error)))
                    raise
                except _Stop:
                    queue.verdicts[ask.number] = Verdict(
                        goes_on=False, redundant=False, reason="others are better"
                    )
                    queue.on_stop(ask.number)
                else:
                    queue.on_end(ask.number, None)
        finally:
            queue.close()
            ledger.close()  # a server's connections are not left to the collector


def _work(store: Store, ask: Any, shared: Any) -> None:
    """An attempt, in a process that may outlive its driver."""
    POINTS.in_worker = True
    try:
        worker._attempt(store, ask, shared)
    finally:
        POINTS.in_worker = False
        if POINTS.orphaned:
            os._exit(0)


def publish(root: Path, url: str, *, take_over: bool = False) -> None:
    """`studies --sync`; whoever takes over from it is a driver."""
    if take_over:
        drive(root, url, take_over=True, mlflow=True)
        return
    sys.modules[sync.__module__].Publisher = _InStep  # type: ignore[attr-defined]
    (found,) = sync(Store(root / "store"), tracking=None, ledger=url)
    if not found.complete:
        raise BadInput(found.note or "MLflow does not have everything")


def export(root: Path, url: str, *, take_over: bool = False) -> None:
    """What `export` and `confirm` write into a store; they hold no lease."""
    del url, take_over
    study, pid = Store(root / "store").study("s"), os.getpid()
    study.exports.add(TestScores(0, 0, f"{pid:016d}", {"test": {"metric": noise()}}, {"test": 1}))
    study.weights.note_retrained(0, 0, Retrained(0.9, noise(), 0.1))
    study.confirmations.write_test(["0"], np.zeros(1, np.int64))
    found = Confirmation(
        trial=0, point=0, number=0, seed=1, state="complete", reason="", measurement=_measured(noise(), 0.3),
        validation=noise(), epochs=1.0, seconds=1.0, provenance={"pid": str(pid)},
        predictions=np.full(1, pid % 1000, np.int16),
    )  # fmt: skip
    study.confirmations.write(found)
