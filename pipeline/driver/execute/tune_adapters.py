"""The desk as Tune knows it: a searcher that hands out the ledger's trials, a scheduler that asks about rungs.

Imports ray: whoever only needs the rest of this room does not import this file. Neither object keeps anything
that Tune's snapshots would have to hold: the ledger and the store are the truth, snapshots are never restored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from pipeline.driver.execute.nodes import StoreUnseen
from pipeline.study.records import RUNG_COLUMNS, Rung

if TYPE_CHECKING:
    from pipeline.driver.execute.protocol import TrialQueue

NUMBER, RUNG, DISK_FULL, STORE_AWAY = "number", "rung", "disk_full", "store_away"  # keys of a trial's reports
BLIND = "blind"  # of a trial whose node does not see the store
OUT_OF_MEMORY = ("OutOfMemory", "out of memory", "MemoryError")


def last_failure(trial: Any) -> str:
    """What Tune wrote down of a trial's last failure."""
    with suppress(OSError, TypeError):  # it has written nothing
        return Path(trial.error_file).read_text().rpartition("Failure # ")[2]
    return ""


def rung_report(number: int, rung: Rung) -> dict[str, Any]:
    """What a trial reports at a rung."""
    columns = {name: list(getattr(rung, name)) for name in RUNG_COLUMNS}
    return {NUMBER: number, RUNG: {**vars(rung), **columns}}


def read_rung(result: dict[str, Any]) -> Rung | None:
    """The rung in a report; None if there is none. Tune hands nested reports on with `/` in their keys."""
    if f"{RUNG}/index" not in result:
        return None
    values: dict[str, Any] = {name: result[f"{RUNG}/{name}"] for name in ("index", "epoch", "rows")}
    return Rung(**values | {name: tuple(result[f"{RUNG}/{name}"]) for name in RUNG_COLUMNS})


class QueueSearcher(Searcher):
    """Hands the ledger's trials to Tune, and the end of each back.

    Tune takes an error in on_trial_complete for the trial's and runs it again: the desk's first error is kept,
    and raised at the next call that ends the run.
    """

    def __init__(self, desk: TrialQueue, room: Callable[[], int]) -> None:
        super().__init__()
        self.desk: TrialQueue | None = desk
        self.room: Callable[[], int] | None = room  # for trials at once
        self.numbers: dict[str, int] = {}
        self.stopping: dict[str, str] = {}  # trials that the scheduler has just stopped, and why
        self.errors: dict[str, str] = {}  # what ended those that are lost
        self.away: set[int] = set()  # those that have said themselves that they ended over the store
        self.failure: Exception | None = None

    def suggest(self, trial_id: str) -> Any:
        """The desk's next trial; None while there is no room for it."""
        if self.room is not None and len(self.numbers) >= self.room():
            return None
        with self.kept():
            job = self._desk().next()
        if job is None:
            return str(Searcher.FINISHED)
        self.numbers[trial_id] = job.number
        return {
            "number": job.number,
            "params": job.params,
            "seed": job.seed,
            "rungs": list(job.rungs),
            "beat_s": job.beat_s,
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """An epoch has ended, a rung was passed, or a trial says where it is."""
        if read_rung(result) is not None:
            return
        values = {k: float(v) for k, v in result.items() if isinstance(v, int | float)}
        with self.kept():
            if DISK_FULL in values:
                raise OSError(28, "No space left on device where a trial's record was to be written")
            if BLIND in values:
                raise StoreUnseen(str(result["node_ip"]))
            if STORE_AWAY in values:
                number, ended = self.numbers[trial_id], bool(values[STORE_AWAY])
                self.away |= {number} if ended else set()
                self._desk().store_away(number, ended=ended)
                return
            self._desk().heard(self.numbers[trial_id], values)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A trial has ended, was stopped, or was lost for good."""
        del result  # the record in the store says more
        number = self.numbers.pop(trial_id, None)
        if number is None or self.failure is not None:
            return
        why = self.stopping.pop(trial_id, None)
        with suppress(Exception), self.kept():
            if why is not None:
                self._desk().stopped(number)
            else:
                self._desk().ended(number, self.errors.pop(trial_id, "worker lost") if error else None)

    def rung(self, trial_id: str, rung: Rung) -> bool:
        """Whether a trial goes on beyond a rung."""
        with self.kept():
            goes_on = self._desk().rung(self.numbers[trial_id], rung)
        if not goes_on:
            self.stopping[trial_id] = "rung"
        return goes_on

    def again(self, trial_id: str, failure: str) -> None:
        """A trial waits to be started again: its process or node died under it, or it raised what it should not."""
        number = self.numbers.get(trial_id)
        if number is None or number in self.away or self.failure is not None:
            self.away.discard(number)
            return
        raised = failure.strip().splitlines()[-1] if "Traceback" in failure else None
        with suppress(Exception), self.kept():
            self._desk().again(number, raised)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keeps the first error."""
        if self.failure is not None:
            raise self.failure
        try:
            yield
        except Exception as error:
            self.failure = error
            raise

    def _desk(self) -> TrialQueue:
        if self.desk is None:
            raise RuntimeError("This searcher was read back from a Tune snapshot; ours are never restored.")
        return self.desk

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles it; database connections do not pickle
        return {**self.__dict__, "desk": None, "room": None, "failure": None}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the truth."""


class RungScheduler(FIFOScheduler):
    """Starts trials in their order, and stops those that the desk lets go no further than a rung."""

    def __init__(self, searcher: QueueSearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """STOP at a rung where the desk says so."""
        del tune_controller
        rung = read_rung(result)
        if rung is None or self.searcher.rung(trial.trial_id, rung):
            return str(TrialScheduler.CONTINUE)
        return str(TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Notes what a trial was lost to, before the searcher hears of it, or says that it is started again."""
        del tune_controller
        text = last_failure(trial)
        if any(word in text for word in OUT_OF_MEMORY):
            self.searcher.errors[trial.trial_id] = "out of memory: the node that it ran on had none left"
        if trial.status == Trial.ERROR:  # one that is given up counts as running until this returns
            self.searcher.again(trial.trial_id, text)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The first that waits; only trials that have not ended are looked through."""
        waiting = [trial for trial in tune_controller.get_live_trials() if trial.status == "PENDING"]
        return min(waiting, key=lambda trial: self.searcher.numbers.get(trial.trial_id, 0), default=None)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: rungs are in the records."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: rungs are in the records."""
