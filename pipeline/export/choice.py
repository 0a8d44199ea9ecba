"""Choose a network of a study."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.fronts.front import Front, FrontPoint, read_front
from pipeline.fronts.pick import pick
from pipeline.study.records import BadInput
from pipeline.study.store import Store

ROUNDING = 5e-5  # commands print shares with four digits: what was printed is found again


@dataclass(frozen=True)
class Choice:
    """A trial, and bounds on its points or on the study's front; with nothing given, the front's knee."""

    trial: int | None = None
    compression: float | None = None  # at least
    sparsity: float | None = None  # at least
    max_drop: float | None = None  # below the dense metric
    max_latency_ms: float | None = None


def choose_point(store: Store, study: str, choice: Choice) -> tuple[Front, FrontPoint]:
    """Return the study's front, and the chosen network: with `trial`, of that trial's points alone.

    Raises:
        BadInput: no such study or trial, or no point within the bounds (the message has what there is).
    """
    files = store.study(study)
    whole = read_front(files)
    offered = whole
    if choice.trial is not None:
        _check_trial(store, study, choice.trial)
        offered = read_front(files, trial=choice.trial)
        if not offered.points:
            raise BadInput(
                f"What is exported predicts better than a constant; trial {choice.trial} of {study!r} has no such "
                f"network. On the study's front are trials {_trials(whole)}."
            )
    point = pick(
        offered,
        max_drop=choice.max_drop,
        min_compression=None if choice.compression is None else choice.compression - ROUNDING,
        min_sparsity=None if choice.sparsity is None else choice.sparsity - ROUNDING,
        max_latency_ms=choice.max_latency_ms,
    )
    return whole, point


def _check_trial(store: Store, study: str, number: int) -> None:
    files = store.study(study)
    finished = files.finished_numbers()
    if number not in finished:
        known = f"0 to {finished[-1]}" if finished else "none"
        raise BadInput(
            f"A trial that has ended can be exported; {study!r} has no ended trial {number} (it has {known}). Name "
            "another, or none for the best of the front."
        )
    record = files.read_record(number)
    if record.state != "complete":
        raise BadInput(
            f"A complete trial can be exported; trial {number} of {study!r} is {record.state}: {record.reason} Name "
            "another, or none for the best of the front."
        )


def _trials(found: Front) -> str:
    return ", ".join(str(number) for number in sorted({point.trial for point in found.points})) or "none"
