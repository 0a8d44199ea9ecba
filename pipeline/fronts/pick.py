"""Choose one point of a front by bounds: for `best`, `export`, `confirm` and the table by task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.fronts.bounds import USUAL_DROP, Bounds, lowest_metric
from pipeline.fronts.front import Front, FrontPoint, load_front, objectives
from pipeline.fronts.numbers import mb
from pipeline.study.pareto import front, knee
from pipeline.study.records import BadInput, StudySpec
from pipeline.study.store import DEFAULT_STORE, Store


def pick(
    found: Front,
    *,
    max_drop: float | None = None,
    min_metric: float | None = None,
    min_compression: float | None = None,
    min_sparsity: float | None = None,
    max_latency_ms: float | None = None,
    max_mb: float | None = None,
    knee: bool = False,
    point: int | None = None,
) -> FrontPoint:
    """Return one point of a front.

    With a bound on the metric (`max_drop`, `min_metric`) the smallest network within all bounds; with others alone the
    best one; without any the smallest within 0.01 of the dense metric, or the knee where there is none.

    Args:
        found: the front.
        max_drop: the metric is at most this far below the dense network's.
        min_metric: the metric is at least this.
        min_compression: share of the encoder's parameters that are gone, 0 to 1.
        min_sparsity: share of them that are zero, of studies of single weights.
        max_latency_ms: milliseconds of a batch, as in `show`.
        max_mb: size of the whole network's weights in fp32, in MB.
        knee: the point farthest above the straight line between the front's ends.
        point: the row's number in `show`, from 1.

    Raises:
        BadInput: the front is empty, no point is within the bounds, the study has no networks of the kind that a bound
            is about, or a bound makes no sense.
    """
    return pick_within(
        found,
        Bounds(
            max_drop=max_drop,
            min_metric=min_metric,
            min_compression=min_compression,
            min_sparsity=min_sparsity,
            max_latency_ms=max_latency_ms,
            max_mb=max_mb,
            knee=knee,
            point=point,
        ),
    )


def pick_within(found: Front, bounds: Bounds) -> FrontPoint:
    """Return one point of a front, as `pick`."""
    _check_kind(found.spec, bounds)
    if not found.points:
        raise BadInput(
            f"Study {found.spec.name!r} has no point to choose: {found.why_empty}. Run `prunefront search` with its "
            "name again, for more trials."
        )
    if bounds.point is not None:
        if bounds.point > len(found.points):
            raise BadInput(
                f"--point is {bounds.point}; the front of {found.spec.name!r} has {len(found.points)} rows."
            )
        return found.points[bounds.point - 1]
    if bounds.knee:
        return _knee(found)
    if not bounds.given:
        near = [p for p in found.points if p.metric >= lowest_metric(found.spec.anchors.dense, USUAL_DROP)]
        return max(near, key=lambda p: (p.gain, p.metric)) if near else _knee(found)
    floor = least_metric(found, bounds)
    fit = [p for p in found.points if _fits(p, found, bounds, floor)]
    if not fit:
        raise _none_fits(found, bounds, floor)
    if floor > -np.inf:
        return max(fit, key=lambda p: (p.gain, p.metric))
    return max(fit, key=lambda p: (p.metric, p.gain))


def why(found: Front, bounds: Bounds, chosen: FrontPoint) -> str | None:
    """Return how a point was chosen where nothing was asked for, or what is doubtful of a bound; None if nothing is."""
    if bounds.given:
        return _doubt(found, bounds) or None
    dense = found.spec.anchors.dense
    if chosen.metric >= lowest_metric(dense, USUAL_DROP):
        return f"Chosen: the smallest network within {USUAL_DROP} of the dense {found.spec.metric_name}."
    return (
        f"No network is within {USUAL_DROP} of the dense {found.spec.metric_name}: this is the front's knee, "
        f"{dense - chosen.metric:.4f} below. --max-drop chooses another."
    )


def _doubt(found: Front, bounds: Bounds) -> str:
    """Return that networks may have been left out wrongly: their times, of a busy machine, are too long."""
    most = bounds.max_latency_ms
    if most is None:
        return ""
    unsure = [
        p for p in found.points if p.latency_disturbed and p.latency_ms is not None and p.latency_ms > most
    ]
    if not unsure:
        return ""
    return (
        f"{len(unsure)} of {len(found.points)} networks are above {most:g} ms by times that were measured while the "
        "machine did other work. The true times are shorter: faster networks may have been left out."
    )


def _knee(found: Front) -> FrontPoint:
    return found.points[knee(objectives(found.points))]


def least_metric(found: Front, bounds: Bounds) -> float:
    """Return the least metric; minus infinity without a bound on it."""
    floor = -np.inf if bounds.min_metric is None else bounds.min_metric
    drop = bounds.max_drop
    return floor if drop is None else max(floor, lowest_metric(found.spec.anchors.dense, drop))


def _fits(point: FrontPoint, found: Front, bounds: Bounds, floor: float) -> bool:
    least = _least_share(found.spec, bounds)
    most_ms, most_mb = bounds.max_latency_ms, bounds.max_mb
    return (
        point.metric >= floor
        and (least is None or getattr(point, found.spec.share) >= least)
        and (most_ms is None or (point.latency_ms is not None and point.latency_ms <= most_ms))
        and (most_mb is None or point.size_mb <= most_mb)
    )


def _least_share(spec: StudySpec, bounds: Bounds) -> float | None:
    return bounds.min_sparsity if spec.zeroes else bounds.min_compression


def _none_fits(found: Front, bounds: Bounds, floor: float) -> BadInput:
    """Return the error for a front without a point within the bounds, with what the front offers."""
    asked = [f"metric >= {floor:.4f}"] if floor > -np.inf else []
    least = _least_share(found.spec, bounds)
    asked += [f"{found.spec.share} >= {least:.3f}"] if least is not None else []
    asked += [f"latency <= {bounds.max_latency_ms:g} ms"] if bounds.max_latency_ms is not None else []
    asked += [f"size <= {bounds.max_mb:g} MB"] if bounds.max_mb is not None else []
    metrics, shares, sizes = zip(
        *((p.metric, getattr(p, found.spec.share), p.size_mb) for p in found.points), strict=True
    )
    return BadInput(
        f"The front of {found.spec.name!r} has no point with {' and '.join(asked)} (dense: "
        f"{found.spec.anchors.dense:.4f}). It offers metrics of {min(metrics):.4f} to {max(metrics):.4f} at "
        f"{'sparsities' if found.spec.zeroes else 'compressions'} of {max(shares):.3f} to {min(shares):.3f}, sizes of "
        f"{mb(min(sizes))} to {mb(max(sizes))} MB{_latencies(found)}. Ask for less, or search longer."
        + (f" {doubt}" if (doubt := _doubt(found, bounds)) else "")
    )


def _check_kind(spec: StudySpec, bounds: Bounds) -> None:
    if spec.zeroes and bounds.min_compression is not None:
        raise BadInput(
            f"{spec.name!r} is a study of single weights ({spec.method}): its networks have zeros in place of weights, "
            "and none is smaller than another. Ask for a sparsity, or for a study that cuts."
        )
    if not spec.zeroes and bounds.min_sparsity is not None:
        raise BadInput(
            f"{spec.name!r} is a study that cuts ({spec.method}): its networks have no zeros. Ask for a compression, "
            "or for a study of single weights."
        )


def _latencies(found: Front) -> str:
    """Return a front's range of latencies, for a message."""
    known = [point.latency_ms for point in found.points if point.latency_ms is not None]
    return (
        f" and latencies of {min(known):.2f} to {max(known):.2f} ms" if known else ", latencies not measured"
    )


