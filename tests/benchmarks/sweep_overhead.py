"""Wall time of a search of six trials against the same six trial bodies in a plain loop.

    python -m tests.benchmarks.sweep_overhead [--trials 6] [--pairs 1 | --store DIR] [--json FILE]

Both do the same work: the same parameters and seeds, on the built-in task. The search has everything a user
gets: Ray, ledger, store, MLflow, figures; its dense network is trained before (the loop has none). The loop runs
in this process, once with one thread and once with two: the faster counts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from pipeline.store import Store
from pipeline.sweep import Search, make_inputs, search
from pipeline.task import load_task
from pipeline.trial import TrialInputs, TrialJob, run_trial


def plain_loop(inputs: TrialInputs, jobs: list[TrialJob], *, threads: int) -> float:
    """Seconds that the trial bodies take one after the other."""
    torch.set_num_threads(threads)
    start = time.perf_counter()
    for job in jobs:
        run_trial(inputs, job, lambda _: None)
    return time.perf_counter() - start


def pair(folder: Path, trials: int) -> dict[str, float]:
    """One search and both loops over its parameters."""
    if not (folder / "cache" / "dense").exists():
        search(trials=1, store=folder, name="warm")  # corpus and dense network: the loop has none
    start = time.perf_counter()
    search(trials=trials, store=folder, name="timed")
    seconds = {"search": time.perf_counter() - start}
    store = Store(folder)
    records = [store.read_record("timed", number) for number in store.finished_numbers("timed")]
    jobs = [TrialJob(r.number, r.params, r.seed, (folder / "nowhere",), 1e9) for r in records]
    wanted = Search(store=folder)
    inputs = make_inputs(wanted, load_task(wanted.task, cache=store.cache))
    for threads in (1, 2):
        seconds[f"loop, {threads} thread{'s' * (threads > 1)}"] = plain_loop(inputs, jobs, threads=threads)
    return seconds


def main() -> None:
    """Prints the ratios search / faster loop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--store", type=Path, help="with a dense network in it: one pair, no warm-up")
    parser.add_argument("--json", type=Path, default=None)
    chosen = parser.parse_args()
    found: list[dict[str, float]] = []
    if chosen.store is not None:
        found.append(pair(chosen.store, chosen.trials))
    for _ in range(0 if chosen.store is not None else chosen.pairs):
        with tempfile.TemporaryDirectory(prefix="sweep-overhead-") as folder:
            found.append(pair(Path(folder), chosen.trials))
    ratios = [f["search"] / min(f["loop, 1 thread"], f["loop, 2 threads"]) for f in found]
    table = Table("what", "seconds, median")
    for name in found[0]:
        table.add_row(name, f"{np.median([f[name] for f in found]):.1f}")
    table.add_row(
        "ratio search / faster loop", f"{np.median(ratios):.2f} ({min(ratios):.2f} … {max(ratios):.2f})"
    )
    Console().print(table)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({"ratios": ratios, "seconds": found}))


if __name__ == "__main__":
    main()
