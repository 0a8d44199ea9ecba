"""What a search adds to each trial: Ray, ledger, store, MLflow, figures.

Trials of one epoch on a toy task, one at a time: the time from one trial's end to the next one's, against the
same trial bodies in a plain loop in one process.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from pipeline.driver.search.api import search
from pipeline.driver.search.inputs import make_inputs, read_task
from pipeline.driver.search.request import Search
from pipeline.driver.search.watcher import SearchProgress, SilentWatcher
from pipeline.study.records import Ask, TrialRecord
from pipeline.study.store import Store
from pipeline.trial.job import TrialJob
from pipeline.trial.trial import run_trial
from tests.benchmarks.pairs import Row
from tests.kit.toy import SHORT_CUT, write_task

NAME = "sweep"
GOAL_S = 0.4
SETTLED = 2  # the first trials import torch and load the model
SPACE = (
    SHORT_CUT
    + """
[tune_epochs]
value = 1
[recover_epochs]
value = 0
[rounds]
value = 1
"""
)


class _Ends(SilentWatcher):
    """Notes when trials end."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_change(self, standing: SearchProgress, record: TrialRecord | None) -> None:
        """Notes the time."""
        if record is not None:
            self.at.append(time.perf_counter())


def measure(*, quick: bool) -> Iterator[Row]:
    """Rows for the table."""
    trials = 8 if quick else 26
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="sweep-overhead-") as name:
        folder = Path(name)
        task = write_task(folder / "task")
        (folder / "space.toml").write_text(SPACE)
        ends = _Ends()
        search(
            task=str(task),
            space=folder / "space.toml",
            trials=trials,
            concurrent=1,
            store=folder / "runs",
            name="timed",
            watcher=ends,
        )
        store = Store(folder / "runs")
        request = Search(task=str(task), store=store.root)
        inputs = make_inputs(request, read_task(request, cache=store.cache), study="timed", cache=store.cache)
        bodies = []
        for number in store.study("timed").finished_numbers():
            record = store.study("timed").read_record(number)
            job = TrialJob(Ask(number, record.params, record.seed), (folder / "nowhere",), checkpoint_s=1e9)
            start = time.perf_counter()
            run_trial(inputs, job, lambda _: None)
            bodies.append(time.perf_counter() - start)
    gaps = np.diff(ends.at)[SETTLED - 1 :]
    over = gaps - np.array(bodies[SETTLED:])
    low, middle, high = np.quantile(over, [0.25, 0.5, 0.75])
    base = f"bodies of {np.median(bodies):.2f} s"
    yield Row(
        NAME, "added to each trial", float(middle), float(low), float(high), len(over), base, GOAL_S, "s"
    )
