"""Publish to MLflow what searches could not, study by study, after the fact."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

from pipeline.driver.tracking.addresses import shown
from pipeline.driver.tracking.opening import address_of
from pipeline.driver.tracking.publisher import Publisher
from pipeline.driver.tracking.tracker import open_tracking
from pipeline.study.ledger import Lease, LeaseLost, LedgerLost, hold
from pipeline.study.records import BadInput
from pipeline.study.store import LATER, Store, journal_folder, sqlite_url


@dataclass(frozen=True)
class Synced:
    """The result for one study."""

    study: str
    delivered: int  # trials that MLflow did not have
    complete: bool  # whether MLflow has everything now
    note: str = ""  # why not


def sync(store: Store, *, tracking: str | None, ledger: str | None) -> Iterator[Synced]:
    """Publish each study of the store, one after the other.

    To `tracking`, else MLFLOW_TRACKING_URI, else the store's own database. A study that is being searched publishes by
    itself and is left out; so is one whose search published, or has its ledger, at an address that is not given now.
    """
    for study in store.list_studies():
        try:
            url = ledger or _own_ledger(store, study)
            with nullcontext() if url is None else hold(url, study) as lease:
                found = _deliver(store, study, tracking, lease)
        except (BadInput, LeaseLost, LedgerLost) as refusal:
            found = Synced(study, 0, False, str(refusal))
        yield found


def _own_ledger(store: Store, study: str) -> str | None:
    """Return the ledger of a study, where none is given: the store's, or a journal; None if there is none any more.

    Raises:
        BadInput: it is elsewhere: its driver may be publishing now, and two would publish all twice.
    """
    place, in_store = store.study(study).ledger.read().place, store.studies_db.exists()
    if (folder := journal_folder(place)) is not None and folder.is_dir():
        return place
    if place and not (place.startswith("sqlite") and in_store):
        raise BadInput(
            f"The ledger of {study!r}, which says whether it is searched, is {place}. Give it by --ledger: one command "
            "at a time publishes a study."
        )
    return sqlite_url(store.studies_db) if in_store else None


def _deliver(store: Store, study: str, tracking: str | None, lease: Lease | None) -> Synced:
    spec, outbox = store.study(study).read_spec(), store.study(study).outbox.read()
    given = tracking or os.environ.get("MLFLOW_TRACKING_URI")
    requested = None if given == LATER else given
    own = shown(address_of(None, store_root=store.root))
    if requested is None and outbox is not None and outbox.address != own:
        raise BadInput(
            "A name and a password for MLflow are sent only to an address that is given now, and not to one that a "
            f"store names. The search of {study!r} could not reach {outbox.address}: if that is right, give it by "
            f"--tracking; for the store's own database, --tracking {own}."
        )
    reach = partial(open_tracking, requested, store_root=store.root)
    tracker = reach()
    address = shown(address_of(requested, store_root=store.root))
    may_write = lease.check if lease is not None else lambda: None
    publisher = Publisher(spec, store=store, open_tracker=reach, may_write=may_write, address=address)
    publisher.start(tracker)
    done = publisher.close(outbox.state if outbox is not None else tracker.was or "stopped")
    return Synced(study, publisher.delivered, done, " ".join(publisher.messages()))
