"""Latency in a study: the table before its first trial, the front's whole networks after its last."""

from __future__ import annotations

import re

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
    """Refuses what is no list of shapes.

    Raises:
        BadInput: with the form that it has.
    """
    if grid is None:
        return
    if grid == NONE and objective == "latency":
        raise BadInput("A search on latency measures it; --latency-grid is none. Leave it out.")
    if grid != NONE and not _SHAPES.fullmatch(grid):
        raise BadInput(
            f"--latency-grid is a list of BATCHxTOKENS, such as 1x128,8x128, or {NONE}; given was {grid!r}."
        )


def shapes_of(grid: str | None, *, length: int, max_length: int) -> tuple[Shape, ...]:
    """What is timed: the first shape is the study's own. Without a grid, one row of the study's length.

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
            f"A row is at most as long as the model's positions reach; --latency-grid asks for {longest}, and the "
            f"model reaches {max_length} tokens. Ask for shorter rows."
        )
    return shapes


def find_table(
    cluster: Cluster, store: Store, spec: StudySpec, source: ModelSource, shape: Shape, watcher: Watcher
) -> LatencyTable | None:
    """The study's table: the one that it has, if it holds on this machine; else a new one, in the store.

    Trials of before keep what they read from the table of before, with the dense network's time in it. None if no
    machine can be had alone and the objective is another one.

    Raises:
        BadInput: no machine can be had alone, and the objective is latency.
    """
    before = store.study(spec.name).latency.read()
    watcher.stage(f"measuring the latency of blocks at {shape}")
    try:
        table = run_alone(cluster, table_of, source, TableRequest(shape, before.table))
    except NeverAlone as never:
        if spec.objective == "latency":
            raise BadInput(
                f"A search on latency measures it alone; {never}. Start it when it is free."
            ) from never
        watcher.warn(f"Latency is not measured: {never}.")
        return None
    if before.table is not None and table.bench != before.table.bench:
        watcher.warn(
            f"Latency is measured anew: it was that of {before.table.bench}, this is {table.bench}. Trials of before "
            "keep theirs, relative to their own dense network's."
        )
    if table != before.table:
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
) -> None:
    """Times the networks of the front whole and alone; those that were timed before, here, are not timed again."""
    points = load_front(spec.name, store=store.root).points
    known = store.study(spec.name).latency.read()
    wanted = [TimedPoint(point.trial, point.point, known.of(point.trial, point.point)) for point in points]
    if not wanted or all(_timed_at(point) >= set(shapes) for point in wanted):
        return
    watcher.stage(f"measuring the latency of {len(wanted)} networks on the front")
    networks = tuple((point, _masks(store, spec, point)) for point in wanted)
    try:
        timed = run_alone(cluster, time_front, source, FrontRequest(shapes, networks))
    except NeverAlone as never:
        watcher.warn(f"The latency of the front's networks is not measured: {never}.")
        return
    store.study(spec.name).latency.write(StudyLatency(known.table, timed))
    if StudyLatency(None, timed).disturbed:
        watcher.warn(f"{DISTURBED} The same command times the front's networks again.")


def _timed_at(point: TimedPoint) -> set[Shape]:
    return {each.bench.shape for each in point.times if not each.disturbed}


def _masks(store: Store, spec: StudySpec, point: TimedPoint) -> Masks:
    return store.study(spec.name).read_record(point.trial).points[point.point].masks
