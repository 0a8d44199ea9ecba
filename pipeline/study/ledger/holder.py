"""The driver that holds a study: which process, where, and whether it is still there."""

from __future__ import annotations

import getpass
import os
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.study.ledger.processes import birth_of, is_alive, this_place

SILENT_S = 180.0  # a driver that has not renewed for this long counts as dead: many beats


@dataclass(frozen=True)
class Holder:
    """The driver that searches a study."""

    token: str
    person: str
    host: str
    place: str
    pid: int
    born: str
    since: float
    silent_s: float  # since its last renewal

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).astimezone()
        renewed = f"{self.silent_s:.0f} s ago" if self.silent_s >= 0 else "at a later time than now"
        return (
            f"{self.person} on {self.host}, process {self.pid}, since {since:%Y-%m-%d %H:%M:%S} "
            f"(last renewed {renewed})"
        )

    @property
    def gone(self) -> bool:
        """Whether its process is dead, or has not renewed the lease for SILENT_S."""
        if self.place == this_place():
            return not is_alive(self.pid, self.born)
        return self.silent_s > SILENT_S


def this_process(token: str) -> dict[str, Any]:
    """Return the fields of a holder that is this process, but for its silence."""
    try:
        person = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        person = f"user {os.getuid()}"
    pid = os.getpid()
    return {
        "token": token,
        "person": person,
        "host": socket.gethostname(),
        "place": this_place(),
        "pid": pid,
        "born": birth_of(pid),
        "since": time.time(),
    }
