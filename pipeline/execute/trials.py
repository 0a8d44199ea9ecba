"""Trials on Ray Tune, and single tasks on Ray.

Each start of a study is a fresh Tune run over the trials that are still owed. What they share (rows, weights,
config) is put into Ray's object store once; what they find they write into their own folder of the store. The
driver tells the ledger when a trial has ended: Tune's own snapshots and logs are never read.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pipeline.execute.cluster import Cluster
from pipeline.process import set_threads
from pipeline.records import Params, TrialRecord
from pipeline.store import Store

if TYPE_CHECKING:
    from pipeline.course import TrialInputs

LOST_ATTEMPTS = 2  # Tune starts a trial again this often within one start of the study

Result = TypeVar("Result")
Item = TypeVar("Item")
Shared = TypeVar("Shared")


@dataclass(frozen=True)
class Job:
    """A trial to run, by its number in the ledger."""

    number: int
    params: Params
    seed: int


class Desk(Protocol):
    """Where the executor gets its trials and says how they end. Called in the driver only."""

    def next(self) -> Job | None:
        """The next trial to start, or None if no more are to start."""

    def heard(self, number: int, values: dict[str, float]) -> None:
        """A running trial has ended an epoch."""

    def ended(self, number: int, error: str | None) -> None:
        """A trial has ended: its record is in the store, or it was lost for good and `error` says how."""


def run_each(
    cluster: Cluster,
    function: Callable[[Shared, Item], Result],
    shared: Shared,
    items: Sequence[Item],
    *,
    done: Callable[[], None],
) -> list[Result]:
    """function(shared, item) of every item as Ray tasks, as many at once as trials would be; results in order.

    `shared` goes through the object store once.
    """
    import ray

    # a process that has imported torch serves the next item, too (on GPUs Ray starts a new one by itself)
    task: Any = ray.remote(
        num_cpus=cluster.cpus_per_trial, num_gpus=cluster.gpus_per_trial, max_retries=LOST_ATTEMPTS
    )(in_worker)
    reference = ray.put(shared)
    pending = [task.remote(function, reference, item, cluster.cpus_per_trial) for item in items]
    waiting = list(pending)
    while waiting:
        ready, waiting = ray.wait(waiting)
        for _ in ready:
            done()
    return list(ray.get(pending))


def in_worker(function: Callable[[Shared, Item], Result], shared: Shared, item: Item, cpus: float) -> Result:
    """function(shared, item) in a process of Ray's, with as many threads as a trial has."""
    set_threads(cpus)
    return function(shared, item)


def run_trials(cluster: Cluster, inputs: TrialInputs, *, store: Store, study: str, desk: Desk) -> None:
    """Runs the desk's trials until it has no more; returns when the last one has ended."""
    from ray import tune

    scratch = store.study_folder(study) / "tune"
    shutil.rmtree(scratch, ignore_errors=True)
    searcher = _searcher(desk)
    trainable = tune.with_resources(
        tune.with_parameters(
            _trainable, shared=_TrialShared(inputs, store.root.resolve(), study, cluster.cpus_per_trial)
        ),
        {"cpu": cluster.cpus_per_trial, "gpu": cluster.gpus_per_trial},
    )
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,
            max_concurrent_trials=cluster.concurrent,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch.parent.resolve()),
            failure_config=tune.FailureConfig(max_failures=LOST_ATTEMPTS),
            verbose=0,
            log_to_file=False,
        ),
    )
    try:
        tuner.fit()
    except Exception:
        if searcher.failure is not None:
            raise searcher.failure from None
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if searcher.failure is not None:
        raise searcher.failure


@dataclass(frozen=True)
class _TrialShared:
    """What every trial's process gets through the object store."""

    inputs: TrialInputs
    root: Path
    study: str
    cpus: float


def _trainable(config: dict[str, Any], shared: _TrialShared) -> None:
    """One trial in a worker: its last act is its record."""
    from ray import tune

    from pipeline.course import TrialJob
    from pipeline.trial import run_trial

    set_threads(shared.cpus)
    store = Store(shared.root)
    number = int(config["number"])
    own = store.next_attempt(shared.study, number)
    job = TrialJob(number, config["params"], int(config["seed"]), tuple(sorted(own.parent.glob("attempt-*"))))
    try:
        record = run_trial(shared.inputs, job, lambda values: tune.report({"number": number, **values}))
    except Exception as error:
        record = TrialRecord(number, "failed", reason_of(error), job.params, job.seed)
    if record.state == "complete":
        store.weights(shared.study).take(number, job.attempts)
    store.write_record(shared.study, replace(record, attempts=len(job.attempts)))
    for attempt in job.attempts:
        shutil.rmtree(attempt, ignore_errors=True)
    tune.report({"number": number, "ended": 1.0})


def reason_of(error: Exception) -> str:
    """Why a trial failed, for a person."""
    import torch

    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "out of memory" in text.lower():
        return f"out of memory: {text[:300]}"
    if isinstance(error, OSError) and error.errno == 28:
        return f"disk full: {text[:300]}"
    return f"{type(error).__name__}: {text[:500]}"


def _searcher(desk: Desk) -> Any:
    """A Tune searcher over the desk; defined here so that importing this room does not import ray."""
    from ray.tune.search import Searcher

    class DeskSearcher(Searcher):
        """Hands the ledger's trials to Tune, and the end of each back.

        Tune takes an error in on_trial_complete for the trial's and runs it again: the desk's first error is kept,
        and raised at the next call that ends the run.
        """

        def __init__(self) -> None:
            super().__init__()
            self.desk: Desk | None = None
            self.numbers: dict[str, int] = {}
            self.failure: Exception | None = None

        def suggest(self, trial_id: str) -> Any:
            with self._kept():
                job = self._desk().next()
            if job is None:
                return str(Searcher.FINISHED)
            self.numbers[trial_id] = job.number
            return {"number": job.number, "params": job.params, "seed": job.seed}

        def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
            values = {k: float(v) for k, v in result.items() if isinstance(v, int | float)}
            with self._kept():
                self._desk().heard(self.numbers[trial_id], values)

        def on_trial_complete(
            self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
        ) -> None:
            del result  # the record in the store says more
            number = self.numbers.pop(trial_id, None)
            if number is not None and self.failure is None:
                with suppress(Exception), self._kept():
                    self._desk().ended(number, "worker lost" if error else None)

        @contextmanager
        def _kept(self) -> Iterator[None]:
            if self.failure is not None:
                raise self.failure
            try:
                yield
            except Exception as error:
                self.failure = error
                raise

        def _desk(self) -> Desk:
            if self.desk is None:
                raise RuntimeError(
                    "This searcher was read back from a Tune snapshot; ours are never restored."
                )
            return self.desk

        def __getstate__(self) -> dict[str, Any]:
            return {
                **self.__dict__,
                "desk": None,
                "failure": None,
            }  # Tune pickles it; database connections do not pickle

        def save(self, checkpoint_path: str) -> None:
            """Nothing: the ledger is the truth."""

        def restore(self, checkpoint_path: str) -> None:
            """Nothing: the ledger is the truth."""

    searcher = DeskSearcher()
    searcher.desk = desk  # not by the class's closure: that is pickled with it
    return searcher
