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
from pipeline.study.store import Store, sqlite_url


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
    url = ledger or sqlite_url(store.studies_db)
    held = ledger is not None or store.studies_db.exists()  # else its ledger is elsewhere, and not named
    for study in store.list_studies():
        try:
            if ledger is None:
                _check_ledger(store, study)
            with hold(url, study) if held else nullcontext() as lease:
                found = _deliver(store, study, tracking, lease)
        except (BadInput, LeaseLost, LedgerLost) as refusal:
            found = Synced(study, 0, False, str(refusal))
        yield found


def _check_ledger(store: Store, study: str) -> None:
    """Refuse a study whose ledger is elsewhere: its driver may be publishing now, and two would publish all twice.

    Raises:
        BadInput: it is.
    """
    place = store.study(study).ledger.read().place
    if place and not (place.startswith("sqlite") and store.studies_db.exists()):
        raise BadInput(
            f"One command at a time publishes a study; the ledger of {study!r}, which tells whether it is searched, "
            f"is {place}. Give it by --ledger."
        )


def _deliver(store: Store, study: str, tracking: str | None, lease: Lease | None) -> Synced:
    spec, outbox = store.study(study).read_spec(), store.study(study).outbox.read()
    requested = tracking or os.environ.get("MLFLOW_TRACKING_URI")
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
