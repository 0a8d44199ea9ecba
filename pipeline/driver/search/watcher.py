"""How a search shows its progress: a terminal, a notebook or a test overrides Watcher."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.driver.search.budget import Budget
from pipeline.fronts.front import Front
from pipeline.study.records import StudySpec, TrialRecord
from pipeline.study.store import Spent

NEVER = math.inf


@dataclass(frozen=True)
class SearchProgress:
    """The state of a study while it runs."""

    ended: int
    stopped: int  # of the ended ones
    failed: int  # of the ended ones
    at_work: tuple[int, ...]  # the numbers of the running trials
    front: Front | None
    budget: Budget
    spent: Spent

    @property
    def total(self) -> int:
        """The study's requested trials."""
        return self.budget.trials

    @property
    def running(self) -> int:
        """The number of running trials."""
        return len(self.at_work)


class Watcher:
    """Receive the events of a search. Here every method ignores its event; a subclass overrides those it shows.

    `beat_s`: seconds between a trial's progress reports within an epoch; NEVER for none.
    """

    beat_s: float = NEVER

    def stage(self, what: str) -> None:
        """Note that a longer step begins."""

    def dense(self) -> None:
        """Note that one of the dense networks is trained."""

    def anchors(self, spec: StudySpec) -> None:
        """Note that the anchors are measured: trials begin."""

    def on_progress(self, number: int, values: Mapping[str, float]) -> None:
        """Note the progress of a running trial: epoch, epochs, train_loss, metric, projected; not all of them."""

    def on_change(self, progress: SearchProgress, record: TrialRecord | None) -> None:
        """Note how the study stands after a trial has started, or ended with `record`."""

    def warn(self, message: str) -> None:
        """Note a fault that does not stop the search."""


class SilentWatcher(Watcher):
    """Ignore every event."""
