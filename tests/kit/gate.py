"""What faults are made with: a way to a server that can be shut and opened, a command that is less patient."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.kit.ports import free_port

Change = Callable[[bytes], bytes]


class Gate:
    """Hands on what comes to `port` of 127.0.0.1 to another port of it, while it is open; `change` may change it."""

    def __init__(self, to: int, change: Change = lambda data: data) -> None:
        self.port, self._to, self._change = free_port(), to, change
        self._ends: list[socket.socket] = []
        self._door: socket.socket | None = None

    def open(self) -> None:
        door = socket.create_server(("127.0.0.1", self.port))
        self._door = door
        threading.Thread(target=self._admit, args=(door,), daemon=True).start()

    def shut(self) -> None:
        """Whoever is connected is cut off; whoever comes is refused."""
        ends, self._ends = [*self._ends, self._door], []
        for end in ends:
            if end is not None:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _admit(self, door: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = door.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [near, far]
                for source, target, change in ((near, far, self._change), (far, near, lambda data: data)):
                    threading.Thread(target=_pass_on, args=(source, target, change), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket, change: Change) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(change(data))
        target.shutdown(socket.SHUT_WR)


@contextmanager
def gate(to: int, change: Change = lambda data: data) -> Iterator[Gate]:
    """An open one."""
    made = Gate(to, change)
    made.open()
    try:
        yield made
    finally:
        made.shut()


def patched(asked: list[str], *lines: str) -> list[str]:
    """A command line of ours whose process first runs some lines: with less patience, say."""
    code = "\n".join((*lines, "from pipeline.cli.app import main", f"main({asked!r})"))
    return [sys.executable, "-c", code]
