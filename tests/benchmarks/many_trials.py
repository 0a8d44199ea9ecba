"""What a trial costs the driver, from the first hundred trials to the last; nothing is trained.

    python -m tests.benchmarks.many_trials [--trials 1000] [--every 100] [--json FILE]

Real Ray, ledger, store and MLflow; the trials are a made-up function (surrogate.py). CPU time and memory are the
driver's own process, its delivering thread included; the sampler's asks are taken off. Then: the front and the
hypervolume of 10,000 trials with 32 points each.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from pipeline.driver.execute import Resources, connect, run_trials
from pipeline.driver.search.budget import Budget, Meter
from pipeline.driver.search.study_queue import StudyQueue
from pipeline.driver.search.study_results import StudyResults
from pipeline.driver.search.trial_source import TrialSource
from pipeline.driver.search.watcher import SilentWatcher
from pipeline.driver.tracking import Publisher, open_tracking
from pipeline.fronts.front import front_of
from pipeline.study.halving import Halving
from pipeline.study.ledger import Ledger, hold, open_ledger
from pipeline.study.records import Ask, TrialRecord
from pipeline.study.space import load_space
from pipeline.study.store import Store, StudyTable
from pipeline.study.store.table import COLUMNS
from pipeline.trial.inputs import OnEpoch, TrialInputs
from pipeline.trial.job import TrialJob
from pipeline.trial.monitor import OnRung
from tests.benchmarks import surrogate
from tests.kit.synthetic import spec

FIXED = '[rounds]\nvalue = 1\n[spectral_bound]\nvalue = "off"\n'


def body(inputs: TrialInputs, job: TrialJob, tell: OnEpoch, tell_rung: OnRung) -> TrialRecord:
    """A trial that trains nothing."""
    del inputs
    noise = np.random.default_rng(job.ask.seed)
    rungs = [surrogate.rung(job.ask.params, at, part, noise) for at, part in enumerate(job.ask.rungs)]
    tell({"epoch": 1.0, "epochs": 2.0})
    for rung in rungs:
        tell_rung(rung)
    record, _ = surrogate.record(job.ask.number, job.ask.params, noise)
    return replace(record, seed=job.ask.seed, rungs=tuple(rungs), seconds=0.01)


class TimedSource(TrialSource):
    """A source that measures the CPU time of its draws."""

    ask_s = 0.0

    def _ask(self) -> Ask:
        start = time.process_time()
        try:
            return super()._ask()
        finally:
            self.ask_s += time.process_time() - start


class Watched(StudyQueue):
    """A queue that notes what its process has used."""

    source: TimedSource
    every = 100

    def begin(self) -> None:
        self.rows = [(0, time.process_time(), self.source.ask_s, _resident())]

    def on_end(self, number: int, error: str | None) -> None:
        super().on_end(number, error)
        done = len(self.results.volumes)
        if done % self.every == 0:
            self.rows.append((done, time.process_time(), self.source.ask_s, _resident()))


def _resident() -> float:
    """MB of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def search(folder: Path, trials: int, every: int) -> list[tuple[int, float, float, float]]:
    """(trials, CPU s, of them in asks, MB) at the start and after every so many trials."""
    store = Store(folder / "store")
    (folder / "fixed.toml").write_text(FIXED)
    space = load_space("snip", file=folder / "fixed.toml", pretrained=True)
    made = replace(spec(), sampler="tpe", space_toml=space.toml)
    store.write_spec(made)
    url = f"sqlite:///{store.studies_db}"
    with hold(url, made.name) as lease, connect(Resources(concurrent=2), shared_bytes=0) as cluster:
        ledger: Ledger = open_ledger(url, made, space, trials=trials, lease=lease)
        reach = partial(open_tracking, None, store_root=store.root)
        publisher = Publisher(
            made, store=store, open_tracker=reach, may_write=lease.check, address="the store"
        )
        publisher.start(reach())
        meter, watcher = Meter(store, made.name, gpus_per_trial=0.0), SilentWatcher()
        queue = Watched(
            TimedSource(ledger, Budget(trials), meter, warn=watcher.warn),
            StudyResults(made, store),
            publisher=publisher,
            watcher=watcher,
            halving=Halving(made.values, made.reference_point),
        )
        queue.every = every
        queue.settle()
        queue.begin()
        run_trials(cluster, None, store=store, study=made.name, queue=queue, body=body)  # type: ignore[arg-type]
        queue.close()
        if not publisher.done:
            raise RuntimeError(f"MLflow did not get all of it: {publisher.messages()}")
    return queue.rows


def big_front(trials: int = 10_000, points: int = 32) -> float:
    """Seconds for front and hypervolume of a study's table."""
    generator = np.random.default_rng(0)
    rows = trials * points
    compression = np.tile(np.linspace(0, 0.97, points), trials)
    metric = 0.9 - 0.4 * compression ** generator.uniform(1, 9, rows)
    columns = {name: pa.nulls(rows, kind.type) for name, kind in zip(COLUMNS.names, COLUMNS, strict=True)}
    number = np.repeat(np.arange(trials), points)
    columns |= {
        "number": pa.array(number, pa.int32()),
        "point": pa.array(np.tile(np.arange(points), trials), pa.int32()),
        "state": pa.array(["complete"]).dictionary_encode().take(pa.array(np.zeros(rows, int))),
        "kind": pa.array(["curve"]).dictionary_encode().take(pa.array(np.zeros(rows, int))),
        "params": pa.array(['{"threshold": 0.1}']).dictionary_encode().take(pa.array(np.zeros(rows, int))),
        "reason": pa.array([""]).dictionary_encode().take(pa.array(np.zeros(rows, int))),
        "metric": pa.array(metric),
        "compression": pa.array(compression),
        "threshold": pa.array(compression),
        "epochs": pa.array(np.full(rows, 3.0)),
        "seconds": pa.array(np.full(rows, 9.0)),
        "round": pa.array(np.zeros(rows, np.int32)),
    }
    table = pa.table(columns, schema=COLUMNS)
    start = time.perf_counter()
    found = front_of(StudyTable(spec(), table))
    seconds = time.perf_counter() - start
    if found.trials != trials:
        raise RuntimeError(f"The front has {found.trials} trials.")
    return seconds


def main() -> None:
    """Prints a line per hundred trials, and the ratio of the last to the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--json", type=Path, default=None)
    chosen = parser.parse_args()
    print(f"front and hypervolume of 10,000 trials × 32 points: {big_front():.2f} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="many-trials-") as folder:
        rows = search(Path(folder), chosen.trials, chosen.every)
    table = Table("trials", "driver's CPU ms per trial, without asks", "ask, ms", "MB")
    costs = []
    for (before, cpu, ask, _), (after, cpu_after, ask_after, mb) in pairwise(rows):
        each, asks = (cpu_after - cpu) / (after - before), (ask_after - ask) / (after - before)
        costs.append(each - asks)
        table.add_row(str(after), f"{1000 * (each - asks):.0f}", f"{1000 * asks:.0f}", f"{mb:.0f}")
    Console().print(table)
    print(f"last / first: time {costs[-1] / costs[0]:.2f}, memory {rows[-1][3] / rows[1][3]:.2f}")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({"rows": rows, "costs": costs}))


if __name__ == "__main__":
    main()
