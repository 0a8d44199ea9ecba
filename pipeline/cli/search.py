"""prunefront search"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.output import out, print_json
from pipeline.cli.shared_options import with_options_of
from pipeline.cli.show import front_as_json, print_front
from pipeline.study.records import BadInput
from pipeline.study.space import known_methods
from pipeline.study.store import place_text

if TYPE_CHECKING:
    from pipeline.driver.search import Search

TASK, MODEL, METHOD, TRIALS, STORE = "builtin/docstrings", "builtin/tiny-bert", "snip", 5, Path("mlflow_runs")

SCHEDULER = "asha"
CHECKPOINT_S = 60.0

_WHAT, _HOW, _WHERE, _RUN = "What is cut", "How it is searched", "Where it is kept", "What it runs on"


def asked(
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
        str,
        typer.Option(
            help=f"{', '.join(known_methods())}. chance is the yardstick; a file in search_spaces/ tells of each.",
            rich_help_panel=_WHAT,
        ),
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
    distill: Annotated[
        str,
        typer.Option(
            help="kd: trials learn the dense network's outputs, too; cap: and its and earlier networks' "
            "representations; none.",
            rich_help_panel=_HOW,
        ),
    ] = "none",
    warm_start: Annotated[
        str | None,
        typer.Option(
            help="An earlier study, whose front gives the first settings; auto: all of this method in the store.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="dense: trials begin from the fine-tuned network; pretrained. [dim]Default: as the space says[/]",
            rich_help_panel=_HOW,
        ),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="Beside the metric: compression, macs (saved MACs) or latency (saved latency); of methods on single "
            "weights sparsity. [dim]Default: compression, or sparsity[/]",
            rich_help_panel=_HOW,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of draws and trainings.", rich_help_panel=_HOW)] = 0,
    name: Annotated[
        str | None,
        typer.Option(help="Of the study. [dim]Default: task-model-method[/]", rich_help_panel=_HOW),
    ] = None,
    store: Annotated[
        str, typer.Option(help="Folder for files, or s3://BUCKET/PREFIX.", rich_help_panel=_WHERE)
    ] = str(STORE),
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
    checkpoint_seconds: Annotated[
        float,
        typer.Option(
            help="A lost trial goes on from a checkpoint that is at most so old.", rich_help_panel=_WHERE
        ),
    ] = CHECKPOINT_S,
    concurrent: Annotated[
        int | None, typer.Option(help="Trials at once. [dim]Default: as many as fit[/]", rich_help_panel=_RUN)
    ] = None,
    cpus_per_trial: Annotated[
        float, typer.Option(help="Cores, and threads, of a trial.", rich_help_panel=_RUN)
    ] = 1.0,
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(
            help="A part of one is shared. [dim]Default: as many trials on each GPU, 4 at most, as memory holds[/]",
            rich_help_panel=_RUN,
        ),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster: auto, or HOST:PORT.", rich_help_panel=_RUN)
    ] = None,
    latency_grid: Annotated[
        str | None,
        typer.Option(
            help="What is timed, BATCHxTOKENS, the study's own first: 1x128,8x128 … or none. "
            "[dim]Default: one row of the longest of validation[/]",
            rich_help_panel=_RUN,
        ),
    ] = None,
    keep_weights: Annotated[
        str,
        typer.Option(
            help="Whose weights stay in the store: front, or all (no network has to be trained again for an export).",
            rich_help_panel=_WHERE,
        ),
    ] = "front",
    precision: Annotated[
        str, typer.Option(help="auto (by hardware), bf16, fp16, tf32 or fp32.", rich_help_panel=_RUN)
    ] = "auto",
    activation_checkpointing: Annotated[
        bool,
        typer.Option(
            "--activation-checkpointing",
            help="Layers are run again in the backward pass: less memory, a third more time, the same numbers.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    compile: Annotated[
        str,
        typer.Option(
            help="auto: the tuning before the first cut is compiled if that pays, as measured in each trial; a trial "
            "that goes on, or is run again, then has other numbers, if close ones. off.",
            rich_help_panel=_RUN,
        ),
    ] = "off",
) -> Search:
    """What a person asks of a search: the options of `search`, and of all commands about one."""
    from pipeline.driver.execute import Resources
    from pipeline.driver.search import Search

    if "://" in store and not store.startswith("s3://"):
        raise BadInput(
            f"--store is a folder (on a cluster: one that all nodes share) or s3://BUCKET/PREFIX; "
            f"given was {store}."
        )
    return Search(
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
        activation_checkpointing=activation_checkpointing,
        compile=compile,
        start=start,
        store=Path(store),
        ledger=ledger,
        tracking=tracking,
        resources=Resources(address, concurrent, cpus_per_trial, gpus_per_trial),
        text=tuple(text or ()),
        label=label,
        metric=metric,
        trust_remote_code=trust_remote_code,
        objective=objective,
        distill=distill,
        warm_start=warm_start,
        latency_grid=latency_grid,
        take_over=take_over,
        checkpoint_seconds=checkpoint_seconds,
        keep_weights=keep_weights,
    )


@with_options_of(asked)
def search(
    wanted: Search,
    *,
    seeds: Annotated[
        int, typer.Option(help="So many, one after the other, each a study: -seedN.", rich_help_panel=_HOW)
    ] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout: the front.")] = False,
) -> None:
    """Searches the settings of a pruning method, and finds a task's front of metric against compression.

    The same command after an interruption goes on with the study; no trial is done twice.
    """
    from pipeline.cli.progress import watch
    from pipeline.driver.search import run_seeds

    with watch(quiet=quiet) as watcher:
        fronts = run_seeds(wanted, watcher, seeds=seeds)
    if as_json:
        each = [front_as_json(found) for found in fronts]
        print_json(each[0] if seeds == 1 else {"studies": each})
        return
    for found in fronts:
        print_front(found, store=wanted.store, tracking=wanted.tracking)
    if len(fronts) > 1:
        names = " ".join(found.spec.name for found in fronts)
        where = "" if wanted.store == STORE else f" --store {place_text(wanted.store)}"
        out.print(f"Over seeds:  [cyan]prunefront compare {names}{where}[/]")
