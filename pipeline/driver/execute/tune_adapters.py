"""The adapters between Tune and a TrialQueue: a searcher that hands out trials, a scheduler that stops them at rungs.

Imports ray at the top: the other files of this room import this one only where trials run. Neither object keeps
anything that Tune's snapshots would have to hold: ledger and store are the truth, snapshots are never restored.
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
from pipeline.driver.execute.protocol import ASK, BESIDE, Event, Loss, Report
from pipeline.driver.execute.stacks import Stacks

if TYPE_CHECKING:
    from pipeline.driver.execute.protocol import TrialQueue
    from pipeline.study.records import Ask

OUT_OF_MEMORY = ("OutOfMemory", "out of memory", "MemoryError")
# Ray's words for whatever ended a node, preemption among it; and, before it knows, for a connection that was cut
NODE_LOST = ("node has died", "temporarily unavailable")


def last_failure(trial: Any) -> str:
    """Return what Tune has written about a trial's last failure; empty if nothing."""
    with suppress(OSError, TypeError):  # there is no file
        return Path(trial.error_file).read_text().rpartition("Failure # ")[2]
    return ""


class QueueSearcher(Searcher):
    """Hand the queue's trials to Tune, and report back how each ends.

    Tune takes an error in on_trial_complete for the trial's and runs it again: the queue's first error is kept,
    and raised at the next call that ends the run.
    """

    def __init__(
        self, queue: TrialQueue, room: Callable[[], int], limit: int | None = None, *, stack: int = 1
    ) -> None:
        """Wrap a queue.

        Args:
            queue: where trials come from.
            room: how many trials may run at once, now.
            limit: trials that are started at most; None for all.
            stack: trials that are tuned as one stack, at most.
        """
        super().__init__()
        self.queue: TrialQueue | None = queue
        self.room: Callable[[], int] | None = room
        self.limit = limit
        self.numbers: dict[str, int] = {}  # of the trials that run, by Tune's id
        self.started = 0
        self.stopping: set[str] = set()  # trials that the scheduler has just stopped
        self.errors: dict[str, str] = {}  # why a lost trial was lost
        self.store_lost: set[int] = set()  # trials whose attempt has reported its end because of the store
        self.failure: Exception | None = None
        self.stacks = Stacks(stack)

    def suggest(self, trial_id: str) -> Any:
        """Return the configuration of the next trial; None while there is no room for it."""
        if self.room is not None and len(self.numbers) >= self.room():
            return None
        ask = self.stacks.next()
        beside: tuple[Ask, ...] = ()
        if ask is None and self.started == self.limit:
            return str(Searcher.FINISHED)
        with self.keeping_failure():
            if ask is None and (ask := self._queue().next()) is not None:
                beside = self.stacks.form(trial_id, ask, self._queue())
        if ask is None:
            return None if self.stacks.waits() else str(Searcher.FINISHED)
        self.started += 1
        self.numbers[trial_id] = ask.number
        return {ASK: ask, BESIDE: beside}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass a trial's report on to the queue; rungs are the scheduler's.

        Raises:
            OSError: the trial's record could not be written, for want of space.
            StoreUnseen: the trial's node does not see the store.
        """
        del trial_id  # its process may report of others, too, that it tunes with its own
        report = Report.from_result(result)
        if report is None:
            return
        number = report.number
        with self.keeping_failure():
            match report.event:
                case Event.PROGRESS:
                    self._queue().on_progress(number, report.values)
                case Event.DISK_FULL:
                    raise OSError(28, "No space left on device where a trial's record was to be written")
                case Event.STORE_UNSEEN:
                    raise StoreUnseen(report.node)
                case Event.STORE_AWAY:
                    self._queue().on_store_away(number, ended=False)
                case Event.STORE_LOST:
                    self.store_lost.add(number)
                    self._queue().on_store_away(number, ended=True)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass on that a trial has ended, was stopped, or is lost for good."""
        del result  # the record in the store has more
        number = self.numbers.pop(trial_id, None)
        if number is None or self.failure is not None:
            return
        with suppress(Exception), self.keeping_failure():
            self.stacks.release(trial_id, self._queue())
            if trial_id in self.stopping:
                self.stopping.remove(trial_id)
                self._queue().on_stop(number)
            else:
                self._queue().on_end(number, self.errors.pop(trial_id, "worker lost") if error else None)

    def goes_on(self, trial_id: str, report: Report) -> bool:
        """Return whether Tune's trial goes on after a report: at a rung, or where it leaves its stack."""
        with self.keeping_failure():
            goes_on = True
            if report.event is Event.STACKED:
                goes_on = not self.stacks.release(trial_id, self._queue())
            elif report.rung is not None and not self._queue().on_rung(report.number, report.rung):
                goes_on = self.stacks.stop(trial_id, report.number)
        if not goes_on:
            self.stopping.add(trial_id)
        return goes_on

    def on_restart(self, trial_id: str, failure: str) -> bool:
        """Pass on that a trial will be started again: its process or node died, or it raised an error.

        Return whether its attempt had begun, so that the queue knows of the loss.
        """
        number = self.numbers.get(trial_id)
        if number is None or number in self.store_lost or self.failure is not None:
            self.store_lost.discard(number)
            return False
        with suppress(Exception), self.keeping_failure():
            self.stacks.release(trial_id, self._queue())
        raised = failure.strip().splitlines()[-1] if "Traceback" in failure else ""
        node_lost = any(words in failure for words in NODE_LOST)
        loss = Loss(raised, node_lost, self.errors.get(trial_id, ""))
        with suppress(Exception), self.keeping_failure():
            return self._queue().on_restart(number, loss)
        return False

    @contextmanager
    def keeping_failure(self) -> Iterator[None]:
        """Keep the first error, and raise it again on every later use."""
        if self.failure is not None:
            raise self.failure
        try:
            yield
        except Exception as error:
            self.failure = error
            raise

    def _queue(self) -> TrialQueue:
        if self.queue is None:
            raise RuntimeError("This searcher was read back from a Tune snapshot; ours are never restored.")
        return self.queue

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles it; database connections do not pickle
        return {**self.__dict__, "queue": None, "room": None, "failure": None}

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the ledger is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the ledger is the truth."""


class RungScheduler(FIFOScheduler):
    """Start trials in their order, and stop those that do not go on beyond a rung."""

    def __init__(self, searcher: QueueSearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return STOP at a rung beyond which the trial does not go on, else CONTINUE."""
        del tune_controller
        report = Report.from_result(result)
        if report is None or self.searcher.goes_on(trial.trial_id, report):
            return str(TrialScheduler.CONTINUE)
        return str(TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Note why a trial failed, before the searcher is called; report a trial that will be started again."""
        del tune_controller
        text = last_failure(trial)
        if any(word in text for word in OUT_OF_MEMORY):
            self.searcher.errors[trial.trial_id] = "out of memory: the node that it ran on had none left"
        # a trial that Tune gives up counts as running until this returns
        if trial.status == Trial.ERROR and self.searcher.on_restart(trial.trial_id, text):
            # giving up is the queue's: Tune does not tell a lost machine from a fault of the trial
            trial.run_metadata.num_failures = 0

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the waiting trial with the lowest number; only trials that have not ended are looked through."""
        waiting = [trial for trial in tune_controller.get_live_trials() if trial.status == "PENDING"]
        return min(waiting, key=lambda trial: self.searcher.numbers.get(trial.trial_id, 0), default=None)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: rungs are in the records."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: rungs are in the records."""
