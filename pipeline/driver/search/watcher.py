"""How a search is watched: by a terminal, by a notebook, or by nobody."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from pipeline.driver.search.budget import Budget
from pipeline.fronts.front import Front
from pipeline.study.records import StudySpec, TrialRecord
from pipeline.study.store import Spent

NEVER = math.inf


@dataclass(frozen=True)
class SearchProgress:
    """How a study stands while it runs."""

    ended: int
    stopped: int  # of them
    failed: int  # of them
    at_work: tuple[int, ...]  # the trials that run
    front: Front | None
    budget: Budget
    spent: Spent

    @property
    def total(self) -> int:
        """Trials that were asked for."""
        return self.budget.trials

    @property
    def running(self) -> int:
        """How many trials run."""
        return len(self.at_work)


class Watcher(Protocol):
    """Who watches a search: the terminal, or nobody.

    `beat_s`: how often a trial says where it is between the ends of its epochs, at most; NEVER: it does not.
    """

    beat_s: float

    def stage(self, what: str) -> None:
        """Something that takes a while begins."""

    def dense(self) -> None:
        """One of the dense networks is trained."""

    def anchors(self, spec: StudySpec) -> None:
        """The anchors are known: trials begin."""

    def heard(self, number: int, values: dict[str, float]) -> None:
        """A running trial has ended an epoch, or says where it is."""

    def stands(self, standing: SearchProgress, record: TrialRecord | None) -> None:
        """The study's standing has changed; `record` is the trial that has just ended."""

    def warn(self, message: str) -> None:
        """Something went wrong that does not stop the search."""


class SilentWatcher:
    """A watcher that does not look."""

    beat_s = NEVER

    def stage(self, what: str) -> None:
        """Nothing."""

    def dense(self) -> None:
        """Nothing."""

    def anchors(self, spec: StudySpec) -> None:
        """Nothing."""

    def heard(self, number: int, values: dict[str, float]) -> None:
        """Nothing."""

    def stands(self, standing: SearchProgress, record: TrialRecord | None) -> None:
        """Nothing."""

    def warn(self, message: str) -> None:
        """Nothing."""
