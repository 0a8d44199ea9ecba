"""What another tracker offers; each is an optional extra, and no other part of the package imports its library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pipeline.driver.tracking.published import shown, trial_values
from pipeline.study.records import StudySpec, TrialRecord


@dataclass(frozen=True)
class Run:
    """A trial as trackers take it: the parameters and numbers that MLflow has of it."""

    task: str
    study: str
    name: str  # trial-00003
    params: Mapping[str, str | float | bool]
    series: Mapping[str, tuple[tuple[int, float], ...]]  # name -> (step, value); of a single number step 0
    state: str

    @property
    def last(self) -> dict[str, float]:
        """The numbers of the trial's network: the series of one value."""
        return {name: values[0][1] for name, values in self.series.items() if "/" not in name}


class OtherTracker(Protocol):
    """A place for runs."""

    def write(self, run: Run) -> None:
        """Write a run; of the same run twice the later one stays, or both."""


@dataclass(frozen=True)
class TrackerKind:
    """How a tracker is named, and made."""

    package: str  # that is imported, and the extra that installs it
    target: str | None  # what follows the name and a colon; None: nothing does
    make: Callable[[str], OtherTracker]


def run_of(record: TrialRecord, spec: StudySpec) -> Run:
    """Return an ended trial as a run."""
    series: dict[str, list[tuple[int, float]]] = {}
    for value in trial_values(record, start=0):
        series.setdefault(value.key, []).append((value.step, value.value))
    return Run(
        task=spec.task,
        study=spec.name,
        name=f"trial-{record.number:05d}",
        params={
            key: value if isinstance(value, bool | int | float) else shown(value)
            for key, value in record.params.items()
        },
        series={name: tuple(values) for name, values in series.items()},
        state=record.state,
    )
