"""Choose a network of a study."""

from __future__ import annotations

from dataclasses import replace

from pipeline.fronts.bounds import Bounds
from pipeline.fronts.front import Front, FrontPoint, read_front
from pipeline.fronts.pick import pick_within
from pipeline.study.records import BadInput
from pipeline.study.store import Store

ROUNDING = 5e-5  # commands print shares with four digits: what was printed is found again


def choose_point(
    store: Store, study: str, bounds: Bounds, *, trial: int | None = None
) -> tuple[Front, FrontPoint]:
    """Return the study's front, and the chosen network: with `trial`, of that trial's points alone.

    Raises:
        BadInput: no such study or trial, or no point within the bounds (the message has what there is).
    """
    files = store.study(study)
    whole = read_front(files)
    offered = whole
    if trial is not None:
        _check_trial(store, study, trial)
        offered = read_front(files, trial=trial)
        if not offered.points:
            raise BadInput(
                f"Trial {trial} of {study!r} has no network that predicts better than a constant. On "
                f"the study's front are trials {_trials(whole)}."
            )
    return whole, pick_within(offered, _rounded(bounds))


def find_point(store: Store, study: str, trial: int, point: int) -> tuple[Front, FrontPoint]:
    """Return the study's front, and a network that is or was on it: one of those on its trial's own front.

    Raises:
        BadInput: no such study or trial, or the trial's front has no such point.
    """
    files = store.study(study)
    whole = read_front(files)
    _check_trial(store, study, trial)
    found = next((each for each in read_front(files, trial=trial).points if each.point == point), None)
    if found is None:
        raise BadInput(
            f"Trial {trial} of {study!r} has no point {point} that another of its own does not dominate."
        )
    return whole, found


def _rounded(bounds: Bounds) -> Bounds:
    """Return the bounds with shares as far below as printing rounds them."""

    def below(share: float | None) -> float | None:
        return None if share is None else max(share - ROUNDING, 0.0)

    return replace(
        bounds, min_compression=below(bounds.min_compression), min_sparsity=below(bounds.min_sparsity)
    )


def _check_trial(store: Store, study: str, number: int) -> None:
    files = store.study(study)
    finished = files.finished_numbers()
    if number not in finished:
        known = f"0 to {finished[-1]}" if finished else "none"
        raise BadInput(
            f"{study!r} has no ended trial {number} (it has {known}), and only ended ones can be exported. Name "
            "another, or none for the best of the front."
        )
    record = files.read_record(number)
    if record.state != "complete":
        raise BadInput(
            f"Trial {number} of {study!r} is {record.state} and cannot be exported: {record.reason} Name "
            "another, or none for the best of the front."
        )


def _trials(found: Front) -> str:
    return ", ".join(str(number) for number in sorted({point.trial for point in found.points})) or "none"
