"""Methods side by side: the same tasks, targets, epochs, trials and seeds; scored on test rows.

    python -m tests.benchmarks.comparison --task SST-2/task.toml --model FOLDER --store DIR \\
        [--methods snip layerdrop chance …] [--targets 0.33 0.49 0.65] [--sparsities 0.5 0.8 0.9] \\
        [--seeds 3] [--first-seed 0] [--epochs 4] [--concurrent K] [--table] [--json FILE]

Every method has its packaged defaults, fixed, and one trial per target compression: nothing is chosen on any row,
so the test rows say what the settings are worth. `--methods` takes settings and distillation, too: snip+kd,level=block.
It goes on where it was interrupted; `--table` prints what is there. Its studies lie in DIR for compare and report.

Targets lie just under 1/3, 1/2 and 2/3: norms stay when blocks go, so that half of all blocks are 49.96 %. Those of
methods on single weights are sparsities. SMP can be compared once its pruner lies in DIR (prunefront fit-pruner).
"""

from __future__ import annotations

import argparse
import re
import tomllib
from pathlib import Path

from pipeline.driver.search.request import Search
from pipeline.driver.search.sweep import run_sweep
from pipeline.driver.search.watcher import Watcher
from pipeline.fronts.front import Front
from pipeline.study.space import known_methods
from pipeline.study.store import Store
from tests.benchmarks.comparison.plan import Entry, Planned, entry, planned, space_toml
from tests.benchmarks.comparison.scoring import read_score, score_study, scored_names
from tests.benchmarks.comparison.table import print_table, write_json


def study_name(item: Planned) -> str:
    """task-label-targets-seed, in a folder's characters."""
    beginning, end = _ends(item)
    return beginning + "-".join(f"{100 * target:.0f}" for target in item.targets) + end


def _ends(item: Planned) -> tuple[str, str]:
    """What comes before and after the targets in a study's name."""
    task = tomllib.loads(Path(item.task).read_text())["name"]
    label = re.sub(r"[^A-Za-z0-9._-]+", "-", item.entry.label)
    return f"{task}-{label}-at-", f"-seed{item.seed}"


class Said(Watcher):
    """Prints which study begins."""

    def stage(self, what: str) -> None:
        if what.startswith("study "):
            print(what, flush=True)


def request(item: Planned, *, model: str, store: Path, epochs: int, concurrent: int | None) -> Search:
    """The search of a study; its space is written beside the scores."""
    name = study_name(item)
    spaces = store / "comparison"
    spaces.mkdir(parents=True, exist_ok=True)
    space = spaces / f"{name}.toml"
    space.write_text(space_toml(item.entry, item.targets, epochs))
    return Search(
        task=item.task,
        model=model,
        method=item.entry.method,
        distill=item.entry.distill,
        space=space,
        trials=len(item.targets),
        seed=item.seed,
        name=name,
        store=store,
        scheduler="none",
        keep_weights="all",  # until they have been scored
        latency_grid="none",
        concurrent=concurrent,
    )


def scored(done: Search, front: Front) -> None:
    """Scores a study that has ended; then its weights may go."""
    name, store = front.spec.name, Path(done.store)
    score_study(store, name)
    Store(store).study(name).weights.keep_only(front.points)


def main() -> None:
    """Runs what is missing, then prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", action="append", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument(
        "--methods",
        nargs="+",
        default=[
            name for name in known_methods() if name != "smp"
        ],  # smp: after prunefront fit-pruner --store DIR
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--targets", nargs="+", type=float, default=[0.33, 0.49, 0.65])
    parser.add_argument("--sparsities", nargs="+", type=float, default=[0.5, 0.8, 0.9])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--concurrent", type=int, default=None, help="trials at once")
    parser.add_argument("--table", action="store_true", help="print what is there, of whatever targets")
    parser.add_argument("--json", type=Path, default=None)
    chosen = parser.parse_args()
    entries: list[Entry] = [entry(text) for text in chosen.methods]
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    todo = list(planned(entries, chosen.task, seeds, tuple(chosen.targets), tuple(chosen.sparsities)))
    if not chosen.table:
        shared = {"model": chosen.model, "store": chosen.store, "epochs": chosen.epochs}
        missing = [item for item in todo if read_score(chosen.store, study_name(item)) is None]
        searches = [request(item, **shared, concurrent=chosen.concurrent) for item in missing]
        if searches:
            run_sweep(searches, Said(), ended=scored)
    rows = print_table(chosen.store, [(item, scored_names(chosen.store, *_ends(item))) for item in todo])
    if chosen.json is not None:
        write_json(chosen.json, rows)


if __name__ == "__main__":
    main()
