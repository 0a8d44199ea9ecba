"""What the executor and the driver say to each other: a trial to run, and how it went."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from pipeline.study.records import Params, Rung


@dataclass(frozen=True)
class Job:
    """A trial to run, by its number in the ledger."""

    number: int
    params: Params
    seed: int
    rungs: tuple[float, ...] = ()  # parts of its training after which the desk is asked whether it goes on
    beat_s: float = math.inf  # how often it says where it is between the ends of its epochs


class TrialQueue(Protocol):
    """Where the executor gets its trials and says how they end. Called in the driver only."""

    def next(self) -> Job | None:
        """The next trial to start, or None if no more are to start."""

    def heard(self, number: int, values: dict[str, float]) -> None:
        """A running trial has ended an epoch, or says where it is."""

    def rung(self, number: int, rung: Rung) -> bool:
        """Whether a trial goes on beyond a rung; if not, `stopped` follows."""

    def stopped(self, number: int) -> None:
        """A trial was stopped at the rung that was asked about last: its record so far is in its attempt's folder."""

    def store_away(self, number: int, *, ended: bool) -> None:
        """A trial waits for the store, or has ended over it, to be started again; raises if the driver lost it, too."""

    def again(self, number: int, error: str | None) -> None:
        """A trial is started again, from its last checkpoint: after an error, or its process or node has died."""

    def ended(self, number: int, error: str | None) -> None:
        """A trial has ended: its record is in the store, or it was lost for good and `error` says how."""
