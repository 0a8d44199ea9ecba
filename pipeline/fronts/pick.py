"""Choose one point of a front by bounds: for `best`, `export` and the table by task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.fronts.front import Front, FrontPoint, load_front, objectives
from pipeline.study.pareto import front, knee
from pipeline.study.records import BadInput, FloatArray, StudySpec
from pipeline.study.store import DEFAULT_STORE, Store


def pick(
    found: Front,
    *,
    max_drop: float | None = None,
    min_metric: float | None = None,
    min_compression: float | None = None,
    min_sparsity: float | None = None,
    max_latency_ms: float | None = None,
) -> FrontPoint:
    """Return the best point of a front within the bounds; the knee if there are none.

    With a bound on the metric (`max_drop` below the dense metric, `min_metric`) the smallest network (the one of
    the greatest gain), with a bound on compression, sparsity or latency alone the best one.

    Raises:
        BadInput: the front is empty, no point is within the bounds, or the study has no networks of the kind that a
            bound is about.
    """
    _check_kind(found.spec, min_compression=min_compression, min_sparsity=min_sparsity)
    least = min_sparsity if found.spec.zeroes else min_compression
    if not found.points:
        raise BadInput(
            f"A best point stands on a front; that of study {found.spec.name!r} is empty: {found.why_empty}. Run "
            "`prunefront search` with its name again, for more trials."
        )
    if max_drop is None and min_metric is None and least is None and max_latency_ms is None:
        return found.points[knee(objectives(found.points))]
    floor = -np.inf if min_metric is None else min_metric
    if max_drop is not None:
        floor = max(floor, found.spec.anchors.dense - max_drop)
    share = found.spec.share
    fit = [p for p in found.points if p.metric >= floor and getattr(p, share) >= (least or 0.0)]
    if max_latency_ms is not None:
        fit = [p for p in fit if p.latency_ms is not None and p.latency_ms <= max_latency_ms]
    if not fit:
        bounds = [f"metric >= {floor:.4f}"] if floor > -np.inf else []
        bounds += [f"{share} >= {least:.3f}"] if least is not None else []
        bounds += [f"latency <= {max_latency_ms:g} ms"] if max_latency_ms is not None else []
        raise _none_fits(found, bounds)
    if floor > -np.inf:
        return max(fit, key=lambda p: (p.gain, p.metric))
    return max(fit, key=lambda p: (p.metric, p.gain))


def _none_fits(found: Front, bounds: list[str]) -> BadInput:
    """Return the error for a front without a point within the bounds, with what the front offers."""
    metrics, shares = zip(*((p.metric, getattr(p, found.spec.share)) for p in found.points), strict=True)
    return BadInput(
        f"The front of {found.spec.name!r} has no point with {' and '.join(bounds)} (dense: "
        f"{found.spec.anchors.dense:.4f}). It offers metrics of {min(metrics):.4f} to {max(metrics):.4f} at "
        f"{'sparsities' if found.spec.zeroes else 'compressions'} of {max(shares):.3f} to {min(shares):.3f}"
        f"{_latencies(found)}. Ask for less, or search longer."
    )


def _check_kind(spec: StudySpec, *, min_compression: float | None, min_sparsity: float | None) -> None:
    if spec.zeroes and min_compression is not None:
        raise BadInput(
            f"A compressed network is smaller; those of {spec.name!r} have zeros in place of weights ({spec.method}), "
            "and none is smaller than another. Ask for a sparsity, or for a study that cuts."
        )
    if not spec.zeroes and min_sparsity is not None:
        raise BadInput(
            f"A sparse network has zeros in place of weights; those of {spec.name!r} are cut ({spec.method}). Ask "
            "for a compression, or for a study of single weights."
        )


def _latencies(found: Front) -> str:
    """Return a front's range of latencies, for a message."""
    known = [point.latency_ms for point in found.points if point.latency_ms is not None]
    return (
        f" and latencies of {min(known):.2f} to {max(known):.2f} ms" if known else ", latencies not measured"
    )


def _comparable(points: list[tuple[Front, FrontPoint]]) -> FloatArray:
    """Return [P, 2]: metric and gain; for studies of different objectives compression, which all have."""
    if len({found.spec.objective for found, _ in points}) == 1:
        return objectives(tuple(point for _, point in points))
    return np.array([(point.metric, point.compression) for _, point in points], dtype=np.float64)


def best_of_task(
    task: str,
    *,
    store: Path | str = DEFAULT_STORE,
    max_drop: float | None = None,
    min_metric: float | None = None,
    min_compression: float | None = None,
    min_sparsity: float | None = None,
    max_latency_ms: float | None = None,
) -> tuple[Front, FrontPoint]:
    """Return the best point over all studies of a task, and the front of its study.

    Without a bound: the knee of the front of all their points together. Studies whose networks have zeros share no
    front with those that cut: they count if `min_sparsity` is given, or if there are no others.

    Raises:
        BadInput: no study of the task has a point that meets the bounds.
    """
    files = Store(Path(store))
    names = files.list_studies()
    of_task = [found for name in names if (found := load_front(name, store=store)).spec.task == task]
    zeroes = min_sparsity is not None or all(found.spec.zeroes or not found.points for found in of_task)
    of_task = [found for found in of_task if found.spec.zeroes == zeroes]
    points = [(found, point) for found in of_task for point in found.points]
    if not points:
        tasks = sorted({files.study(name).read_spec().task for name in names})
        known = f"It has studies of {', '.join(tasks)}." if tasks else "It has no study yet."
        raise BadInput(f"--task names a task with a finished trial in {store}; {task!r} has none. {known}")
    together = front(_comparable(points))
    merged = replace(of_task[0], points=tuple(points[index][1] for index in together))
    point = pick(
        merged,
        max_drop=max_drop,
        min_metric=min_metric,
        min_compression=min_compression,
        min_sparsity=min_sparsity,
        max_latency_ms=max_latency_ms,
    )
    return next((owner, found) for owner, found in points if found is point)
