"""What a cluster of several machines needs: a store and a ledger that all of them can reach."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from pipeline.driver.execute import is_here, views_of
from pipeline.driver.search.request import Search
from pipeline.study.records import BadInput
from pipeline.study.store import Store, is_object_store, place_text

SERVER = "postgresql://USER@HOST/DATABASE (its password in PGPASSWORD), or without a server journal:///SHARED/FOLDER"
SHARED = "the whole path of a folder that all nodes share"


def check_ledger(request: Search) -> None:
    """Refuse a ledger in a file for a cluster on other machines.

    Raises:
        BadInput: the message has what to give instead.
    """
    address = request.address
    if address is not None and not is_here(address) and _in_file(request):
        raise _refused(address)


def check_objects(request: Search) -> None:
    """Refuse databases in an object store, which holds files alone: the ledger's and MLflow's.

    Raises:
        BadInput: the message has what to give instead.
    """
    if not is_object_store(request.store):
        return
    if _in_file(request):
        raise BadInput(
            f"The ledger's database cannot be in an object store, {place_text(request.store)}. "
            f"Give --ledger {SERVER}."
        )
    if not (request.tracking or os.environ.get("MLFLOW_TRACKING_URI")):
        raise BadInput(
            f"MLflow's database cannot be in an object store, {place_text(request.store)}. Give "
            "--tracking, the address of its server."
        )


def check_shared(request: Search, store: Store) -> None:
    """Check on every node of the cluster that it can reach the store; nothing stays there.

    Raises:
        BadInput: a node cannot reach it, or is another machine and the ledger is a file of this one.
    """
    if request.address is None or store.bucket is not None:
        return
    made = [folder for folder in (store.root, *store.root.parents) if not folder.exists()]
    store.root.mkdir(parents=True, exist_ok=True)
    mark = store.root / f".seen-{secrets.token_hex(4)}"
    try:
        mark.touch()
        views = views_of(mark)
    finally:
        mark.unlink(missing_ok=True)
        _remove(made)
    blind = [view.address for view in views if not view.sees]
    if blind:
        raise BadInput(
            f"{', '.join(blind)} {'does' if len(blind) == 1 else 'do'} not see {store.root}. All "
            f"nodes of a cluster see the store. Give --store {SHARED}."
        )
    away = [view.address for view in views if not view.here]
    if away and _in_file(request):
        raise _refused(", ".join(away))


def _in_file(request: Search) -> bool:
    return request.ledger is None or request.ledger.startswith("sqlite")


def _refused(where: str) -> BadInput:
    return BadInput(
        f"{where} is another machine, and the ledger is a sqlite file of this one. On a cluster the "
        "ledger is where a driver that is restarted on any machine finds it. Give --ledger "
        f"{SERVER}, and --store {SHARED}."
    )


def _remove(made: list[Path]) -> None:
    """Remove folders that were made, the innermost first, as long as they are empty."""
    for folder in made:
        try:
            folder.rmdir()
        except OSError:
            return
