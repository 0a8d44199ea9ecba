"""On GPUs: the first trials have a card each, and what they needed decides how many then share one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import final

from pipeline.driver.execute import Cluster, Job, Packing, Peak, TrialQueue
from pipeline.study.records import Rung
from pipeline.study.store import Store

LOOKED_AT = 8  # trials of a study that goes on: their peaks stand for all
GPU_PEAK, GPU_TOTAL, RAM_PEAK = "peak_gpu_reserved_mb", "gpu_total_mb", "peak_memory_mb"


def peak_of_trials(store: Store, study: str, dense: Peak | None) -> Peak | None:
    """The dense network's peak, with the most that a trial had on a GPU; `dense` if no trial noted that."""
    files = store.study(study)
    facts = [files.read_provenance(number) for number in files.finished_numbers()[:LOOKED_AT]]
    noted = [each for each in facts if float(each.get(GPU_PEAK, 0.0))]
    if not noted:
        return dense
    ram = dense or Peak.of_trial(max(float(each[RAM_PEAK]) for each in noted))
    return replace(
        ram,
        gpu_trial_mb=max(float(each[GPU_PEAK]) for each in noted),
        gpu_total_mb=min(float(each[GPU_TOTAL]) for each in noted),
    )


def alone(packing: Packing) -> Cluster | None:
    """Where several trials would share a card and none has run yet: a card each, as many as there are."""
    cluster = packing.cluster
    if not packing.guessed:
        return None
    return replace(cluster, gpus_per_trial=1.0, concurrent=min(cluster.concurrent, int(cluster.gpus)))


@final
class FirstOnes:
    """A desk that hands out so many trials of another desk, and then no more."""

    def __init__(self, desk: TrialQueue, count: int) -> None:
        self._desk, self._left = desk, count
        self.heard: Callable[[int, dict[str, float]], None] = desk.heard
        self.rung: Callable[[int, Rung], bool] = desk.rung
        self.stopped: Callable[[int], None] = desk.stopped
        self.again: Callable[[int, str | None], None] = desk.again
        self.ended: Callable[[int, str | None], None] = desk.ended

    def next(self) -> Job | None:
        """The next of the first ones."""
        job = self._desk.next() if self._left else None
        self._left -= job is not None
        return job

    def store_away(self, number: int, *, ended: bool) -> None:
        """As the other desk."""
        self._desk.store_away(number, ended=ended)
