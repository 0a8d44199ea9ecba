"""All networks of a front exported, each into a folder of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.export.checkpoint import check_free
from pipeline.export.export import Exported, Log, export, folder_of
from pipeline.fronts.front import load_front
from pipeline.study.records import BadInput
from pipeline.study.store import DEFAULT_STORE


def export_front(
    study: str,
    *,
    to: Path | str,
    store: Path | str = DEFAULT_STORE,
    log: Log = lambda _: None,
    **options: Any,
) -> tuple[Exported, ...]:
    """Export every network of a study's front, as `export` does, into TO/1, TO/2 …: the rows of `show`.

    It is the front as it is now: of a study that is still searched, rows are others after a while.

    Args:
        study: its name.
        to: a folder that is absent or empty.
        store: the folder of the store.
        log: called with a line at each step.
        options: of `export` that name no network.

    Raises:
        BadInput: as of `export`, or the front is empty. Folders that were written before stay.
        NetworkLost: as of `network_of`. Folders that were written before stay.
    """
    points = load_front(study, store=store).points
    if not points:
        raise BadInput(f"Study {study!r} has no network on its front yet, so there is nothing to export.")
    folder = folder_of(to)
    check_free(folder)
    done = []
    for row, point in enumerate(points, 1):
        log(f"network {row} of {len(points)} …")
        which = point.trial, point.point
        done.append(export(study, to=folder / str(row), exactly=which, store=store, log=log, **options))
    return tuple(done)
