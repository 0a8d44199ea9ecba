"""The command `prunefront studies`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.called import called
from pipeline.cli.columns import Column, print_table
from pipeline.cli.output import err, identity, out, print_json, styled
from pipeline.fronts.front import Front, load_front
from pipeline.fronts.numbers import volume
from pipeline.fronts.search_state import SearchState, search_state
from pipeline.study.records import BadInput
from pipeline.study.store import DEFAULT_STORE, Store

if TYPE_CHECKING:
    from pipeline.driver.tracking import Synced


def studies(
    store: Annotated[Path, typer.Option(help="Folder of the store.")] = DEFAULT_STORE,
    deliver: Annotated[
        bool, typer.Option("--sync", help="First send MLflow what it is missing of them.")
    ] = False,
    tracking: Annotated[
        str | None,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI",
            help="With --sync: MLflow's address. [dim]Default: the one of the search[/]",
        ),
    ] = None,
    ledger: Annotated[
        str | None,
        typer.Option(help="With --sync: URL of the study database. [dim]Default: in the store[/]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """List the studies of a store."""
    if ledger is not None and not deliver:
        raise BadInput("--ledger is for --sync. Give --sync, too, or leave it out.")
    synced = _sync(Store(store), tracking, ledger) if deliver else []
    fronts = [load_front(name, store=store) for name in Store(store).list_studies()]
    found = [(each, search_state(Store(store), each.spec.name, ended=each.trials)) for each in fronts]
    if as_json:
        report = {"sync": [asdict(one) for one in synced]} if deliver else {}
        print_json({"store": str(store), "studies": [_as_json(*each) for each in found]} | report)
    elif found:
        print_table(COLUMNS, [_row(*each) for each in found])
    else:
        made_by = f"{called()} search"
        out.print(
            styled("No studies in {store} yet. [cyan]{made_by}[/] makes one.", store=store, made_by=made_by)
        )


def _as_json(found: Front, state: SearchState) -> dict[str, Any]:
    spec = found.spec
    return {
        **identity(spec),
        "trials": found.trials,
        "trials_asked": state.asked or None,
        "state": state.state,
        "changed": state.changed_s,
        "front": len(found.points),
        "hypervolume_normalised": found.hypervolume_normalised,
        "dense_metric": spec.anchors.dense,
    }


COLUMNS = (
    Column("study", right=False),  # a name is typed again: nothing of it may be missing
    Column("task", 4, right=False, shortens=True),
    Column("model", 5, right=False, shortens=True),
    Column("method", 3, right=False),
    Column("trials"),
    Column("state", right=False),
    Column("changed", 4, right=False),
    Column("front", 2),
    Column("hypervolume", 6),
    Column("dense", 1),
)


def _row(found: Front, state: SearchState) -> tuple[str, ...]:
    spec = found.spec
    return (
        spec.name,
        spec.task,
        spec.model,
        spec.approach,
        state.count,
        "" if state.state == "unknown" else state.state,
        state.day,
        str(len(found.points)),
        volume(found.hypervolume_normalised),
        f"{spec.anchors.dense:.4f}",
    )


def _sync(store: Store, tracking: str | None, ledger: str | None) -> list[Synced]:
    """Publish what MLflow is missing, and print the outcome of each study."""
    from pipeline.driver.tracking import sync

    found = []
    for one in sync(store, tracking=tracking, ledger=ledger):
        found.append(one)
        state = "MLflow has all of it" if one.complete else f"MLflow does not have all of it: {one.note}"
        err.print(f"{one.study}: {one.delivered} trials delivered; {state}", markup=False, soft_wrap=True)
    return found
