"""How a search is watched: by a terminal, by a notebook, or by nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pipeline.fronts import Front
from pipeline.records import StudySpec, TrialRecord


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
