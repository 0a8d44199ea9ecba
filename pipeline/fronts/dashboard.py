"""The report of studies that run, served on loopback: read-only, with a token in its address."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from pipeline.fronts.report import live_page
from pipeline.fronts.search_state import SearchState, State, search_state
from pipeline.study.records import BadInput
from pipeline.study.store import Store

HOST = "127.0.0.1"
EMPTY = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="3"><title>prunefront</title>'
    "<p>No study here yet. This page waits for the first one.</p>"
)
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


@dataclass
class Pages:
    """The page of some studies of a store; without names, of all that it has. It is made anew when they change."""

    store: Path
    studies: tuple[str, ...] = ()
    _made: tuple[str, str] = ("", "")  # the stamp of the page, and it
    _lock: Lock = field(default_factory=Lock)

    def names(self) -> list[str]:
        """Return the studies that the page is about."""
        return list(self.studies) or Store(self.store).list_studies()

    def stamp(self) -> str:
        """Return what changes when a trial of the studies, or a search of one, has ended."""
        return ",".join(f"{name}:{found.ended}:{found.state}" for name, found in self._states().items())

    def _states(self) -> dict[str, SearchState]:
        files = Store(self.store)
        ended = {name: len(files.study(name).finished_numbers()) for name in self.names()}
        return {name: search_state(files, name, ended=count) for name, count in ended.items()}

    def page(self) -> str:
        """Return the page as it is now."""
        with self._lock:
            stamp = self.stamp()
            if not stamp:
                return EMPTY
            if self._made[0] != stamp:
                note = _note({found.state for found in self._states().values()})
                self._made = (stamp, live_page(self.store, self.names(), stamp=stamp, note=note))
            return self._made[1]


def _note(states: set[State]) -> str:
    """Return what a reader of the page should know of its searches."""
    if "running" in states:
        return "Live: the page follows the search."
    if states == {"complete"}:
        return "The search has ended: nothing here changes any more."
    return "No search runs. The page follows when one goes on."


def open_dashboard(store: Path, studies: Sequence[str], *, port: int = 0) -> tuple[ThreadingHTTPServer, str]:
    """Return a server, which `serve_forever` runs, and its address.

    It answers on this machine alone, to those who have the address with its token, and only reads the store.

    Args:
        store: the folder of the store.
        studies: their names; empty for all, those too that begin later.
        port: 0 for any that is free.

    Raises:
        BadInput: no such study, or the port is taken.
    """
    for name in studies:
        Store(store).study(name).read_spec()
    token = secrets.token_urlsafe(24)
    pages = Pages(store, tuple(dict.fromkeys(studies)))
    try:
        server = ThreadingHTTPServer((HOST, port), _handler(pages, token))
    except OSError as error:
        raise BadInput(f"Port {port} cannot be opened: {error.strerror}. Name another by --port.") from error
    server.daemon_threads = True
    return server, f"http://{HOST}:{server.server_address[1]}/{token}/"


def _handler(pages: Pages, token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers two addresses; any other, and any other method, is not there."""

        server_version = "prunefront"
        sys_version = ""

        def do_GET(self) -> None:
            """Send the page, or its stamp."""
            _, given, *rest = [*self.path.split("/"), "", ""]
            port = self.server.server_address[1]  # type: ignore[index]
            ours = self.headers.get("Host") in (
                f"{HOST}:{port}",
                f"localhost:{port}",
            )  # no other name leads here
            if not (ours and secrets.compare_digest(given.encode(), token.encode())):
                self._send(HTTPStatus.NOT_FOUND, "Not here.", "text/plain")
                return
            try:
                if rest[:1] == ["stamp"]:
                    self._send(HTTPStatus.OK, pages.stamp(), "text/plain")
                elif rest[:1] == [""]:
                    self._send(HTTPStatus.OK, pages.page(), "text/html")
                else:
                    self._send(HTTPStatus.NOT_FOUND, "Not here.", "text/plain")
            except BadInput as error:
                self._send(HTTPStatus.SERVICE_UNAVAILABLE, str(error), "text/plain")

        def _send(self, status: HTTPStatus, text: str, kind: str) -> None:
            body = text.encode()
            self.send_response(status)
            for name, value in {**HEADERS, "Content-Type": f"{kind}; charset=utf-8"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing: an address in a log would have the token."""

    return Handler
