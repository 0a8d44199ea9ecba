"""Trials on Ray Tune.

Each start of a study is a fresh Tune run over the trials that are still owed. What they share (rows, weights,
config) is put into Ray's object store once; each trial writes its results into its own folder of the store. The
driver updates the ledger when a trial has ended: Tune's own snapshots and logs are never read.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.driver.execute.cluster import Cluster, room
from pipeline.driver.execute.processes import in_processes_that_are_there
from pipeline.driver.execute.protocol import ASK, BESIDE, Event, Report, TrialQueue
from pipeline.study.records import Ask, TrialRecord
from pipeline.study.store import NO_SPACE, ObjectStoreLost, Store, StudyStore, drop, remove
from pipeline.trial.job import TrialJob
from pipeline.trial.training.process import one_of_many_tasks, peak_memory_mb

if TYPE_CHECKING:
    from pipeline.trial.inputs import OnEpoch, TrialInputs
    from pipeline.trial.monitor import OnRung

    Body = Callable[[TrialInputs, TrialJob, OnEpoch, OnRung], TrialRecord]

CHECKPOINT_S = 60.0
BEATS_PER_S = 20.0  # of all running trials together: each is a report that the driver handles
LOST_ATTEMPTS = 2  # Tune starts a trial again this often within one start of the study


def run_trials(
    cluster: Cluster,
    inputs: TrialInputs,
    *,
    store: Store,
    study: str,
    queue: TrialQueue,
    body: Body | None = None,
    checkpoint_s: float = CHECKPOINT_S,
    limit: int | None = None,
    at_once: Callable[[], int] | None = None,
    stack: int = 1,
) -> None:
    """Run the queue's trials until it has no more; return when the last one has ended.

    Args:
        cluster: what trials run on.
        inputs: what all trials share.
        store: where trials write.
        study: its name.
        queue: where trials come from, and where their ends are reported.
        body: runs one trial; None for `trial.run_trial`.
        checkpoint_s: a lost trial goes on from a checkpoint that is at most this much training behind.
        limit: trials that are started at most; None for all.
        at_once: gives how many may run at once, now; None for as many as the cluster has room for.
        stack: trials that one process tunes together, at most, up to their first cuts.

    Raises:
        Exception: the queue's first error.
    """
    from ray import tune

    from pipeline.driver.execute.tune_adapters import QueueSearcher, RungScheduler

    scratch = store.study(study).folder / "tune"
    shutil.rmtree(scratch, ignore_errors=True)
    searcher = QueueSearcher(queue, at_once or room(cluster), limit, stack=stack)
    shared = _TrialShared(
        inputs,
        store.place,
        study,
        cluster.cpus_per_trial,
        body,
        checkpoint_s,
        cluster.concurrent / BEATS_PER_S,
        store.study(study).search,
        secrets.token_hex(8),
    )
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(_trainable, shared=shared),
            {"cpu": cluster.cpus_per_trial, "gpu": cluster.gpus_per_trial},
        ),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=RungScheduler(searcher),
            num_samples=-1,
            reuse_actors=True,
        ),
        run_config=_small_run(store, scratch.parent),
    )
    try:
        with in_processes_that_are_there(cluster):
            tuner.fit()
    except Exception:
        if searcher.failure is not None:
            raise searcher.failure from None
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        with suppress(ObjectStoreLost):  # the next start drops it
            drop(scratch)
    if searcher.failure is not None:
        raise searcher.failure


def _small_run(store: Store, folder: Path) -> Any:
    """Return Tune's settings: its own files are in the study's folder while trials run, without logs."""
    from ray import tune

    bucket = store.bucket
    return tune.RunConfig(
        name="tune",
        storage_path=str(folder.resolve()) if bucket is None else _in_bucket(store, folder),
        storage_filesystem=None if bucket is None else bucket.filesystem,
        failure_config=tune.FailureConfig(max_failures=LOST_ATTEMPTS),
        verbose=0,
        log_to_file=False,
    )


def _in_bucket(store: Store, folder: Path) -> str:
    """Return the address of a folder within the bucket's file system."""
    return str(store.place / folder.relative_to(store.root)).removeprefix("s3:/")


@dataclass(frozen=True)
class _TrialShared:
    """What every trial's process receives through Ray's object store."""

    inputs: TrialInputs
    root: Path
    study: str
    cpus: float
    body: Body | None
    checkpoint_s: float
    least_beat_s: float
    search: str = ""  # which the study began with
    run: str = ""  # a word of this start of the study alone


def _trainable(config: dict[str, Any], shared: _TrialShared) -> None:
    """Run one attempt at a trial in a worker; if the store is away, wait for it."""
    shared = _same(shared)
    with one_of_many_tasks(shared.cpus):
        store, ask = Store(shared.root), config[ASK]
        if store.bucket is None and not store.study(shared.study).folder.is_dir():
            # a node that has joined since the start; the search ends
            _send(Report(ask.number, Event.STORE_UNSEEN))
            return
        with store.retrying(lambda _: _send(Report(ask.number, Event.STORE_AWAY))):  # the driver warns
            try:
                _attempt(store, ask, shared, config.get(BESIDE, ()))
            except ObjectStoreLost:  # not the trial's fault: it starts again from its last checkpoint
                _send(Report(ask.number, Event.STORE_LOST))
                raise


