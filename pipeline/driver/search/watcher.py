"""How a search shows its progress: a terminal, a notebook or a test overrides Watcher."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.driver.search.budget import Budget
from pipeline.fronts.bounds import USUAL_DROP, lowest_metric
from pipeline.fronts.front import Front
from pipeline.fronts.numbers import percent
from pipeline.study.pareto import front
from pipeline.study.records import Rung, StudySpec, TrialRecord
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
    slots: int = 1  # trials that run at once, when no dense network is trained beside them

    @property
    def total(self) -> int:
        """The study's requested trials."""
        return self.budget.trials

    @property
    def running(self) -> int:
        """The number of running trials."""
        return len(self.at_work)


@dataclass(frozen=True)
class Preview:
    """Networks of a running trial, cut as it is in mid-training and not trained on: a first look at its front."""

    epoch: float  # trained so far
    points: tuple[tuple[float, float], ...]  # metric and gain of those that no other of them dominates

    @property
    def smallest(self) -> tuple[float, float]:
        """The smallest of them within USUAL_DROP of the best metric: what `best` would choose."""
        lowest = lowest_metric(max(metric for metric, _ in self.points), USUAL_DROP)
        return max((each for each in self.points if each[0] >= lowest), key=lambda each: each[1])

    def __str__(self) -> str:
        """Say it as a line of progress does, such as: 0.9236 at 40.0 % so far, after 7.5 epochs."""
        metric, gain = self.smallest
        return f"{metric:.4f} at {percent(gain)} so far, after {self.epoch:.3g} epochs"


def preview_of(spec: StudySpec, rung: Rung) -> Preview:
    """Return what a rung shows of a study's objectives; without networks that are no better than a constant."""
    values = spec.values(rung.columns())
    useful = values[values[:, 0] > spec.anchors.constant]
    return Preview(rung.epoch, tuple((float(metric), float(gain)) for metric, gain in useful[front(useful)]))


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

    def on_preview(self, number: int, preview: Preview) -> None:
        """Note networks of a running trial. Those of the end of its tuning will be points of the study, if it ends."""

    def on_change(self, progress: SearchProgress, record: TrialRecord | None) -> None:
        """Note how the study stands after a trial has started, or ended with `record`."""

    def warn(self, message: str) -> None:
        """Note a fault that does not stop the search."""


class SilentWatcher(Watcher):
    """Ignore every event."""
