"""A search that somebody watches: a process of its own, with a terminal for all but its result."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from dataclasses import dataclass
from pathlib import Path

from tests.kit.toy import SHORT_CUT, command, environment

# Steps of four rows: an epoch takes long enough to be seen within it.
SLOW_SPACE = (
    SHORT_CUT
    + """
[tune_epochs]
value = 1
[recover_epochs]
value = 1
[rounds]
value = 1
[batch_size]
value = 4
"""
)
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Searched:
    """A search of three trials, one after the other: its store, and what it left."""

    store: Path
    code: int
    printed: str  # on stdout
    shown: str  # on the terminal, without its colours


def on_a_terminal(arguments: list[str | Path], *, columns: int, printed: Path) -> tuple[int, str]:
    """The exit code of a command on a terminal of its own, and all that it showed there; stdout is a file."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = environment() | {"TERM": "xterm-256color"}
    with printed.open("w") as file:
        process = subprocess.Popen(
            command(*arguments),
            stdin=its,
            stdout=file,
            stderr=its,
            env=env,
            start_new_session=True,
        )
    os.close(its)
    shown = bytearray()
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    return process.wait(30), CONTROL.sub("", shown.decode())