def _same(shared: _TrialShared) -> _TrialShared:
    """Return what this process received for its first trial: Ray makes it anew for each, and caches are kept by it."""
    if not (shared.run and _RECEIVED and _RECEIVED[0].run == shared.run):
        _RECEIVED[:] = [shared]
    return _RECEIVED[0]


_RECEIVED: list[_TrialShared] = []


def _send(report: Report) -> None:
    """Send a report to the driver. Where Tune stops the trial, its thread ends in here."""
    from ray import tune

    tune.report(report.to_result())


def _attempt(store: Store, ask: Ask, shared: _TrialShared, beside: Sequence[Ask] = ()) -> None:
    """Run one attempt at a trial: its last act is to write its record. Before that, tune it with those beside it.

    A trial that has ended is not run again: its process may have died before the driver knew.

    Raises:
        RuntimeError: another search of the study's name has begun.
    """
    study = store.study(shared.study, search=shared.search)
    study.refresh(ask.number)
    _check_search(study)
    if study.has_record(ask.number):
        study.complete(ask.number)
        _send(Report(ask.number, Event.ENDED))
        return
    ask = replace(ask, beat_s=max(ask.beat_s, shared.least_beat_s))
    facts: dict[str, str] = {}
    if beside and not study.attempts(ask.number).count():
        facts = _tune_together(study, (ask, *beside), shared)
    own = study.attempts(ask.number).begin()
    attempts = tuple(folder for folder in study.attempts(ask.number).folders() if folder.name <= own.name)
    job = TrialJob(ask, attempts, checkpoint_s=shared.checkpoint_s)
    record = _record(job, shared)
    _hand_in(study, job, replace(record, provenance=record.provenance | facts))


def _tune_together(study: StudyStore, asks: Sequence[Ask], shared: _TrialShared) -> dict[str, str]:
    """Tune trials that have not begun as one stack; each leaves a checkpoint, and the first one reports that.

    Returns:
        For the first one's record, why there was no stack, if there was none.
    """
    from pipeline.trial.together import tune_together

    new = [each for each in asks if not study.attempts(each.number).count()]
    reason = tune_together(
        shared.inputs,
        [
            TrialJob(each, (study.attempts(each.number).begin(),), checkpoint_s=shared.checkpoint_s)
            for each in new
        ],
        lambda number, values: _send(Report(number, Event.PROGRESS, values)),
        lambda number, rung: _send(Report(number, Event.RUNG, rung=rung)),
    )
    _send(Report(asks[0].number, Event.STACKED))
    return {"not_stacked": reason} if reason else {}


def _record(job: TrialJob, shared: _TrialShared) -> TrialRecord:
    """Run the trial and return its record; a trial that raises an error has a failed one."""
    ask = job.ask
    try:
        return (shared.body or _run_trial())(
            shared.inputs,
            job,
            lambda values: _send(Report(ask.number, Event.PROGRESS, values)),
            lambda rung: _send(Report(ask.number, Event.RUNG, rung=rung)),
        )
    except ObjectStoreLost:
        raise
    except Exception as error:
        return TrialRecord(ask.number, "failed", reason_of(error), ask.params, ask.seed)


def _run_trial() -> Body:
    from pipeline.trial.trial import run_trial

    return run_trial


def _hand_in(study: StudyStore, job: TrialJob, record: TrialRecord) -> None:
    """Write the record, unless another attempt was quicker; then complete the trial and report its end.

    Of two attempts that run at once, of a paused driver and of the one that took over, the first result counts. A
    failure counts only if no later attempt has begun, which may succeed.

    Raises:
        RuntimeError: this attempt failed, and a later one has begun; or another search of the study's name has.
    """
    number = job.ask.number
    _check_search(study, job)
    if record.state == "failed" and study.attempts(number).superseded(job.attempts[-1]):
        raise RuntimeError(f"A later attempt at trial {number} has begun; this one failed: {record.reason}")
    try:
        kept = job.attempts if record.state == "complete" else ()
        # of its process, other trials too
        facts = record.provenance | {"peak_memory_mb": f"{peak_memory_mb():.0f}"}
        study.write_record(replace(record, attempts=len(job.attempts), provenance=facts), attempts=kept)
        study.complete(number, job.attempts)
    except OSError as error:
        # a full disk is not the trial's fault: the search ends, and goes on when there is space
        if error.errno in NO_SPACE:
            with suppress(OSError):
                study.attempts(number).mark_interrupted()
            _send(Report(number, Event.DISK_FULL))
        raise
    _send(Report(number, Event.ENDED))


def _check_search(study: StudyStore, job: TrialJob | None = None) -> None:
    """Leave nothing in a study that another search has begun: this process was cut off from its driver."""
    if study.has_begun_anew():
        remove(() if job is None else job.attempts)
        raise RuntimeError(
            f"This trial belongs to a search of {study.name!r} that another search of the name has replaced: it is "
            "not recorded."
        )


def reason_of(error: Exception) -> str:
    """Return why a trial failed, in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or "out of memory" in text.lower():  # as torch says of all its devices
        return f"out of memory: {text[:300]}"
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return f"disk full: {text[:300]}"
    return f"{type(error).__name__}: {text[:500]}"
