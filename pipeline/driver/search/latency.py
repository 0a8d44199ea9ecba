"""The latency of a study's networks: a table before the first trial, whole networks of the front after the last."""

from __future__ import annotations

import re
from collections.abc import Callable

from pipeline.driver.execute import Cluster, NeverAlone, run_alone
from pipeline.driver.search.watcher import Watcher
from pipeline.fronts.front import load_front
from pipeline.model.source import ModelSource
from pipeline.study.records import BadInput, Masks, StudySpec
from pipeline.study.store import LatencyTable, Shape, Store, StudyLatency, TimedPoint
from pipeline.trial.latency import FrontRequest, TableRequest, table_of, time_front

NONE = "none"
DISTURBED = "Latency is wall time, and the machine did other work meanwhile: milliseconds are too long."
_SHAPES = re.compile(r"[1-9]\d{0,5}x[1-9]\d{0,5}(,[1-9]\d{0,5}x[1-9]\d{0,5})*")


def check_grid(grid: str | None, *, objective: str) -> None:
    """Refuse a grid that is not a list of shapes.

    Raises:
        BadInput: the grid has another form, or is none although the search is on latency.
    """
    if grid is None:
        return
    if grid == NONE and objective == "latency":
        raise BadInput("--latency-grid is none, and a search on latency measures it. Leave it out.")
    if grid != NONE and not _SHAPES.fullmatch(grid):
        raise BadInput(
            f"--latency-grid is {grid!r}. It is a list of BATCHxTOKENS, such as 1x128,8x128, or {NONE}."
        )


def shapes_of(grid: str | None, *, length: int, max_length: int) -> tuple[Shape, ...]:
    """Return the shapes at which networks are timed; the first is the study's own.

    Args:
        grid: of the command; None: one row of `length` tokens.
        length: tokens of the longest validation row.
        max_length: tokens that the model's positions reach.

    Raises:
        BadInput: a row is longer than the model's positions reach.
    """
    if grid is None:
        return (Shape(1, length),)
    if grid == NONE:
        return ()
    shapes = tuple(Shape(*map(int, text.split("x"))) for text in dict.fromkeys(grid.split(",")))
    longest = max(shapes, key=lambda shape: shape.length)
    if longest.length > max_length:
        raise BadInput(
            f"--latency-grid asks for {longest}, and the model has positions for {max_length} tokens. Ask for shorter "
            "rows."
        )
    return shapes


def find_table(
    cluster: Cluster,
    store: Store,
    spec: StudySpec,
    source: ModelSource,
    shape: Shape,
    watcher: Watcher,
    *,
    may_write: Callable[[], None],
) -> LatencyTable | None:
    """Return the study's table of latencies: the stored one if it was measured on such a machine, else a new one.

    `may_write` is called before a new one is stored; it raises LeaseLost if another driver has taken over.

    Earlier trials keep what they read from an earlier table, together with its time of the dense network. None if no
    machine is free for an exclusive measurement and the objective is not latency.

    Raises:
        BadInput: no machine is free for an exclusive measurement, and the objective is latency.
    """
    before = store.study(spec.name).latency.read()
    watcher.stage(f"measuring the latency of blocks at {shape}")
    try:
        table = run_alone(cluster, table_of, source, TableRequest(shape, before.table, cluster.device))
    except NeverAlone as never:
        if spec.objective == "latency":
            raise BadInput(
                f"Latency is measured alone, and {never}. Start the search when the machine is free."
            ) from never
        watcher.warn(f"Latency is not measured: {never}.")
        return None
    if before.table is not None and table.bench != before.table.bench:
        watcher.warn(
            f"Latency is measured anew: it was that of {before.table.bench}, this is {table.bench}. Trials of before "
            "keep theirs, relative to their own dense network's."
        )
    if table != before.table:
        may_write()
        store.study(spec.name).latency.write(StudyLatency(table))
        # of another objective the front is timed whole, after the last trial
        if table.disturbed and spec.objective == "latency":
            watcher.warn(
                f"{DISTURBED} Trials are judged by them: begin another study, by --name, on a free machine."
            )
    return table


def time_networks(
    cluster: Cluster,
    store: Store,
    spec: StudySpec,
    source: ModelSource,
    shapes: tuple[Shape, ...],
    watcher: Watcher,
    *,
    may_write: Callable[[], None],
) -> None:
    """Time the whole networks of the front, exclusively; skip those that were timed on such a machine before.

    `may_write` is called before the times are stored; it raises LeaseLost if another driver has taken over.
    """
    points = load_front(spec.name, store=store.root).points
    known = store.study(spec.name).latency.read()
    timed_points = [
        TimedPoint(point.trial, point.point, known.of(point.trial, point.point)) for point in points
    ]
    if not timed_points or all(_timed_at(point) >= set(shapes) for point in timed_points):
        return
    watcher.stage(f"measuring the latency of {len(timed_points)} networks on the front")
    networks = tuple((point, _masks(store, spec, point)) for point in timed_points)
    try:
        timed = run_alone(cluster, time_front, source, FrontRequest(shapes, networks, cluster.device))
    except NeverAlone as never:
        watcher.warn(f"The latency of the front's networks is not measured: {never}.")
        return
    may_write()
    store.study(spec.name).latency.write(StudyLatency(known.table, timed))
    if StudyLatency(None, timed).disturbed:
        watcher.warn(f"{DISTURBED} The same command times the front's networks again.")


def _timed_at(point: TimedPoint) -> set[Shape]:
    return {each.bench.shape for each in point.times if not each.disturbed}


def _masks(store: Store, spec: StudySpec, point: TimedPoint) -> Masks:
    return store.study(spec.name).read_record(point.trial).points[point.point].masks
