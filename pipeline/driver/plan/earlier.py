"""The costs of an earlier study of the same task, model and method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.driver.plan.pricing import Cost, Number
from pipeline.study.store import Store

MB = 1e6  # bytes
MOMENTS = 2  # of AdamW, beside the weights, in a checkpoint


@dataclass(frozen=True)
class Earlier:
    """A study that further trials are priced by: all its trials that have ended, stopped ones included."""

    study: str
    space_toml: str
    trials: tuple[Cost, ...]
    memory_mb: tuple[float, ...]  # peaks, of the trials that recorded theirs
    gpu_memory_mb: tuple[float, ...]
    weights_mb: float  # of its front's networks, now
    dense_mb: float  # of one dense network
    table_seconds: float  # to measure its latency table

    @property
    def seconds_per_epoch(self) -> float:
        """The mean over all trials."""
        return sum(cost.seconds for cost in self.trials) / sum(cost.epochs for cost in self.trials)

    def draws(self, generator: np.random.Generator) -> Callable[[int], Cost]:
        """Simulate a search: each of its trials is one of these, drawn at random with replacement."""
        chosen: list[Cost] = []

        def cost(number: int) -> Cost:
            while len(chosen) <= number:
                chosen.extend(self.trials[i] for i in generator.integers(len(self.trials), size=64))
            return chosen[number]

        return cost

    def memory(self, *, gpu: bool) -> Number | None:
        """Return the peak memory of a trial's process, or of its GPU memory; None if no trial recorded it."""
        peaks = self.gpu_memory_mb if gpu else self.memory_mb
        if not peaks:
            return None
        return Number(float(np.median(peaks)), min(peaks), max(peaks), "MB", self.study)


def find_earlier(
    store: Store, *, task_fingerprint: str, model_fingerprint: str, method: str, distill: str, space_toml: str
) -> Earlier | None:
    """Find the study of the same task, model and method with most ended trials; one of the same space comes first."""
    found: list[tuple[bool, Earlier]] = []
    for name in store.list_studies():
        spec = store.study(name).read_spec()
        same = (spec.task_fingerprint, spec.model_fingerprint, spec.method, spec.distill)
        if same != (task_fingerprint, model_fingerprint, method, distill):
            continue
        earlier = _read(store, name)
        if earlier is not None:
            found.append((spec.space_toml == space_toml, earlier))
    best = max(found, key=lambda each: (each[0], len(each[1].trials)), default=None)
    return None if best is None else best[1]


def _read(store: Store, study: str) -> Earlier | None:
    """Read the costs of a study; None if none of its trials was trained."""
    files = store.study(study)
    table = files.read_points()
    ended = [trial for trial in table.trials() if trial.state != "failed" and trial.epochs > 0]
    if not ended:
        return None
    settings = [files.read_provenance(trial.number) for trial in ended]
    latency = files.latency.read().table
    return Earlier(
        study=study,
        space_toml=table.spec.space_toml,
        trials=tuple(Cost(trial.epochs, trial.seconds) for trial in ended),
        memory_mb=_recorded(settings, "peak_memory_mb"),
        gpu_memory_mb=_recorded(settings, "peak_gpu_memory_mb"),
        weights_mb=files.weights.size_bytes() / MB,
        dense_mb=table.spec.anchors.dense_size_mb,
        table_seconds=0.0 if latency is None else latency.seconds,
    )


def _recorded(settings: list[dict[str, str]], name: str) -> tuple[float, ...]:
    return tuple(float(setting[name]) for setting in settings if name in setting)
