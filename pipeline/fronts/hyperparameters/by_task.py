"""One row per task, model and method: the best settings within a user's bounds, and how sure they are."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.fronts.bounds import Bounds
from pipeline.fronts.confirmed import ConfirmedPoint, load_confirmed
from pipeline.fronts.front import Front, FrontPoint, front_of, with_latency
from pipeline.fronts.hyperparameters.profile import Profile, penalty_profile
from pipeline.fronts.hyperparameters.trial_fronts import TrialFront, trial_fronts
from pipeline.fronts.pick import merged, pick_within
from pipeline.fronts.statistics import Interval, interval
from pipeline.study.records import BadInput, StudySpec
from pipeline.study.store import Store


@dataclass(frozen=True, eq=False)
class Choice:
    """The result of all studies of one task, model and method. `point` is None if none is within the bounds."""

    task: str
    model: str
    method: str
    metric_name: str
    studies: tuple[str, ...]
    seeds: tuple[int, ...]
    trials: int
    dense: float
    study: str  # that the point is of
    point: FrontPoint | None
    why_none: str
    metric: Interval | None  # of the point: on test over fresh seeds, else over the fronts of the seeds
    metric_from: str  # "test, fresh seeds", "validation, seeds", or "validation"
    profile: Profile | None
    trial_fronts: tuple[TrialFront, ...]
    spec: StudySpec

    @property
    def speed_up(self) -> float | None:
        """Latency of the dense network over the point's; None if it was not measured."""
        point = self.point
        if point is None or not point.latency_ms or not point.dense_latency_ms:
            return None
        return point.dense_latency_ms / point.latency_ms


def best_by_task(store: Path | str, bounds: Bounds, *, task: str | None = None) -> list[Choice]:
    """Return a choice for every task × model × method of a store, by task, the best point first.

    Raises:
        BadInput: the store has no study (of that task), or the bounds number a row.
    """
    if bounds.point is not None:
        raise BadInput("--point is a row of one study's front. Leave it out with --by-task.")
    files = Store(Path(store))
    specs = [files.study(name).read_spec() for name in files.list_studies()]
    of_kind: defaultdict[tuple[str, ...], list[StudySpec]] = defaultdict(list)
    for spec in specs:
        if task in (None, spec.task):
            of_kind[spec.task, spec.task_fingerprint, spec.model, spec.approach, spec.objective].append(spec)
    if not of_kind:
        known = ", ".join(sorted({spec.task for spec in specs}))
        has = f"has none of {task!r}; it has {known}" if known else "has none yet"
        raise BadInput(f"{store} {has}. `prunefront search` makes one.")
    found = [_choice(files, group, bounds) for group in of_kind.values()]
    return sorted(found, key=lambda one: (one.task, one.model, _order(one)))


def _order(choice: Choice) -> float:
    return -choice.point.metric if choice.point is not None else math.inf


def _choice(files: Store, specs: Sequence[StudySpec], bounds: Bounds) -> Choice:
    tables = [files.study(spec.name).read_points() for spec in specs]
    fronts = [
        with_latency(front_of(table), files.study(spec.name).latency.read())
        for spec, table in zip(specs, tables, strict=True)
    ]
    trials = [one for table in tables for one in trial_fronts(table)]
    owned = [(found, point) for found in fronts for point in found.points]
    point, why = None, ""
    try:
        point = pick_within(merged(fronts), bounds)
    except BadInput as reason:
        why = str(reason)
    study = next((found.spec.name for found, each in owned if each is point), specs[0].name)
    metric, source = _metric(files, study, point, fronts, bounds)
    spec = specs[0]
    return Choice(
        task=spec.task,
        model=spec.model,
        method=spec.approach,
        metric_name=spec.metric_name,
        studies=tuple(each.name for each in specs),
        seeds=tuple(sorted({each.seed for each in specs})),
        trials=sum(found.trials for found in fronts),
        dense=max(each.anchors.dense for each in specs),
        study=study,
        point=point,
        why_none=why,
        metric=metric,
        metric_from=source,
        profile=penalty_profile(trials, spec.reference_point),
        trial_fronts=tuple(trials),
        spec=spec,
    )


def _metric(
    files: Store, study: str, point: FrontPoint | None, fronts: Sequence[Front], bounds: Bounds
) -> tuple[Interval | None, str]:
    """Return the most certain metric of the point, and what it was measured on."""
    if point is None:
        return None, ""
    confirmed = _confirmed(files, study, point)
    if confirmed is not None and confirmed.metric.count > 1:
        return confirmed.metric, "test, fresh seeds"
    offered = []
    for found in fronts:
        try:
            offered.append(pick_within(found, bounds).metric)
        except BadInput:
            continue
    if len({found.spec.seed for found in fronts}) > 1 and len(offered) == len(fronts):
        return interval(offered), "validation, seeds"
    return Interval(point.metric, np.nan, np.nan, np.nan, 1), "validation"


def _confirmed(files: Store, study: str, point: FrontPoint) -> ConfirmedPoint | None:
    found = load_confirmed(study, store=files.root)
    places = () if found is None else found.points
    return next((each for each in places if (each.trial, each.point) == (point.trial, point.point)), None)
