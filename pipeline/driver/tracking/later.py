"""A study that MLflow gets after the fact: nothing is published before `studies --sync`."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from pipeline.study.records import State
from pipeline.study.store import Outbox

if TYPE_CHECKING:
    from pipeline.driver.tracking.tracker import Tracker
    from pipeline.study.records import StudySpec
    from pipeline.study.store import StudyStore


@final
class Later:
    """In a publisher's place: note what MLflow is owed."""

    delivered = 0

    def __init__(self, study: StudyStore, *, address: str) -> None:
        """Note what is owed in the outbox of `study`; `address` is where a sync takes it if none is given then."""
        self._study, self._address = study, address

    def start(self, tracker: Tracker | None = None, *, spec: StudySpec | None = None) -> None:
        """Make no contact."""

    def enqueue(self, number: int, *, again: bool = False) -> None:
        """Wait: the trial's record is in the store."""

    def messages(self) -> list[str]:
        """Return none."""
        return []

    def close(self, state: State) -> bool:
        """Note all trials that have ended; return False: MLflow has none of them."""
        self._study.outbox.write(Outbox(self._address, tuple(self._study.ended_in_order()), state))
        return False

    def abandon(self) -> None:
        """Note nothing: another driver has taken the study over."""
