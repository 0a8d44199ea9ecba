"""The options of a search, each written once: type, default, help text and panel.

`prunefront search`, `plan` and `cluster`, `pipeline.search` and the manifests of a cluster are made from `Search`.
This file is read for `--help`, too, so it imports neither torch nor ray.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from pipeline.driver.execute import Resources
from pipeline.driver.search.budget import Budget
from pipeline.driver.search.option import Option
from pipeline.study.choices import COMPILE, COMPILE_OFF, PRECISIONS, SAMPLERS
from pipeline.study.records import BadInput
from pipeline.study.space import known_distillations, known_methods
from pipeline.study.store import DEFAULT_STORE
from pipeline.task.kind_names import KIND_NAMES

SCHEDULERS = ("asha", "none")
OWN, DENSE, PRETRAINED = STARTS = ("own", "dense", "pretrained")
FRONT, ALL = KEPT = ("front", "all")  # networks whose weights stay in the store
SEARCHED = ("compression", "macs", "latency")  # objectives beside the metric, of networks that are cut
SPARSITY = "sparsity"  # that of networks whose single weights are zero

METHOD, TRIALS = "snip", 5
DIGITS, MODEL = "builtin/digits", "builtin/tiny-bert"
MODELS = {
    DIGITS: "builtin/tiny-vit",
    "builtin/docstrings-language-model": "builtin/tiny-gpt2",
}  # of other built-in tasks
UNTRAINED_METHOD, UNTRAINED_TRIALS = "obs", 1  # without training: one trial gives the whole curve
BY_MODE: Any = None  # the default of a field that __post_init__ fills

USUAL = "Usual options"
WHAT, HOW = "More on what is cut", "More on how it is searched"
WHERE, RUN = "Where it is kept", "What it runs on"


def model_of(task: str) -> str:
    """Return the model of a task where none is given."""
    return MODELS.get(task, MODEL)


@dataclass(frozen=True, kw_only=True)
class Search:
    """The options of a search.

    Raises:
        BadInput: the store is neither a folder nor a bucket.
    """

    task: Annotated[
        str,
        Option(
            "A file of rows (csv, tsv, jsonl, parquet), a folder of train and test files, a task file (.toml), "
            "hf:NAME, glue/sst2 …, builtin/digits or builtin/docstrings.",
            USUAL,
            also=("--data",),
        ),
    ] = "builtin/digits"
    model: Annotated[
        str,
        Option(
            f"A hub name, a folder, or a built-in model. [dim]Default: {MODEL}; of the digits {MODELS[DIGITS]}[/]",
            USUAL,
        ),
    ] = BY_MODE
    method: Annotated[
        str,
        Option(
            f"How units are ranked; `prunefront methods` lists all {len(known_methods())}. "
            f"[dim]Default: {METHOD}, without training {UNTRAINED_METHOD}[/]",
            USUAL,
        ),
    ] = BY_MODE
    text: Annotated[
        tuple[str, ...], Option("Text column of a file or an hf: data set; twice for pairs of texts.", USUAL)
    ] = ()
    kind: Annotated[
        str | None,
        Option(
            f"Kind of the task of a file or an hf: data set: {', '.join(KIND_NAMES)}. "
            "[dim]Default: that of the metric, or classification[/]",
            USUAL,
        ),
    ] = None
    label: Annotated[str | None, Option("Label column of a file or an hf: data set.", USUAL)] = None
    metric: Annotated[
        str | None,
        Option(
            "Metric of a file or an hf: data set: accuracy, f1, accuracy_f1, matthews, pearson_spearman, or one of "
            "another kind.",
            WHAT,
        ),
    ] = None
    max_length: Annotated[
        int | None,
        Option(
            "Tokens of a row of a file or an hf: data set; longer rows are cut. [dim]Default: 128[/]", WHAT
        ),
    ] = None
    drop_empty: Annotated[bool, Option("Leave rows without a text out; else they are refused.", WHAT)] = False
    trim_vocabulary: Annotated[
        bool, Option("Keep the tokens alone that the training rows need: the model's table shrinks.", WHAT)
    ] = False
    trust_remote_code: Annotated[bool, Option("Run a tokenizer's own code.", WHAT)] = False
    space: Annotated[Path | None, Option("A TOML file whose keys replace the packaged ones.", HOW)] = None
    trials: Annotated[
        int,
        Option(
            f"Trials of the study in all; may be raised later. [dim]Default: {TRIALS}, without training "
            f"{UNTRAINED_TRIALS}[/]",
            USUAL,
        ),
    ] = BY_MODE
    minutes: Annotated[
        float | None, Option("Start no new trial after this running time, restarts included.", USUAL)
    ] = None
    gpu_hours: Annotated[
        float | None, Option("Start no new trial after this GPU time of all trials, lost ones included.", HOW)
    ] = None
    until_hypervolume_flat: Annotated[
        int | None, Option("Start no new trial when this many in a row did not raise the hypervolume.", HOW)
    ] = None
    sampler: Annotated[str, Option("tpe, nsga2, gp or random.", HOW, choices=SAMPLERS)] = "tpe"
    scheduler: Annotated[
        str, Option("asha: stop trials whose curve adds nothing; none.", HOW, choices=SCHEDULERS)
    ] = "asha"
    distill: Annotated[
        str,
        Option(
            "kd: trials also learn from the dense network's outputs; layers: and from its hidden states; cap: and from "
            "representations of it and of earlier networks; none.",
            HOW,
            choices=("none", *known_distillations()),
        ),
    ] = "none"
    warm_start: Annotated[
        str | None,
        Option(
            "An earlier study whose front gives the first settings; auto: all of this method in the store.",
            HOW,
        ),
    ] = None
    start: Annotated[
        str | None,
        Option(
            "own: the model is fine-tuned for the task, and is the dense network as it came; dense: a dense network is "
            "trained first, trials start from it; pretrained: it is trained, too, they start from the model. "
            "[dim]Default: own if the model's head knows the task's classes, else set by the space[/]",
            HOW,
            choices=STARTS,
        ),
    ] = None
    no_training: Annotated[
        bool,
        Option(
            "Cut the model, which is fine-tuned for the task, without a step of training: a front in minutes.",
            HOW,
        ),
    ] = False
    objective: Annotated[
        str | None,
        Option(
            "Objective beside the metric: compression, macs (saved MACs) or latency (saved latency); sparsity for "
            "methods on single weights. [dim]Default: compression, or sparsity[/]",
            HOW,
            choices=(*SEARCHED, SPARSITY),
        ),
    ] = None
    seed: Annotated[int, Option("Seed of sampling and training.", HOW)] = 0
    name: Annotated[str | None, Option("Name of the study. [dim]Default: task-model-method[/]", USUAL)] = None
    store: Annotated[Path, Option("Folder for files, or s3://BUCKET/PREFIX.", WHERE, as_text=True)] = (
        DEFAULT_STORE
    )
    ledger: Annotated[
        str | None,
        Option(
            "URL of the study database; journal:///FOLDER needs a shared folder alone. [dim]Default: in the store[/]",
            WHERE,
        ),
    ] = None
    tracking: Annotated[
        str | None,
        Option(
            "MLflow's address; later: publish nothing before `studies --sync`. [dim]Default: in the store[/]",
            WHERE,
            environment="MLFLOW_TRACKING_URI",
        ),
    ] = None
    also: Annotated[
        tuple[str, ...],
        Option("A tracker beside MLflow: tensorboard:FOLDER or trackio; may be repeated.", WHERE),
    ] = ()
    take_over: Annotated[bool, Option("Go on with a study whose driver is gone, or is to stop.", WHERE)] = (
        False
    )
    checkpoint_seconds: Annotated[
        float, Option("Seconds between checkpoints; a lost trial goes on from its last one.", WHERE)
    ] = 60.0
    concurrent: Annotated[int | None, Option("Trials at a time. [dim]Default: as many as fit[/]", RUN)] = (
        Resources.concurrent
    )
    cpus_per_trial: Annotated[float, Option("Cores, and threads, of a trial.", RUN)] = (
        Resources.cpus_per_trial
    )
    gpus_per_trial: Annotated[
        float | None,
        Option(
            "GPUs of a trial: a fraction shares one; of two and more each has a process and a part of every batch. "
            "[dim]Default: as many trials on each as its memory holds, 4 at most[/]",
            RUN,
        ),
    ] = Resources.gpus_per_trial
    stack: Annotated[
        int,
        Option(
            "Trials that one process of a GPU tunes as one stack of networks, up to their first cuts: each has the "
            "record that it has alone, but for rounding and dropout's draws.",
            RUN,
        ),
    ] = 1
    address: Annotated[str | None, Option("A running Ray cluster: auto, or HOST:PORT.", RUN)] = (
        Resources.address
    )
    latency_grid: Annotated[
        str | None,
        Option(
            "Shapes to time, BATCHxTOKENS, the study's own first: 1x128,8x128 …; or none. "
            "[dim]Default: one row as long as the longest of validation[/]",
            RUN,
        ),
    ] = None
    keep_weights: Annotated[
        str,
        Option(
            "Networks whose weights stay in the store: front, or all (an export then trains no network again).",
            WHERE,
            choices=KEPT,
        ),
    ] = FRONT
    precision: Annotated[
        str, Option("auto (by hardware), bf16, fp16, tf32 or fp32.", RUN, choices=PRECISIONS)
    ] = "auto"
    activation_checkpointing: Annotated[
        bool,
        Option(
            "Compute layers again in the backward pass: less memory, a third more time, the same numbers.",
            RUN,
        ),
    ] = False
    compile: Annotated[
        str,
        Option(
            "auto: compile the tuning before the first cut if that is faster, as measured in each trial; a trial that "
            "is resumed or run again then has slightly different numbers. off.",
            RUN,
            choices=COMPILE,
        ),
    ] = COMPILE_OFF

    def __post_init__(self) -> None:
        """Fill defaults that depend on others, read paths given as text, and refuse numbers that are none."""
        if self.model is BY_MODE:
            object.__setattr__(self, "model", model_of(self.task))
        if self.method is BY_MODE:
            object.__setattr__(self, "method", UNTRAINED_METHOD if self.no_training else METHOD)
        if self.trials is BY_MODE:
            object.__setattr__(self, "trials", UNTRAINED_TRIALS if self.no_training else TRIALS)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise BadInput(f"--{field.name.replace('_', '-')} is {value}. Give a finite number.")
        if "://" in str(self.store) and not str(self.store).startswith("s3://"):
            raise BadInput(
                f"--store is {self.store}. It is a folder (on a cluster: one that all nodes share) or "
                "s3://BUCKET/PREFIX."
            )
        object.__setattr__(self, "store", Path(self.store))
        if self.space is not None:
            object.__setattr__(self, "space", Path(self.space))

    @property
    def budget(self) -> Budget:
        """When no more trials start."""
        return Budget(self.trials, self.minutes, self.gpu_hours, self.until_hypervolume_flat)

    @property
    def resources(self) -> Resources:
        """What trials run on."""
        return Resources(self.address, self.concurrent, self.cpus_per_trial, self.gpus_per_trial)
