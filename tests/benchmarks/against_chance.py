"""SNIP against a random ranking of the same kind of units: short trials on the built-in task, three seeds.

    python -m tests.benchmarks.against_chance [--seeds 3] [--trials 8] [--store DIR] [--json FILE]

The front is chosen on one half of validation and scored on the other, both ways round: a front of many noisy
points wins by luck on the rows that chose it. Hypervolumes are divided by dense - constant.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.driver.search.api import search
from pipeline.fronts.split_half import HalfScore, half_scores
from pipeline.study.store import Store
from tests.kit.toy import SHORT_CUT

SHORT = (
    SHORT_CUT
    + """
[tune_epochs]
value = 1
[recover_epochs]
value = 0
[rounds]
value = 1
[level]
value = "head"
"""
)


def score(method: str, *, seed: int, trials: int, folder: Path) -> HalfScore:
    """One study: searched, and its front scored on the half that did not choose it."""
    space = folder / "short.toml"
    space.write_text(SHORT)
    name = f"{method}-seed{seed}"
    search(method=method, seed=seed, trials=trials, space=space, store=folder, name=name)
    store = Store(folder)
    records = [store.study(name).read_record(number) for number in store.study(name).finished_numbers()]
    return half_scores(
        store.study(name).read_spec(), records, store.study(name).read_validation()[1], seed=seed
    )


def main() -> None:
    """Runs the studies and prints mean and standard deviation over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--store", type=Path, default=None)
    parser.add_argument("--json", type=Path, default=None)
    chosen = parser.parse_args()
    folder = chosen.store or Path(tempfile.mkdtemp(prefix="against-chance-"))
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        method: [score(method, seed=s, trials=chosen.trials, folder=folder) for s in range(chosen.seeds)]
        for method in ("snip", "chance")
    }
    table = Table("method", "chosen on a half", "scored on the other", "by seed")
    for method, scores in found.items():
        on, off = (np.array([getattr(s, side) for s in scores]) for side in ("chosen_on", "scored_on"))
        table.add_row(
            method,
            f"{on.mean():.3f} ± {on.std(ddof=1):.3f}",
            f"{off.mean():.3f} ± {off.std(ddof=1):.3f}",
            "  ".join(f"{value:.3f}" for value in off),
        )
    Console().print(table)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({m: [vars(s) for s in scores] for m, scores in found.items()}))


if __name__ == "__main__":
    main()
