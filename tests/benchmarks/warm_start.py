"""Trials that a warm start saves on a task that the earlier studies have not seen; synthetic tasks, no training.

    python -m tests.benchmarks.warm_start [--seeds 20] [--earlier 4] [--spread 0.3 0.6] [--json FILE]

Tasks are a family of surrogate.py's: their best learning rates and penalties are normal draws around common ones,
`--spread` decades wide. Per seed, `--earlier` tasks are searched cold; the real portfolio reads their fronts from a
real store; then a held-out task is searched cold and warm with the same seed. What is compared is the number of trials
until the true hypervolume of the chosen front reaches a part of what the cold search has at its end. A search that
never does counts as one trial more than it had.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table

from pipeline.driver.warm_start import AUTO, StudyKind, warm_starts
from pipeline.study.space import Space
from pipeline.study.store import Store
from tests.benchmarks.searching import Outcome, Searched, Stops, Way, fixed_space
from tests.benchmarks.surrogate import Synthetic, Task

OURS = Way("ours", "tpe", taught=True, stops=Stops())
EPOCHS = 130.0  # some 32 trials
PARTS = (0.8, 0.9, 0.95, 1.0)  # of what the cold search has at its end


@dataclass(frozen=True)
class Pair:
    """One held-out task, searched cold and warm."""

    cold: Outcome
    warm: Outcome

    def trials(self, part: float) -> tuple[int, int]:
        """Trials until a part of the cold search's last hypervolume: cold, warm."""
        goal = part * self.cold.history[-1][1]
        return _until(self.cold, goal), _until(self.warm, goal)


def _until(outcome: Outcome, goal: float) -> int:
    reached = (number for number, (_, volume) in enumerate(outcome.history, 1) if volume >= goal)
    return next(reached, len(outcome.history) + 1)


def pairs(space: Space, *, seeds: int, earlier: int, spread: float) -> Iterator[Pair]:
    """One pair a seed."""
    for seed in range(seeds):
        generator = np.random.default_rng([seed, 3])
        tasks = [Task.near(generator, spread) for _ in range(earlier + 1)]
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder))
            for place, task in enumerate(tasks[:-1]):
                _keep(store, f"earlier-{place}", _search(space, task, seed=1000 * (place + 1) + seed))
            starts = warm_starts(store, AUTO, kind=StudyKind("snip", "none", "compression"), space=space)
        cold = _search(space, tasks[-1], seed=seed)
        warm = _search(space, tasks[-1], seed=seed, starts=json.dumps(starts))
        yield Pair(cold.outcome, warm.outcome)


def _search(space: Space, task: Task, *, seed: int, starts: str = "") -> Searched:
    searched = Searched(OURS, space, Synthetic(seed, task), seed=seed, starts=starts)
    searched.run(epochs=EPOCHS)
    return searched


def _keep(store: Store, name: str, searched: Searched) -> None:
    store.write_spec(replace(searched.spec, name=name, task=name))
    for record in searched.records:
        store.study(name).write_record(record)


def main() -> None:
    """Prints a table for each spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--earlier", type=int, default=4, help="studies that there are")
    parser.add_argument(
        "--spread", type=float, nargs="+", default=[0.3, 0.6, 1.2], help="decades between tasks"
    )
    parser.add_argument("--json", type=Path, default=None)
    chosen = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space, kept = fixed_space(), {}
    for spread in chosen.spread:
        found = list(pairs(space, seeds=chosen.seeds, earlier=chosen.earlier, spread=spread))
        kept[spread] = [[vars(pair.cold), vars(pair.warm)] for pair in found]
        table = Table(
            "of the cold search's last hypervolume", "trials, cold", "warm", "saved, mean ± sd", "saved in", "lost in",
            title=f"tasks {spread:g} decades apart, {chosen.earlier} earlier studies, {chosen.seeds} seeds; synthetic",
        )  # fmt: skip
        for part in PARTS:
            trials = np.array([pair.trials(part) for pair in found])
            saved = trials[:, 0] - trials[:, 1]
            counts = [f"{np.mean(column):.1f}" for column in trials.T]
            spread_ = f"{np.mean(saved):+.1f} ± {np.std(saved, ddof=1):.1f}"
            table.add_row(
                f"{part:.0%}", *counts, spread_, f"{np.mean(saved > 0):.0%}", f"{np.mean(saved < 0):.0%}"
            )
        ends = np.array([[pair.cold.history[-1][1], pair.warm.history[-1][1]] for pair in found])
        Console(width=130).print(table)
        gap = ends[:, 1] - ends[:, 0]
        print(
            f"hypervolume at the end: cold {ends[:, 0].mean():.4f}, warm {ends[:, 1].mean():.4f}, "
            f"difference {gap.mean():+.4f} ± {gap.std(ddof=1):.4f}",
            flush=True,
        )
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(kept))


if __name__ == "__main__":
    main()
