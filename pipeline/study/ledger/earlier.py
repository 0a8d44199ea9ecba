"""What earlier drivers left of a study: in its ledger, and in its store."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from pipeline.study.ledger.samplers import trial_seed
from pipeline.study.ledger.storage import shown
from pipeline.study.records import Ask, BadInput, StudySpec, TrialRecord
from pipeline.study.store import Damaged

if TYPE_CHECKING:
    from pipeline.study.store import StudyStore


@dataclass(frozen=True)
class Counts:
    """The number of a study's trials in each state."""

    complete: int
    stopped: int
    failed: int
    running: int

    @classmethod
    def of(cls, states: Sequence[TrialState]) -> Counts:
        """Count them."""
        return cls(
            complete=states.count(TrialState.COMPLETE),
            stopped=states.count(TrialState.PRUNED),
            failed=states.count(TrialState.FAIL),
            running=states.count(TrialState.RUNNING),
        )

    @property
    def ended(self) -> int:
        """The trials that count towards a study's total."""
        return self.complete + self.stopped + self.failed


@dataclass(frozen=True)
class Found:
    """What earlier drivers left: trial numbers, and the trials still to run."""

    finished: tuple[int, ...]  # with a record, but their driver died before it wrote that to the ledger
    lost: tuple[int, ...]  # given up: `Attempts.given_up`
    unasked: tuple[int, ...]  # without complete parameters: failed, not counted
    owed: tuple[Ask, ...]
    again: tuple[int, ...] = ()  # ended in the ledger, without a record that can be read: to be run again
    restored: tuple[int, ...] = ()  # with a record, and gone from the ledger: written there again


def are_of(spec: StudySpec, records: Iterable[TrialRecord], *, after: int) -> bool:
    """Return whether records are those of a study's next trials, of which its database has lost the last commits.

    Args:
        spec: of the study.
        records: of trials that the ledger does not know.
        after: the number of the last trial that it knows; -1 if it knows none: then it is another ledger.
    """
    return after >= 0 and all(
        record.number > after and record.seed == trial_seed(spec.seed, record.number) for record in records
    )


def refuse_strangers(study: StudyStore, url: str, numbers: list[int]) -> None:
    """Refuse a store with another ledger's records: their results would count for this one's trials.

    Raises:
        BadInput: there are any.
    """
    if not numbers:
        return
    shown_numbers = ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")
    raise BadInput(
        f"{study.folder} has records of trials that {shown(url)} never drew (numbers "
        f"{shown_numbers}). A store and a ledger belong together. Name the ledger that they were made "
        "with (--ledger), or put its file back. If it is lost: their front stays as it is, for show, "
        f"best and export; search on under another --name, with --warm-start {study.name}."
    )


@dataclass(frozen=True)
class InStore:
    """What a store has of trials that its ledger has not ended."""

    unknown: list[TrialRecord]  # of trials that the ledger does not know
    records: dict[int, TrialRecord]  # of owed trials
    damaged: list[int]  # records of owed trials
    others: list[int]  # records that another search of the study's name has written


def in_store(study: StudyStore, *, given: Container[int], owed: Container[int]) -> InStore:
    """Read the records of trials that the ledger has not ended.

    Args:
        study: in the store.
        given: the trials that the ledger knows.
        owed: those of them that have not ended.

    Raises:
        BadInput: a record of an unknown trial is damaged, or a newer version wrote one.
    """
    there = [number for number in study.finished_numbers() if number not in given or number in owed]
    others = [number for number in there if not study.has_record(number)]
    unknown = [study.read_record(n) for n in there if n not in given and n not in others]
    records, damaged = readable(study, [n for n in there if n in owed])
    return InStore(unknown, records, damaged, others)


def readable(study: StudyStore, numbers: Iterable[int]) -> tuple[dict[int, TrialRecord], list[int]]:
    """Return the records that trials have, by number, and the numbers of those whose record is damaged.

    Raises:
        BadInput: a newer version wrote one.
    """
    found, damaged = {}, []
    for number in filter(study.has_record, numbers):
        try:
            found[number] = study.read_record(number)
        except Damaged:
            damaged.append(number)
    return found, damaged
