"""The options of a confirmation, each written once: type, default, help text and panel.

`prunefront confirm` and `pipeline.confirm` are made from `ConfirmOptions`. This file is read for `--help`, too, so it
imports neither torch nor ray.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.driver.execute import Resources
from pipeline.driver.search.option import Option
from pipeline.study.store import DEFAULT_STORE

WHAT, WHERE, RUN = "What is confirmed", "Where it is kept", "What it runs on"


@dataclass(frozen=True, kw_only=True)
class ConfirmOptions:
    """The options of a confirmation."""

    seeds: Annotated[int, Option("Fresh seeds of every point.", WHAT)] = 5
    points: Annotated[
        str,
        Option(
            "best (as `prunefront best`, with the bounds below), all, knee, or how many, spread out.", WHAT
        ),
    ] = "best"
    minutes: Annotated[float | None, Option("No new training starts after this long.", WHAT)] = None
    task: Annotated[str | None, Option("Where the task is now, if it has moved.", WHAT)] = None
    store: Annotated[Path, Option("Folder of the store.", WHERE)] = DEFAULT_STORE
    tracking: Annotated[
        str | None,
        Option("MLflow's address. [dim]Default: in the store[/]", WHERE, environment="MLFLOW_TRACKING_URI"),
    ] = None
    concurrent: Annotated[int | None, Option("Trainings at a time. [dim]Default: as many as fit[/]", RUN)] = (
        Resources.concurrent
    )
    cpus_per_trial: Annotated[float, Option("Cores, and threads, of a training.", RUN)] = (
        Resources.cpus_per_trial
    )
    gpus_per_trial: Annotated[
        float | None,
        Option("GPUs of a training; may be a fraction. [dim]Default: 1 if there are GPUs[/]", RUN),
    ] = Resources.gpus_per_trial
    address: Annotated[str | None, Option("A running Ray cluster: auto, or HOST:PORT.", RUN)] = (
        Resources.address
    )

    @property
    def resources(self) -> Resources:
        """What trainings run on."""
        return Resources(self.address, self.concurrent, self.cpus_per_trial, self.gpus_per_trial)
