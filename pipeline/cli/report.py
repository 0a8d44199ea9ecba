"""The command `prunefront report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.completion import complete_study
from pipeline.cli.output import log, print_json
from pipeline.study.records import BadInput, StudySpec
from pipeline.study.store import DEFAULT_STORE


def report(
    studies: Annotated[list[str], typer.Argument(help="Names of studies.", autocompletion=complete_study)],
    html: Annotated[Path | None, typer.Option(help="File of the page.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for every figure as .png and .svg.")] = None,
    track: Annotated[
        bool, typer.Option(help="Also keep the page in MLflow, at the run of each study.")
    ] = True,
    tracking: Annotated[
        str | None,
        typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow's address. [dim]Default: in the store[/]"),
    ] = None,
    store: Annotated[Path, typer.Option(help="Folder of the store.")] = DEFAULT_STORE,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout: what was written.")
    ] = False,
) -> None:
    """Write studies as one page that needs no network: fronts, networks, trials, settings, provenance.

    Several studies are also compared with each other, if they can be.
    """
    from pipeline.driver.tracking import publish_report
    from pipeline.fronts.report import report as write

    if html is None and figures is None:
        raise BadInput("No place for the report is given. Give --html FILE, --figures DIR, or both.")

    def keep(page: str, specs: list[StudySpec]) -> list[str]:
        return publish_report(page, specs, store=store, tracking=tracking)

    done = write(
        store,
        studies,
        html=html,
        figures=figures,
        keep=keep if track and html is not None else None,
        log=log,
    )
    if as_json:
        print_json({"studies": list(dict.fromkeys(studies)), "written": [str(path) for path in done.written]})
    for path in done.written:
        log(f"Wrote {path}.")
    for line in done.remarks:
        log(line)
