"""What passes between the driver's queue of trials, the executor and a trial's process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from pipeline.study.records import Ask, Rung

NUMBER, EVENT, VALUES, RUNG = "number", "event", "values", "rung"  # keys of a result
NODE = "node_ip"  # Tune's own key
ASK = "ask"  # a key of a trial's configuration: itself
BESIDE = "beside"  # a key: other trials that its process tunes with it, as one stack


class Event(StrEnum):
    """What a trial reports."""

    PROGRESS = "progress"  # an epoch has ended, or `beat_s` have passed
    RUNG = "rung"  # a rung is reached: the driver decides whether the trial goes on; or its tuning has ended
    STORE_UNSEEN = "store_unseen"  # the node does not see the store's folder
    STORE_AWAY = "store_away"  # the object store does not answer: the trial waits
    STORE_LOST = "store_lost"  # it did not answer in time: this attempt ends
    STACKED = "stacked"  # a trial and those beside it have left their stack: the others may start
    DISK_FULL = "disk_full"  # the record could not be written
    ENDED = "ended"  # the record is in the store


@dataclass(frozen=True)
class Report:
    """A message of a running trial to its driver.

    Tune delivers a trial's last report twice, so the last one is always one whose repetition changes nothing.
    """

    number: int
    event: Event
    values: Mapping[str, float] = field(default_factory=dict)  # of PROGRESS: epoch, train_loss, metric, …
    rung: Rung | None = None  # of RUNG
    node: str = ""  # the address of the trial's node, known on receipt

    def to_result(self) -> dict[str, Any]:
        """Return the dict that `tune.report` takes."""
        found = {NUMBER: self.number, EVENT: str(self.event), VALUES: dict(self.values)}
        return found if self.rung is None else found | {RUNG: asdict(self.rung)}

    @classmethod
    def from_result(cls, result: Mapping[str, Any]) -> Report | None:
        """Return the report in a result as Tune hands it to the driver: flattened, with keys of its own.

        None if the trial has not reported anything.
        """
        if EVENT not in result:
            return None
        rung: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in _part(result, RUNG).items()
        }
        return cls(
            number=int(result[NUMBER]),
            event=Event(result[EVENT]),
            values={name: float(value) for name, value in _part(result, VALUES).items()},
            rung=Rung(**rung) if rung else None,
            node=str(result.get(NODE, "")),
        )


def _part(result: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the nested dict `name` of a result, which Tune has flattened into keys `name/…`."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in result.items() if key.startswith(prefix)}


@dataclass(frozen=True)
class Loss:
    """Why an attempt at a trial has ended before the trial: its process died, alone or with its node, or it raised."""

    raised: str = ""  # the error; empty if its process was lost
    node_lost: bool = False  # Ray has lost the machine, or the way to it
    reason: str = ""  # of the trial's failure, should it be given up; empty if nothing is known


class TrialQueue(Protocol):
    """Hands out trials to the executor and takes in what happens to them. Used in the driver's process only."""

    def next(self) -> Ask | None:
        """Return the next trial to start, or None if no more are to start."""

    def on_wait(self, number: int, *, ended: bool) -> None:
        """Take in that a trial is tuned in the process of another one, and takes no GPU of its own; or no longer."""

    def on_progress(self, number: int, values: Mapping[str, float]) -> None:
        """Take in the progress of a running trial."""

    def on_rung(self, number: int, rung: Rung) -> bool:
        """Return whether a trial goes on beyond a rung; if not, `on_stop` follows. Beyond TUNED it does."""

    def on_stop(self, number: int) -> None:
        """Take in that a trial was stopped at its last rung: its record so far is in its attempt's folder."""

    def on_store_away(self, number: int, *, ended: bool) -> None:
        """Take in that a trial does not reach the store: it waits, or its attempt has `ended` and is repeated.

        Raises if the driver does not reach the store either.
        """

    def on_restart(self, number: int, loss: Loss) -> bool:
        """Take in that a trial restarts from its last checkpoint; one that is given up has its record by then.

        Return whether the attempt had begun: of a process that dies before that, the executor counts the restarts.
        """

    def on_end(self, number: int, error: str | None) -> None:
        """Take in that a trial has ended: its record is in the store, or it is lost for good because of `error`."""
