"""MLflow for a search: reached before it begins, and given what it found."""

from __future__ import annotations

from functools import partial

from pipeline.driver.search.resolved import ResolvedSearch
from pipeline.driver.search.watcher import Watcher
from pipeline.driver.tracking import (
    Later,
    Publisher,
    Tracker,
    address_of,
    open_if_answering,
    open_tracking,
    shown,
)
from pipeline.study.ledger import Lease
from pipeline.study.records import StudySpec
from pipeline.study.store import LATER


def publisher_of(resolved: ResolvedSearch, spec: StudySpec, lease: Lease) -> Publisher | Later:
    """Return what tells MLflow of the study, now or by `studies --sync`."""
    tracking, store = resolved.request.tracking, resolved.store
    if tracking == LATER:
        return Later(resolved.study, address=shown(address_of(tracking, store_root=store.root)))
    return Publisher(
        spec,
        store=store,
        open_tracker=partial(open_tracking, tracking, store_root=store.root),
        may_write=lease.check,
        address=shown(address_of(tracking, store_root=store.root)),
    )


def reach_tracking(resolved: ResolvedSearch, watcher: Watcher) -> Tracker | None:
    """Return MLflow at the requested address; None if it does not answer and the study has begun.

    Raises:
        BadInput: it is no place for runs, or does not answer and the study is new: the address may be wrong.
    """
    address, store = resolved.request.tracking, resolved.store.root
    if address == LATER:
        return None
    if resolved.anchors is None:
        return open_tracking(address, store_root=store)
    return open_if_answering(
        address,
        store=store,
        log=watcher.warn,
        consequence="This study has begun and goes on; MLflow gets what it is owed when it answers.",
    )
