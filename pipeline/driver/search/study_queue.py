"""The queue of one study's trials. Each end goes to store, ledger and MLflow, in that order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.driver.search.study_results import StudyResults
from pipeline.driver.search.trial_source import TrialSource
from pipeline.driver.search.watcher import SearchProgress, Watcher, preview_of
from pipeline.driver.tracking import Later, Publisher
from pipeline.study.halving import Halving, Verdict
from pipeline.study.ledger import LeaseLost
from pipeline.study.records import TUNED, Ask, Rung, StudySpec, TrialRecord
from pipeline.study.store import mark_died

if TYPE_CHECKING:
    from pipeline.driver.execute import Loss
    from pipeline.driver.search.dense_beside import DenseBeside


class StudyQueue:
    """Hand a study's trials to the executor, and take each end to store, ledger and MLflow, in that order."""

    def __init__(
        self,
        source: TrialSource,
        results: StudyResults,
        *,
        publisher: Publisher | Later,
        watcher: Watcher,
        halving: Halving | None,
        dense: DenseBeside | None = None,
        begin: Callable[[StudySpec], None] = lambda _: None,
        slots: int = 1,
    ) -> None:
        """Begin without trials: `settle` comes first.

        Args:
            source: where trials come from, and where the ledger learns of their ends.
            results: the study's records.
            publisher: takes ended trials to MLflow.
            watcher: shows the progress.
            halving: decides at rungs; None if no trial is stopped early.
            dense: the dense network that is trained beside the trials; None if it is there.
            begin: called with the study's spec when that network is trained; the publisher has started after it.
            slots: trials that run at once, as far as that is known at the start.
        """
        self.source, self.results = source, results
        self.meter = source.meter
        self.publisher, self.watcher, self.halving = publisher, watcher, halving
        self.dense, self._begin, self._slots = dense, begin, slots
        self.verdicts: dict[int, Verdict] = {}
        self.again: set[int] = set()  # trials that had ended, and are run again
        self._begun: dict[int, int] = {}  # attempts of each running trial, at its start and at its last loss

    def settle(self) -> None:
        """Complete what earlier drivers left: ended trials are written to the ledger, the others are owed again."""
        results = self.results
        results.study.refresh()
        found = self.source.settle(results.store)
        if self.halving is not None:
            for number, rung in results.rungs(ask.number for ask in found.owed):
                self.halving.remember(number, rung)
        for number in (*found.finished, *found.lost):
            self.publisher.enqueue(number)
        self._say(
            found.again, "ended, and the store has no record of it, as after a power failure: it is run again"
        )
        self._say(found.restored, "is in the store, and the ledger's database had lost it: it is there again")
        self.again = {*found.again}
        results.start(recall_volumes=self.source.budget.flat is not None)
        self._report(None)

    def await_dense(self) -> None:
        """Wait for the dense network, if it is still trained."""
        self._look_for_dense(wait=True)

    def _look_for_dense(self, *, wait: bool = False) -> None:
        """Take the spec whole if the dense network is trained by now."""
        dense = self.dense
        spec = None if dense is None else self.source.retrying(lambda: dense.spec(wait=wait))
        if spec is not None:
            self.results.freeze(spec)
            self.dense = None
            self._begin(spec)

    def has_work(self) -> bool:
        """Return whether a trial is owed, or may be drawn."""
        return self.source.has_next(self.results.volumes)

    def next(self) -> Ask | None:
        """Return an owed trial, else a new one, else None."""
        self._look_for_dense()
        owed = {ask.number for ask in self.source.owed}
        ask = self.source.next(self.results.volumes)
        if ask is None:
            return None
        if ask.number not in owed:
            # of a trial that the ledger's database has lost
            self.results.study.forget_attempts(ask.number, check=self.source.ledger.check)
        self._begun[ask.number] = self.results.study.attempts(ask.number).count()
        self._report(None)
        rungs = () if self.halving is None else self.halving.rungs
        return replace(ask, rungs=rungs, beat_s=self.watcher.beat_s, front=self.results.front_so_far())

    def on_wait(self, number: int, *, ended: bool) -> None:
        """Count no GPU for a trial while it is tuned in another one's process."""
        self.source.wait(number, ended=ended)

    def on_progress(self, number: int, values: Mapping[str, float]) -> None:
        """Show the progress of a running trial."""
        self._look_for_dense()
        self.source.tick()
        self.watcher.on_progress(number, values)

    def on_rung(self, number: int, rung: Rung) -> bool:
        """Return whether a trial goes on beyond a rung; its networks are shown."""
        preview = preview_of(self.results.spec, rung)
        if preview.points:
            self.watcher.on_preview(number, preview)
        if self.halving is None or rung.index == TUNED:
            return True
        self.verdicts[number] = self.halving.judge(number, rung)
        return self.verdicts[number].goes_on

    def on_stop(self, number: int) -> None:
        """End a trial that was stopped at a rung: what it left there becomes its record."""
        self.results.stop(self.source.running[number], self.verdicts[number])
        self.on_end(number, None)

    def on_end(self, number: int, error: str | None) -> None:
        """End a trial: its own record is the truth; without one it was lost."""
        self._look_for_dense()
        self.source.tick()
        record, rows = self.results.read(self.source.running[number], error)
        self.source.end(record)
        self.verdicts.pop(number, None)
        self._begun.pop(number, None)
        self.publisher.enqueue(number, again=number in self.again)
        self.results.add(number, rows)
        self._report(record)

    def on_store_away(self, number: int, *, ended: bool) -> None:
        """Warn that a trial's machine does not reach the store: the trial waits, or starts again if it `ended`.

        Raises:
            ObjectStoreLost: the driver does not reach it either.
        """
        what = "ended, to be started again" if ended else "waits"
        self.watcher.warn(f"Trial {number} {what}: its machine does not reach the store.")
        self.source.tick()
        if ended:
            self.results.store.check_reachable()

    def on_restart(self, number: int, loss: Loss) -> bool:
        """Warn that a trial goes on in another process, from its last checkpoint, or give it up.

        Return whether its attempt had begun.

        Raises:
            LeaseLost: another driver has taken over, and may run it by now.
        """
        self.results.study.refresh(number)
        attempts = self.results.study.attempts(number)
        before, self._begun[number] = self._begun.get(number, 0), attempts.count()
        begun = attempts.folders()
        self.source.ledger.check()  # after it was seen which attempts have begun: no later driver's is marked
        has_begun = self._begun[number] > before
        if has_begun and not loss.node_lost:
            mark_died(begun[-1], loss.reason)
        lost = f"has lost its {'node' if loss.node_lost else 'process'}"
        what = f"ended by {loss.raised}" if loss.raised else lost
        if reason := attempts.given_up():
            self.results.give_up(self.source.running[number], reason)
            self.watcher.warn(f"Trial {number} {what}; it is given up ({reason}).")
        else:
            self.watcher.warn(f"Trial {number} {what}; it goes on from its last checkpoint.")
        return has_begun

    def close(self) -> None:
        """Gather the records and publish the front; also on the way out of an interruption."""
        try:
            self.source.ledger.check()
        except LeaseLost:  # the study is another driver's now
            self.publisher.abandon()
            return
        try:
            self.source.tick()
            self.meter.note()
            self.results.interrupt(self.source.running)
            self.results.gather()
        finally:
            done = self._close_publisher()
        if not done:
            self.watcher.warn(
                "MLflow does not have all of this study yet; the next search brings it, or `prunefront studies --sync`."
            )

    def _close_publisher(self) -> bool:
        """Return whether MLflow has all of the study; of one that is not visible yet it gets nothing."""
        if self.dense is not None:
            return True
        done = self.publisher.close("stopped" if self.source.running else "complete")
        self._show_messages()
        return done

    def _say(self, numbers: Sequence[int], what: str) -> None:
        for number in numbers:
            self.watcher.warn(f"Trial {number} {what}.")

    def _show_messages(self) -> None:
        for message in self.publisher.messages():
            self.watcher.warn(message)

    def _report(self, record: TrialRecord | None) -> None:
        """Show how the study stands; `record` is of the trial that has just ended."""
        self._show_messages()
        counts = self.source.counts()
        progress = SearchProgress(
            counts.ended,
            counts.stopped,
            counts.failed,
            tuple(self.source.running),
            self.results.front,
            budget=self.source.budget,
            spent=self.meter.spent,
            slots=self._slots,
        )
        self.watcher.on_change(progress, record)
