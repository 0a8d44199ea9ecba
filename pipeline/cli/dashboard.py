"""The command `prunefront dashboard`."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.completion import complete_study
from pipeline.cli.output import log, out
from pipeline.study.store import DEFAULT_STORE


def dashboard(
    studies: Annotated[
        list[str] | None,
        typer.Argument(help="Names of studies; without one all of the store.", autocompletion=complete_study),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any that is free.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = False,
    store: Annotated[Path, typer.Option(help="Folder of the store.")] = DEFAULT_STORE,
) -> None:
    """Serve the report of studies while they run, on this machine alone; the page follows the search.

    It only reads. Anyone who has the address, with its token, can read the page; from elsewhere reach it by
    `ssh -L PORT:127.0.0.1:PORT`. Ctrl-C ends it, and no search.
    """
    from pipeline.fronts.dashboard import open_dashboard

    server, address = open_dashboard(store, studies or (), port=port)
    out.print(address, soft_wrap=True)
    log("Ctrl-C ends the dashboard.")
    if browser:
        webbrowser.open(address)
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            log("")
