"""What a study is."""

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
    """How a study's task was named, so that it can be read again; not frozen: files may move."""

    task: str  # a name, or the absolute path of a task file
    text: tuple[str, ...] = ()
    label: str | None = None
    metric: str | None = None


@dataclass(frozen=True)
class StudySpec:
    """What a study is: frozen at trial 0; only its budgets may change later."""

    name: str
    task: str
    task_fingerprint: str  # sha256 of train and validation rows; the test rows are not read
    metric_name: str
    validation_rows: int
    model: str
    model_fingerprint: str  # sha256 of weights and config, or the hub commit
    method: str
    space_toml: str  # what was searched, every key written out
    sampler: str
    seed: int
    precision: str
    anchors: Anchors
    # Fields that came later have defaults: what a study was before there was a choice.
    objective: str = "compression"  # beside the metric: a key of OBJECTIVES
    latency_at: str = ""  # BATCHxTOKENS of a latency that is the objective
    distill: str = "none"  # what is learned from the dense network, beside the labels: kd, cap
    starts: str = ""  # JSON list: parameters that come before the space's own starts, from earlier studies
    compile: str = "off"  # auto: the first tuning is compiled where that pays; no replay is bit-equal then

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
        """The method, and what it was distilled by, if it was: snip, snip+kd."""
        return self.method if self.distill == "none" else f"{self.method}+{self.distill}"

    @property
    def second(self) -> Objective:
        """The objective beside the metric."""
        return OBJECTIVES[self.objective]

    @property
    def zeroes(self) -> bool:
        """Whether single weights of its networks are zero: none is smaller or faster than the dense one."""
        return self.objective == "sparsity"

    @property
    def share(self) -> str:
        """What its networks lack of the dense encoder, as a column: what targets reach, tables begin with."""
        return "sparsity" if self.zeroes else "compression"

    def values(self, measured: Mapping[str, Any]) -> FloatArray:
        """Both objectives, (metric, gain), as fronts maximise them: [2] of one network, [P, 2] of columns [P].

        The ledger stores the same, so that samplers see one scale: see `Objective.gain`.
        """
        metric = np.asarray(measured["metric"], dtype=np.float64)
        return np.stack([metric, self.second.gain(measured, self.anchors)], axis=-1)

    @classmethod
    def late_fields(cls) -> dict[str, Any]:
        """The fields that a spec from before may lack, with what it meant without them."""
        return {each.name: each.default for each in fields(cls) if each.default is not MISSING}


def refer(
    task: str, *, text: tuple[str, ...] = (), label: str | None = None, metric: str | None = None
) -> TaskReference:
    """How to find a task again from any folder: a task file's path becomes absolute."""
    name = str(Path(task).expanduser().resolve()) if task.endswith(".toml") else task
    return TaskReference(name, text, label, metric)
