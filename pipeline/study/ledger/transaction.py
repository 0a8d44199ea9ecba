"""What is checked before a write to a ledger counts, and what the kinds of ledgers have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

# User attributes of a trial that end with it:
REASON = "reason"  # why it failed or was stopped
REDUNDANT = "redundant"  # it was stopped because others are as good: for a sampler it is not a bad trial


# Who holds a study, as a ledger has it: token, person, host, place, pid, born, since, beat (the time of its last
# renewal, by the ledger's clock) and silent_s (since then)
Row = Mapping[str, Any]
NAMES = ("token", "person", "host", "place", "pid", "born", "since")


class Transaction(Protocol):
    """One write, before it counts; until its end no other process writes."""

    def last_number(self, study_id: int) -> int | None:
        """Return the number of a study's last trial, this write's included."""

    def holder(self, study: str) -> Row | None:
        """Return who holds a study. A server ends a transaction that then stands still too long."""


Check = Callable[[Transaction], None]  # raises what refuses the write


class LeaseBook(Protocol):
    """Who holds which study: a row of a database, or a file of a folder."""

    def open(self) -> None:
        """Make what is missing.

        Raises:
            BadInput: it cannot be opened.
        """

    def reach(self) -> None:
        """Look whether it can be opened; nothing is made.

        Raises:
            SQLAlchemyError, OSError: it cannot.
        """

    def peek(self, study: str) -> Row | None:
        """Return who holds a study."""

    def take(self, study: str, row: Row, *, instead_of: Row | None) -> bool:
        """Write a holder in place of one that was seen; return whether no other driver was quicker."""

    def beat(self, study: str, token: str) -> None:
        """Renew, if `token` holds the study."""

    def give_back(self, study: str, token: str) -> None:
        """End it, if `token` holds the study."""

    def close(self) -> None:
        """Let go of connections."""
