"""prunefront search"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.output import print_json
from pipeline.cli.show import front_as_json, print_front
from pipeline.records import BadInput

TASK, MODEL, METHOD, TRIALS, STORE = "builtin/docstrings", "builtin/tiny-bert", "snip", 5, Path("mlflow_runs")

SCHEDULER = "asha"

_WHAT, _HOW, _WHERE, _RUN = "What is cut", "How it is searched", "Where it is kept", "What it runs on"


def search(
    task: Annotated[
        str,
        typer.Option(
            help="builtin/docstrings, glue/sst2 …, hf:NAME, or a task file (.toml).", rich_help_panel=_WHAT
        ),
    ] = TASK,
    model: Annotated[
        str, typer.Option(help="A hub name, a folder, or builtin/tiny-bert.", rich_help_panel=_WHAT)
    ] = MODEL,
    method: Annotated[
        str, typer.Option(help="snip, or chance (the yardstick).", rich_help_panel=_WHAT)
    ] = METHOD,
    text: Annotated[
        list[str] | None,
        typer.Option(help="Text column of an hf: data set; twice for two.", rich_help_panel=_WHAT),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Label column of an hf: data set.", rich_help_panel=_WHAT)
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="Of an hf: data set: accuracy, f1, accuracy_f1, matthews or pearson_spearman.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Runs a tokenizer's own code.", rich_help_panel=_WHAT)
    ] = False,
    space: Annotated[
        Path | None,
        typer.Option(help="A TOML file whose keys replace the packaged ones.", rich_help_panel=_HOW),
    ] = None,
    trials: Annotated[
        int, typer.Option(help="Total of the study; may be raised later.", rich_help_panel=_HOW)
    ] = TRIALS,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="No new trial starts when it has run so long, restarts together.", rich_help_panel=_HOW
        ),
    ] = None,
    gpu_hours: Annotated[
        float | None,
        typer.Option(
            help="Nor when its trials have had so much of GPUs, lost ones too.", rich_help_panel=_HOW
        ),
    ] = None,
    until_hypervolume_flat: Annotated[
        int | None,
        typer.Option(help="Nor when so many trials in a row have added nothing.", rich_help_panel=_HOW),
    ] = None,
    sampler: Annotated[str, typer.Option(help="tpe, nsga2, gp or random.", rich_help_panel=_HOW)] = "tpe",
    scheduler: Annotated[
        str,
        typer.Option(help="asha: stops trials whose curve adds nothing; none.", rich_help_panel=_HOW),
    ] = SCHEDULER,
    seed: Annotated[int, typer.Option(help="Of draws and trainings.", rich_help_panel=_HOW)] = 0,
    name: Annotated[
        str | None,
        typer.Option(help="Of the study. [dim]Default: task-model-method[/]", rich_help_panel=_HOW),
    ] = None,
    store: Annotated[str, typer.Option(help="Folder for files.", rich_help_panel=_WHERE)] = str(STORE),
    ledger: Annotated[
        str | None,
        typer.Option(help="URL of the study database. [dim]Default: in the store[/]", rich_help_panel=_WHERE),
    ] = None,
    tracking: Annotated[
        str | None,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI",
            help="MLflow's. [dim]Default: in the store[/]",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="Goes on with a study whose driver is gone, or is to stop.",
            rich_help_panel=_WHERE,
        ),
    ] = False,
    concurrent: Annotated[
        int | None, typer.Option(help="Trials at once. [dim]Default: as many as fit[/]", rich_help_panel=_RUN)
    ] = None,
    cpus_per_trial: Annotated[
        float, typer.Option(help="Cores, and threads, of a trial.", rich_help_panel=_RUN)
    ] = 1.0,
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(
            help="May be a part, such as 0.25. [dim]Default: 1 if there are GPUs[/]", rich_help_panel=_RUN
        ),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster: auto, or HOST:PORT.", rich_help_panel=_RUN)
    ] = None,
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32.", rich_help_panel=_RUN)] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout: the front.")] = False,
) -> None:
    """Searches the settings of a pruning method, and finds a task's front of metric against compression.

    The same command after an interruption goes on with the study; no trial is done twice.
    """
    from pipeline.cli.progress import watch
    from pipeline.execute import Resources
    from pipeline.sweep import Search, run

    if "://" in store:
        raise BadInput(f"--store is a folder (on a cluster: one that all nodes share); given was {store}.")
    wanted = Search(
        task=task,
        model=model,
        method=method,
        space=space,
        trials=trials,
        minutes=minutes,
        gpu_hours=gpu_hours,
        until_hypervolume_flat=until_hypervolume_flat,
        seed=seed,
        name=name,
        sampler=sampler,
        scheduler=scheduler,
        precision=precision,
        store=Path(store),
        ledger=ledger,
        tracking=tracking,
        resources=Resources(address, concurrent, cpus_per_trial, gpus_per_trial),
        text=tuple(text or ()),
        label=label,
        metric=metric,
        trust_remote_code=trust_remote_code,
        take_over=take_over,
    )
    with watch(quiet=quiet) as watcher:
        found = run(wanted, watcher)
    if as_json:
        print_json(front_as_json(found))
    else:
        print_front(found, store=Path(store), tracking=tracking)
