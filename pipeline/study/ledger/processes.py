"""Which process a lease is held by: a number is unique only on one machine, since one boot, in one namespace."""

from __future__ import annotations

import getpass
import os
import socket
from contextlib import suppress
from pathlib import Path


def this_place() -> str:
    """Return where a process number is unique: this boot of this machine, and this namespace of process numbers."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def this_process() -> dict[str, str | int]:
    """Return whose process this is, where it runs, and what distinguishes it there."""
    try:
        person = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        person = f"user {os.getuid()}"
    pid = os.getpid()
    return {
        "person": person,
        "host": socket.gethostname(),
        "place": this_place(),
        "pid": pid,
        "born": birth_of(pid),
    }


def is_alive(pid: int, born: str) -> bool:
    """Return whether the process exists, is the same one, and has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    stat = _stat(pid)
    return not stat or (stat[0] != "Z" and birth_of(pid) == born)


def birth_of(pid: int) -> str:
    """Return when a process began, in ticks since boot; empty where that cannot be read."""
    stat = _stat(pid)
    return stat[19] if stat else ""


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on: before it is a name, which may contain anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
