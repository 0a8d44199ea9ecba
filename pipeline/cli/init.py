"""The command `prunefront init`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from pipeline.cli.called import called
from pipeline.cli.output import hint, log, out, print_json
from pipeline.study.store import DEFAULT_STORE


def init(
    data: Annotated[
        Path,
        typer.Argument(
            help="A file of rows, a folder with train and test files, or a folder of images per class."
        ),
    ],
    text: Annotated[
        list[str] | None, typer.Option(help="Text column; twice for pairs. [dim]Default: found by name[/]")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="Label column; several of 0 and 1 for a multi-label task. [dim]Default: found by name[/]"
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="Kind of the task, as for search --kind. [dim]Default: by the metric[/]"),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="What is measured. [dim]Default: the kind's first[/]")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="The task file. [dim]Default: beside the data, NAME.toml[/]")
    ] = None,
    store: Annotated[Path, typer.Option(help="Folder of the store.")] = DEFAULT_STORE,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Write a task file that explains itself, from a file of rows or a folder of images.

    The rows are read: a column that is missing, or a label that cannot be learned, is said now and not later.
    """
    from pipeline.task.place import check_data

    texts, labels = tuple(text or ()), tuple(label or ())
    columns = labels[0] if len(labels) == 1 else labels or None
    check_data(data, text=texts, label=columns, metric=metric, kind=kind)  # before torch is imported
    from pipeline.task.template import write_taskfile

    made = write_taskfile(
        data,
        text=texts,
        label=columns,
        metric=metric,
        kind=kind,
        to=to,
        cache=store / "cache",
    )
    if as_json:
        print_json({"file": str(made.file), "rows": made.rows, "classes": list(made.classes)})
        return
    for remark in made.remarks:
        log(remark)
    out.print(f"{made.file}: {made.said}.", soft_wrap=True)
    hint("\nNext:", f"{called()} search --task {quote(str(made.file))}")
