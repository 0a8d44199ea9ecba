"""Messages for errors that are no faults of the program: a full disk, a database that is gone, a file in the way."""

from __future__ import annotations

from pipeline.driver.execute import RayNotStarted, StoreUnseen
from pipeline.study.ledger import LeaseLost, LedgerLost
from pipeline.study.records import NetworkLost
from pipeline.study.store import NO_SPACE, SQLITE_FULL, ObjectStoreLost

MISPLACED = (NotADirectoryError, IsADirectoryError, PermissionError)  # something else is in a file's place


def outside_cause(error: BaseException) -> str | None:
    """Return a message if an error is no fault of the program; else None."""
    if isinstance(error, LedgerLost) and error.disk_full:
        return _disk_full("the ledger's")
    if isinstance(error, LedgerLost | LeaseLost | StoreUnseen | RayNotStarted | NetworkLost):
        return str(error)
    for cause in _chain(error):
        if isinstance(cause, ObjectStoreLost):
            return str(cause)
        if isinstance(cause, OSError) and cause.errno in NO_SPACE:
            return _disk_full(str(cause.filename) if cause.filename else "the store's")
        if SQLITE_FULL in str(cause):
            return _disk_full("a database's")
        if isinstance(cause, MISPLACED) and cause.filename:
            return f"{cause.filename} cannot be used: {cause.strerror}. Move away what is there, or name another place."
    return None


def _disk_full(whose: str) -> str:
    return (
        f"{whose[:1].upper()}{whose[1:]} disk is full. Free some space: the same command goes on from here, and "
        "nothing that had ended is done again."
    )


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return the error, its cause, the cause of that, and so on."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain
