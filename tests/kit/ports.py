"""A port for a server of a test's own."""

from __future__ import annotations

import socket


def free_port(host: str = "127.0.0.1") -> int:
    """A port of this machine that no other process is given before a server takes it.

    A connection that was closed here leaves the port in TIME_WAIT for a minute: the kernel hands it out to nobody, but
    a server that asks for it by number, with SO_REUSEADDR as servers do, may have it. Until then nothing listens there.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, 0))
        listener.listen(1)
        port: int = listener.getsockname()[1]
        with socket.create_connection((host, port)):
            near, _ = listener.accept()
            near.close()  # the side that closes first is the one that waits
    return port
