"""prunefront report"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.output import print_json, say
from pipeline.fronts.front import DEFAULT_STORE
from pipeline.study.records import BadInput


def report(
    studies: Annotated[list[str], typer.Argument(help="Names of studies.")],
    html: Annotated[Path | None, typer.Option(help="File of the page.")] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder that gets every figure as .png and .svg.")
    ] = None,
    track: Annotated[
        bool, typer.Option(help="Keep the page in MLflow, too, at the run of each study.")
    ] = True,
    tracking: Annotated[
        str | None,
        typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow's. [dim]Default: in the store[/]"),
    ] = None,
    store: Annotated[Path, typer.Option(help="Folder of the store.")] = DEFAULT_STORE,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout: what was written.")
    ] = False,
) -> None:
    """Writes studies as one page that needs no network: fronts, networks, trials, settings, provenance.

    Several studies that can be compared are.
    """
    from pipeline.fronts.report import report as write

    if html is None and figures is None:
        raise BadInput("A report is written somewhere; give --html FILE, --figures DIR, or both.")
    keep = track and html is not None
    done = write(
        store,
        studies,
        html=html,
        figures=figures,
        tracking=tracking,
        track=keep,
        tell=say,
    )
    if as_json:
        print_json({"studies": list(dict.fromkeys(studies)), "written": [str(path) for path in done.written]})
    for path in done.written:
        say(f"Wrote {path}.")
    for line in done.remarks:
        say(line)
