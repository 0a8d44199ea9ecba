"""prunefront studies"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pipeline.cli.output import out, percent, print_json
from pipeline.fronts import DEFAULT_STORE, load_front
from pipeline.store import Store


def studies(
    store: Annotated[Path, typer.Option(help="Folder of the store.")] = DEFAULT_STORE,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Lists the studies of a store."""
    fronts = [load_front(name, store=store) for name in Store(store).list_studies()]
    if as_json:
        rows = [
            {
                "study": f.spec.name,
                "task": f.spec.task,
                "model": f.spec.model,
                "method": f.spec.method,
                "trials": f.trials,
                "front": len(f.points),
                "hypervolume_normalised": f.hypervolume_normalised,
                "dense_metric": f.spec.anchors.dense,
            }
            for f in fronts
        ]
        print_json({"store": str(store), "studies": rows})
        return
    if not fronts:
        out.print(f"No studies in {store} yet. [cyan]prunefront search[/] makes one.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("study", "task", "model", "method"):
        table.add_column(column)
    for column in ("trials", "front", "hypervolume", "dense"):
        table.add_column(column, justify="right")
    for f in fronts:
        spec = f.spec
        table.add_row(
            spec.name,
            spec.task,
            spec.model,
            spec.method,
            str(f.trials),
            str(len(f.points)),
            percent(f.hypervolume_normalised),
            f"{spec.anchors.dense:.4f}",
        )
    out.print(table)