def merged(fronts: Sequence[Front]) -> Front:
    """Return the front of all networks of several studies of a task; its dense network is the best of theirs.

    Gains are compared by the studies' objective; of studies of different ones by compression, which all have.
    """
    points = [point for found in fronts for point in found.points]
    values = objectives(tuple(points))
    if len({found.spec.objective for found in fronts if found.points}) > 1:
        values = np.array([(point.metric, point.compression) for point in points], dtype=np.float64)
    best = max(fronts, key=lambda found: found.spec.anchors.dense if found.spec.anchors.known else -np.inf)
    return replace(best, points=tuple(points[at] for at in front(values)))


def best_of_task(
    task: str, bounds: Bounds | None = None, *, store: Path | str = DEFAULT_STORE
) -> tuple[Front, FrontPoint]:
    """Return the best point over all studies of a task, and the front of its study.

    A drop is one below the best dense network of these studies. Those whose networks have zeros share no front with
    those that cut: they count if `min_sparsity` is given, or if there are no others.

    Raises:
        BadInput: no study of the task has a point that meets the bounds, or the bounds number a row.
    """
    bounds = bounds or Bounds()
    if bounds.point is not None:
        raise BadInput("--point is a row of one study's front. Name the study instead of a task.")
    files = Store(Path(store))
    names = files.list_studies()
    of_task = [found for name in names if (found := load_front(name, store=store)).spec.task == task]
    zeroes = bounds.min_sparsity is not None or all(
        found.spec.zeroes or not found.points for found in of_task
    )
    of_task = [found for found in of_task if found.spec.zeroes == zeroes]
    points = [(found, point) for found in of_task for point in found.points]
    if not points:
        tasks = sorted({files.study(name).read_spec().task for name in names})
        known = f"It has studies of {', '.join(tasks)}." if tasks else "It has no study yet."
        raise BadInput(f"{store} has no finished trial of a task {task!r}. {known}")
    point = pick_within(merged(of_task), bounds)
    return next((owner, found) for owner, found in points if found is point)
