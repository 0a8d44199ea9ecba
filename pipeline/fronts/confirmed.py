"""The confirmed points of a study: trained again on fresh seeds and measured on test rows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from pipeline.fronts.statistics import Interval, interval
from pipeline.study.records import Array, FloatArray, Kind, Params, StudySpec
from pipeline.study.store import DEFAULT_STORE, Confirmation, Points, Store


@dataclass(frozen=True, eq=False)
class ConfirmedPoint:
    """One point of a front, trained again on fresh seeds. Means and intervals are over those."""

    trial: int
    point: int
    kind: Kind
    params: Params  # of its trial
    selected: float  # its metric on validation, where the front chose it
    selected_gain: float
    metric: Interval  # on test
    gain: Interval
    compression: Interval
    sparsity: Interval
    validation: Interval  # the metric on validation, of the fresh seeds
    optimism: Interval  # selected - metric on test
    failed: int  # seeds whose training failed: they are in none of the means
    confirmations: tuple[Confirmation, ...]  # that are complete, by seed


@dataclass(frozen=True, eq=False)
class Confirmed:
    """The confirmed points of a study by rising gain, and the labels [V] of the test rows.

    `classes`: of the task; 0 of a regression, and of studies that did not note it.
    """

    spec: StudySpec
    points: tuple[ConfirmedPoint, ...]
    labels: Array
    classes: int = 0

    @property
    def values(self) -> FloatArray:
        """[P, 2]: mean metric on test and mean gain of every point that has any."""
        import numpy as np

        return np.array([(p.metric.mean, p.gain.mean) for p in self.points], dtype=np.float64).reshape(-1, 2)


def load_confirmed(study: str, *, store: Path | str = DEFAULT_STORE) -> Confirmed | None:
    """Return the confirmed points of a study; None if there are none.

    Raises:
        BadInput: the store holds no such study, or a file is damaged.
    """
    files = Store(Path(store)).study(study)
    spec = files.read_spec()
    kept = files.confirmations
    by_point: defaultdict[tuple[int, int], list[Confirmation]] = defaultdict(list)
    for found in kept.read():
        by_point[found.trial, found.point].append(found)
    if not by_point:
        return None
    confirmed = files.read_points().of_trials({trial for trial, _ in by_point}).points(complete=False)
    places = zip(confirmed.column("number"), confirmed.column("point"), strict=True)
    points = [
        _summary(confirmed, at, by_point[place]) for at, place in enumerate(places) if place in by_point
    ]
    ids, labels = kept.read_test()
    del ids
    return Confirmed(
        spec, tuple(sorted(points, key=lambda p: p.selected_gain)), labels, files.data.read().classes
    )


def _summary(points: Points, at: int, found: list[Confirmation]) -> ConfirmedPoint:
    """Summarise the confirmations of the network at a place of `points`."""
    (row,) = points.at([at]).rows()
    whole = tuple(each for each in found if each.state == "complete" and each.measurement is not None)
    measured = [each.measurement for each in whole if each.measurement is not None]
    selected = row["metric"]
    gains = [float(points.spec.values(vars(each))[1]) for each in measured]
    return ConfirmedPoint(
        trial=row["number"],
        point=row["point"],
        kind=row["kind"],
        params=points.trial_params(at),
        selected=selected,
        selected_gain=row["gain"],
        metric=interval([each.metric for each in measured]),
        gain=interval(gains),
        compression=interval([each.compression for each in measured]),
        sparsity=interval([each.sparsity for each in measured]),
        validation=interval([each.validation for each in whole if each.validation is not None]),
        optimism=interval([selected - each.metric for each in measured]),
        failed=len(found) - len(whole),
        confirmations=whole,
    )
