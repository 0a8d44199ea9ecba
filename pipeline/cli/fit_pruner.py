"""prunefront fit-pruner"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.output import out, print_json, say
from pipeline.study.store import DEFAULT_STORE

STEPS = 6000


def fit_pruner(
    model: Annotated[str, typer.Option(help="The base model: a hub name, a folder, or builtin/tiny-bert.")],
    tasks: Annotated[list[str], typer.Option(help="As search's --task: A.toml B.toml …")],
    more: Annotated[list[str] | None, typer.Argument(metavar="[TASK]...", help="More tasks.")] = None,
    steps: Annotated[
        int, typer.Option(help="In all; may be raised later. 6000 are published; on a CPU start with fewer.")
    ] = STEPS,
    seed: Annotated[int, typer.Option(help="Of the pruner's start, and of all draws.")] = 0,
    store: Annotated[Path, typer.Option(help="Folder of the store.")] = DEFAULT_STORE,
    tracking: Annotated[
        str | None,
        typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow's. [dim]Default: in the store[/]"),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Fits the pruner that `search --method smp` ranks heads by: once per base model, for all tasks.

    The same command after an interruption goes on. The tasks that it is fitted to need not be those that are searched.
    """
    from pipeline.driver.tracking import open_for_pruner, publish_pruner
    from pipeline.methods.smp import Fit, prepare_fit

    wanted = Fit(
        model=model,
        tasks=(*tasks, *(more or ())),
        steps=steps,
        seed=seed,
        store=store,
    )
    progress = (lambda _: None) if quiet else say
    fit = prepare_fit(wanted, progress)
    tracker = open_for_pruner(tracking, store=store, say=progress)  # before the work, which takes long
    fitted = fit()
    publish_pruner(tracker, fitted.about, fitted.files, say=progress)
    if as_json:
        print_json({"folder": str(fitted.folder), **fitted.about})
        return
    about = fitted.about
    out.print(
        f"[bold]{about['model']}[/] has a pruner: {about['steps']} steps on {', '.join(about['tasks'])}, loss "
        f"{about['loss']:.5f}, in {fitted.folder}.\n"
        f"Search with it:  [cyan]prunefront search --method smp --model {model} --task …[/]"
    )
