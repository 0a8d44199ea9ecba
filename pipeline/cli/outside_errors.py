"""Faults that are neither the program's nor a person's: what to say of them."""

from __future__ import annotations

from pipeline.driver.execute import StoreUnseen
from pipeline.study.ledger import LeaseLost, LedgerLost
from pipeline.study.store import NO_SPACE, SQLITE_FULL, ObjectStoreLost


def outside_cause(error: BaseException) -> str | None:
    """One message, if what ended a command lies outside of it: a full disk, a database that is gone; else None."""
    if isinstance(error, LedgerLost) and error.disk_full:
        return _disk_full("the ledger's")
    if isinstance(error, LedgerLost | LeaseLost | StoreUnseen):
        return str(error)
    for cause in _chain(error):
        if isinstance(cause, ObjectStoreLost):
            return str(cause)
        if isinstance(cause, OSError) and cause.errno in NO_SPACE:
            return _disk_full(str(cause.filename) if cause.filename else "the store's")
        if SQLITE_FULL in str(cause):
            return _disk_full("a database's")
    return None


def _disk_full(whose: str) -> str:
    return (
        f"What a search finds is written down as it is found; {whose} disk is full. Free some space: the same "
        "command goes on from here, and nothing that had ended is done again."
    )


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error, and what it came from, and so on."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain
