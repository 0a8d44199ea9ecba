"""What is asked of a search."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pipeline.driver.execute import Resources
from pipeline.driver.search.budget import Budget
from pipeline.model.resolve import BUILTIN
from pipeline.study.store import DEFAULT_STORE
from pipeline.trial.training.compilation import OFF

DEFAULT_TASK = "builtin/docstrings"
DEFAULT_TRIALS = 5
SCHEDULERS = ("asha", "none")
DEFAULT_SCHEDULER = "asha"
DEFAULT_CHECKPOINT_S = 60.0
STARTS = ("pretrained", "dense")
FRONT, ALL = KEPT = ("front", "all")  # networks whose weights stay in the store
SEARCHED = ("compression", "macs", "latency")  # objectives beside the metric, of networks that are cut
SPARSITY = "sparsity"  # that of networks whose single weights are zero


@dataclass(frozen=True)
class Search:
    """What is asked of a search; the command's options, and `pipeline.search`'s arguments."""

    task: str = DEFAULT_TASK
    model: str = BUILTIN
    method: str = "snip"
    space: Path | None = None
    trials: int = DEFAULT_TRIALS
    minutes: float | None = None
    gpu_hours: float | None = None
    until_hypervolume_flat: int | None = None
    seed: int = 0
    name: str | None = None
    sampler: str = "tpe"
    scheduler: str = DEFAULT_SCHEDULER
    precision: str = "auto"
    activation_checkpointing: bool = False
    compile: str = OFF
    start: str | None = None  # one of STARTS; None: as the space says
    store: Path = DEFAULT_STORE
    ledger: str | None = None
    tracking: str | None = None
    resources: Resources = field(default_factory=Resources)
    text: tuple[str, ...] = ()
    label: str | None = None
    metric: str | None = None
    trust_remote_code: bool = False
    objective: str | None = None  # None: sparsity of methods on single weights, else compression
    distill: str = "none"
    warm_start: str | None = None  # an earlier study, or auto
    latency_grid: str | None = None
    take_over: bool = False
    checkpoint_seconds: float = DEFAULT_CHECKPOINT_S
    keep_weights: str = FRONT

    @property
    def budget(self) -> Budget:
        """When no more trials start."""
        return Budget(self.trials, self.minutes, self.gpu_hours, self.until_hypervolume_flat)
