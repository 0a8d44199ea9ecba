"""The command `prunefront fit-pruner`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from pipeline.cli.called import called
from pipeline.cli.output import hint, log, out, print_json, styled
from pipeline.study.store import DEFAULT_STORE

STEPS = 6000


def fit_pruner(
    model: Annotated[str, typer.Option(help="The base model: a hub name, a folder, or builtin/tiny-bert.")],
    tasks: Annotated[
        list[str], typer.Option("--task", "--tasks", help="A task as for search --task; repeatable.")
    ],
    steps: Annotated[
        int,
        typer.Option(
            help="Steps in all; may be raised later. The paper has 6000; on a CPU start with fewer."
        ),
    ] = STEPS,
    seed: Annotated[int, typer.Option(help="Seed of the pruner's initial weights and of sampling.")] = 0,
    store: Annotated[Path, typer.Option(help="Folder of the store.")] = DEFAULT_STORE,
    tracking: Annotated[
        str | None,
        typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow's address. [dim]Default: in the store[/]"),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Fit the pruner that ranks heads for `search --method smp`: once per base model, for all tasks.

    The same command after an interruption goes on. The pruner may be used on other tasks than it is fitted to.
    """
    from pipeline.driver.tracking import open_if_answering, publish_pruner
    from pipeline.methods.smp import Fit, prepare_fit

    request = Fit(
        model=model,
        tasks=tuple(tasks),
        steps=steps,
        seed=seed,
        store=store,
    )
    progress = (lambda _: None) if quiet else log
    fit = prepare_fit(request, progress)
    tracker = open_if_answering(
        tracking,
        store=store,
        log=progress,
        consequence="Fitting goes on; the same command publishes the pruner when MLflow answers.",
    )
    fitted = fit()
    publish_pruner(tracker, fitted.about, fitted.files, log=progress)
    if as_json:
        print_json({"folder": str(fitted.folder), **fitted.about})
        return
    about = fitted.about
    out.print(
        styled(
            "[bold]{name}[/] has a pruner: {steps} steps on {tasks}, loss {loss}, in {folder}.",
            name=about["model"],
            steps=about["steps"],
            tasks=", ".join(about["tasks"]),
            loss=f"{about['loss']:.5f}",
            folder=fitted.folder,
        )
    )
    hint("Search with it:", f"{called()} search --method smp --model {quote(model)} --task …")
