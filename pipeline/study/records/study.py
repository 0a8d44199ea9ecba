"""The specification of a study, and the reference to its task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.study.records.objectives import OBJECTIVES, Anchors, Objective
from pipeline.study.records.types import FloatArray, Params


@dataclass(frozen=True)
class TaskReference:
    """The task of a study as it was given, so that it can be read again; may change, as files may move."""

    task: str  # a name, or the absolute path of a task file
    text: tuple[str, ...] = ()
    label: str | None = None
    metric: str | None = None
    drop_empty: bool = False  # rows without a text are left out
    max_length: int | None = None  # tokens of a row; None: the task's own
    kind: str | None = None  # None: the metric decides


@dataclass(frozen=True)
class StudySpec:
    """The specification of a study: frozen at trial 0; only budgets may change later."""

    name: str
    task: str
    task_fingerprint: str  # sha256 of train and validation rows; the test rows are not read
    metric_name: str
    validation_rows: int
    model: str
    model_fingerprint: str  # sha256 of weights and config, or the hub commit
    method: str
    space_toml: str  # the search space, every key written out
    sampler: str
    seed: int
    precision: str
    anchors: Anchors
    # Fields that were added later have defaults: those of a study made before the field existed.
    objective: str = "compression"  # the second one, after the metric: a key of OBJECTIVES
    latency_at: str = ""  # BATCHxTOKENS, if latency is the objective
    distill: str = "none"  # distillation from the dense network: kd, cap
    starts: str = ""  # JSON list: parameters from earlier studies, tried before the space's own starts
    compile: str = (
        "off"  # auto: the first tuning is compiled where that is faster; replays are then not bit-equal
    )

    own: bool = (
        False  # the dense network is the model as it came, fine-tuned by the user; trials start from it
    )

    @property
    def warm_starts(self) -> list[Params]:
        """Parameters of the first trials, from earlier studies."""
        found: list[Params] = json.loads(self.starts) if self.starts else []
        return found

    @property
    def reference_point(self) -> tuple[float, float]:
        """(metric, gain) that a point must beat in both to add hypervolume."""
        return (self.anchors.constant, 0.0)

    @property
    def approach(self) -> str:
        """The method, with the distillation if there is one: snip, snip+kd."""
        return self.method if self.distill == "none" else f"{self.method}+{self.distill}"

    @property
    def dense_origin(self) -> str:
        """How the dense network was made, in words."""
        if self.own:
            return "the model as it came, not trained"
        return f"plain fine-tuning, lr {self.anchors.dense_learning_rate:g}"

    @property
    def second(self) -> Objective:
        """The second objective, after the metric."""
        return OBJECTIVES[self.objective]

    @property
    def zeroes(self) -> bool:
        """Whether networks have single weights set to zero: none is smaller or faster than the dense one."""
        return self.objective == "sparsity"

    @property
    def share(self) -> str:
        """The column of the removed share of the dense encoder: the one that targets refer to and tables begin with."""
        return "sparsity" if self.zeroes else "compression"

    def values(self, measured: Mapping[str, Any]) -> FloatArray:
        """Return both objectives, (metric, gain), as fronts maximise them: [2] of one network, [P, 2] of columns [P].

        The ledger stores the same values, so that samplers have one scale: see `Objective.gain`.
        """
        metric = np.asarray(measured["metric"], dtype=np.float64)
        return np.stack([metric, self.second.gain(measured, self.anchors)], axis=-1)

    @classmethod
    def late_fields(cls) -> dict[str, Any]:
        """Return the fields that an older spec may lack, with the values that it had implicitly."""
        return {each.name: each.default for each in fields(cls) if each.default is not MISSING}


def refer(
    task: str,
    *,
    text: tuple[str, ...] = (),
    label: str | None = None,
    metric: str | None = None,
    drop_empty: bool = False,
    max_length: int | None = None,
    kind: str | None = None,
) -> TaskReference:
    """Return a reference by which a task is found from any folder: the path of a file or folder becomes absolute."""
    named = task.startswith(("builtin/", "glue/", "hf:"))
    name = task if named else str(Path(task).expanduser().resolve())
    return TaskReference(name, text, label, metric, drop_empty, max_length, kind)
