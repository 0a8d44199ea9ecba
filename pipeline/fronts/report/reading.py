"""The contents of a report about a study, read from its store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from pipeline.fronts.confirmed import Confirmed, load_confirmed
from pipeline.fronts.figures import CURVE_DOTS, Dot, Series, dots
from pipeline.fronts.front import Front, front_of, with_latency
from pipeline.fronts.hyperparameters import Profile, TrialFront, importances, penalty_profile, trial_fronts
from pipeline.study.pareto import hypervolume
from pipeline.study.records import Masks, Point
from pipeline.study.store import Store, StudyStore, store_option

PICTURED = 400  # networks of a page whose layers are shown, about: those on the front first
LINES = 80  # trials whose lines a page draws, shared among its studies
LEAST_LINES = 8  # of each study
LEFT_OUT = 20  # trials that failed or were stopped, named


@dataclass(frozen=True)
class Layers:
    """The parts of a network that stay, layer by layer: heads, and the share of the FFN's neurons."""

    heads: tuple[str, ...]  # a 1 for a head that stays, a 0 for one that is gone
    neurons: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class StudyView:
    """A study as a report shows it."""

    front: Front
    whole: Series  # all its networks
    series: Series  # its networks, thinned so that a page stays small
    rows: dict[str, int]  # by trial/point: the row on its trial's own front, from 1, of those that are on it
    curves: Series  # the whole curves of its best trials
    trials: tuple[TrialFront, ...]
    seconds: dict[int, float]  # by trial
    profile: Profile | None
    importance: dict[str, dict[str, float]]
    confirmed: Confirmed | None
    layers: dict[str, Layers]  # by trial/point
    provenance: dict[str, str]
    left_out: tuple[tuple[int, str, str], ...]  # number, state, reason
    where: str = ""  # the store, as an option of a command; empty for the usual one
    ended: str = ""  # the day on which the last trial ended


def read_study(study: str, *, store: Path | str, share: float = 1.0) -> StudyView:
    """Read a study.

    Args:
        study: its name.
        store: that holds it.
        share: its part of the page; it limits the networks that are not on the front, and the lines.

    Raises:
        BadInput: the store holds no such study, or its files are damaged.
    """
    files = Store(Path(store)).study(study)
    table = files.read_points()
    spec, ended = table.spec, table.trials()
    front = replace(with_latency(front_of(table), files.latency.read()), remarks=files.data.read().remarks)
    every = Series(spec, _with_latencies(dots(table.points()), front), files.int8.read())
    series = replace(every, dots=_thinned(every, round(share * CURVE_DOTS)))
    trials = tuple(trial_fronts(table))
    own = [front_of(table.of_trials([number])).points for number in sorted({dot.trial for dot in every.dots})]
    left_out = [(trial.number, trial.state, trial.reason) for trial in ended if trial.state != "complete"]
    return StudyView(
        front=front,
        whole=every,
        series=series,
        rows={f"{p.trial}/{p.point}": row for points in own for row, p in enumerate(points, 1)},
        curves=_best(every, trials, lines_of(share)),
        trials=trials,
        seconds={trial.number: trial.seconds for trial in ended},
        profile=penalty_profile(trials, spec.reference_point),
        importance=importances(spec, trials),
        confirmed=load_confirmed(study, store=store),
        layers=_layers(files, series, most=round(share * PICTURED)),
        provenance=_provenance(files),
        left_out=tuple(left_out[:LEFT_OUT]),
        where=store_option(Path(store)),
        ended=_day(files),
    )


def _with_latencies(every: Sequence[Dot], front: Front) -> tuple[Dot, ...]:
    """Return the networks, those of the front with the latency that every table shows."""
    known = {(point.trial, point.point): point.latency_ms for point in front.points}
    return tuple(replace(dot, latency_ms=known.get((dot.trial, dot.point), dot.latency_ms)) for dot in every)


def lines_of(share: float) -> int:
    """Return the number of trials of a study whose lines are drawn, for its part of the page."""
    return max(LEAST_LINES, round(share * LINES))


def _best(every: Series, trials: Sequence[TrialFront], most: int) -> Series:
    """Return all networks of the trials with the largest hypervolumes."""
    reference = every.spec.reference_point
    order = sorted(trials, key=lambda trial: (-hypervolume(trial.values, reference), trial.number))
    best = {trial.number for trial in order[:most]}
    return replace(every, dots=tuple(dot for dot in every.dots if dot.trial in best))


def _thinned(series: Series, networks: int) -> tuple[Dot, ...]:
    """Return all networks on the front and all recovered ones; of the others every k-th."""
    ahead = {id(dot) for dot in series.front}
    kept = [id(dot) in ahead or dot.kind == "recovered" for dot in series.dots]
    return _with_every_kth(series.dots, kept, networks)


def sparse(series: Series, networks: int) -> Series:
    """Return all networks on the front, and of the others every k-th, at most `networks`."""
    ahead = {id(dot) for dot in series.front}
    kept = [id(dot) in ahead for dot in series.dots]
    return replace(series, dots=_with_every_kth(series.dots, kept, networks))


def _with_every_kth(every: Sequence[Dot], kept: Sequence[bool], networks: int) -> tuple[Dot, ...]:
    rest = [place for place, keep in enumerate(kept) if not keep]
    chosen = set(rest[:: max(1, -(-len(rest) // max(networks, 1)))])
    return tuple(dot for place, dot in enumerate(every) if kept[place] or place in chosen)


def _layers(files: StudyStore, series: Series, *, most: int) -> dict[str, Layers]:
    """Return the layers of all networks on the front, then of recovered ones, then of others, up to `most`."""
    ahead = {id(dot) for dot in series.front}
    order = sorted(series.dots, key=lambda dot: (id(dot) not in ahead, dot.kind != "recovered"))
    chosen = sorted(order[: max(most, len(ahead))], key=lambda dot: dot.trial)
    found: dict[str, Layers] = {}
    number, points = -1, tuple[Point, ...]()
    for dot in chosen:
        if dot.trial != number:
            number, points = dot.trial, files.read_record(dot.trial).points
        found[f"{dot.trial}/{dot.point}"] = _of_masks(points[dot.point].masks)
    return found


def _of_masks(masks: Masks) -> Layers:
    heads = tuple("".join("1" if stays else "0" for stays in layer) for layer in masks.heads)
    return Layers(heads, tuple(float(share) for share in np.round(masks.neurons.mean(axis=1), 3)))


def _day(files: StudyStore) -> str:
    """Return the day on which the study's newest record was written; empty in a bucket, or without a record."""
    times = [path.stat().st_mtime for path in (files.folder / "trials").glob("*/record*") if path.is_file()]
    return date.fromtimestamp(max(times)).isoformat() if times else ""


def _provenance(files: StudyStore) -> dict[str, str]:
    """Return versions, commit and hardware of the last trial that has them."""
    for number in reversed(files.finished_numbers()):
        noted = files.read_record(number).provenance
        if noted:
            return dict(noted)
    return {}
