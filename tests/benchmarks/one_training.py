"""The front that one trial gives: real trials, their epochs and seconds, chosen on some rows and scored on others.

    python -m tests.benchmarks.one_training --task SST-2/task.toml --validation SST-2/train_full.tsv --model FOLDER \\
        --store DIR [--methods obs snip] [--seeds 5] [--set recover=ladder] [--precision auto]

The rows are those of the search economy's table (tests/benchmarks/tabulated.py): a front is chosen on the 512 that a
search may see and scored on 688 others. Every trial is kept in DIR as it ends; the same command goes on with those
that are missing, and prints the table of all, and what fronts of several of these trials together come to.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from pipeline.model.heads import Head
from pipeline.model.resolve import resolve_model
from pipeline.study.metrics import evaluate
from pipeline.study.pareto import front, hypervolume
from pipeline.study.records import Ask, Params, ParamValue, TrialRecord
from pipeline.study.space import load_space
from pipeline.task.loading import load_task
from pipeline.trial.inputs import TrialInputs, inputs_of
from pipeline.trial.job import TrialJob
from pipeline.trial.rungs import rung_rows
from pipeline.trial.trial import run_trial
from tests.benchmarks.tabulated import make_task

SHARES = (0.33, 0.5, 0.65, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Found:
    """One trial: the volume of its front on rows that did not choose it, and its networks near SHARES there."""

    label: str
    seed: int
    epochs: float
    seconds: float
    seen: float  # hypervolume above the constant prediction
    unseen: float
    dense: float  # metric of the network as it was tuned, unseen rows
    metrics: dict[
        str, float
    ]  # by share: the best network with at least that compression, chosen on the seen rows
    front: list[list[float]]  # compression, metric on seen and on unseen rows of each of its networks
    constant: float = 0.5  # the best constant prediction's metric


def score(record: TrialRecord, labels: np.ndarray, *, label: str, seconds: float) -> Found:
    """Choose the trial's front on the rows that rungs see, and score it on the others."""
    seen = np.zeros(len(labels), dtype=bool)
    seen[rung_rows(len(labels))] = True
    shares = np.array([point.measurement.compression for point in record.points])
    chosen_by, scored_by = (
        np.array([evaluate("accuracy", labels[rows], p.predictions[rows])["metric"] for p in record.points])
        for rows in (seen, ~seen)
    )
    kept = front(np.stack([chosen_by, shares], axis=1))
    metrics = {}
    for share in SHARES:
        possible = [at for at in kept if shares[at] >= share]
        if possible:
            metrics[f"{share:g}"] = float(scored_by[max(possible, key=lambda at: chosen_by[at])])
    reference = (np.bincount(labels).max() / len(labels), 0.0)  # the best constant prediction
    return Found(
        label,
        record.seed,
        record.epochs,
        seconds,
        hypervolume(np.stack([chosen_by, shares], axis=1)[kept], reference),
        hypervolume(np.stack([scored_by, shares], axis=1)[kept], reference),
        float(scored_by[0]),
        metrics,
        [[float(shares[at]), float(chosen_by[at]), float(scored_by[at])] for at in kept],
        reference[0],
    )


def run(inputs: TrialInputs, params: Params, *, seed: int, label: str) -> Found:
    """Train one trial."""
    began = time.monotonic()
    job = TrialJob(Ask(0, params, seed), keep_weights=False, checkpoint_s=1e9)
    record = run_trial(inputs, job, lambda _: None)
    return score(record, inputs.data.validation.labels, label=label, seconds=time.monotonic() - began)


def main() -> None:
    """Trains what is missing and prints mean and standard deviation over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", default=["obs", "snip"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no trial after these")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.store.mkdir(parents=True, exist_ok=True)
    task_file = chosen.store / "task.toml"
    if not task_file.exists():
        make_task(chosen.task, chosen.validation, chosen.store)
    task = load_task(str(task_file), cache=chosen.store / "cache")
    source = resolve_model(chosen.model, head=Head(task.class_names), train_texts=[])
    own = dict(map(_setting, chosen.set))
    began = time.monotonic()
    for seed in range(chosen.first_seed, chosen.first_seed + chosen.seeds):
        for method in chosen.methods:
            label = "+".join([method, *chosen.set])
            file = chosen.store / f"{label}-seed{seed}.json"
            if file.exists() or time.monotonic() - began > 60 * chosen.minutes:
                continue
            params = load_space(method, file=None, pretrained=True).defaults() | own
            inputs = inputs_of(task, source, method=method, precision=chosen.precision)
            file.write_text(json.dumps(asdict(run(inputs, params, seed=seed, label=label))))
    report([Found(**json.loads(file.read_text())) for file in sorted(chosen.store.glob("*-seed*.json"))])


def report(found: list[Found]) -> None:
    """Print one line a way."""
    for label in dict.fromkeys(one.label for one in found):
        own = [one for one in found if one.label == label]
        print(
            f"{label}: {len(own)} seeds, {own[0].epochs:g} epochs, {_spread([o.seconds for o in own], 0)} s"
        )
        print(f"  tuned network: {_spread([o.dense for o in own], 3)}")
        print(f"  hypervolume, unseen rows: {_spread([o.unseen for o in own])}")
        for share in SHARES:
            values = [one.metrics[f"{share:g}"] for one in own if f"{share:g}" in one.metrics]
            if values:
                print(f"  at {share:.0%} or more: {_spread(values, 3)}")
        for count in range(2, len(own) + 1):
            volumes = [union_volume(some) for some in combinations(own, count)]
            epochs = count * own[0].epochs
            print(
                f"  fronts of {count} seeds together, {epochs:g} epochs: {_spread(volumes)} ({len(volumes)} choices)"
            )


def union_volume(found: Sequence[Found]) -> float:
    """The hypervolume on unseen rows of the front that several trials give together, chosen on the seen rows."""
    rows = np.array([row for one in found for row in one.front])  # compression, seen, unseen
    kept = front(rows[:, [1, 0]])
    return hypervolume(rows[kept][:, [2, 0]], (found[0].constant, 0.0))


def _setting(text: str) -> tuple[str, ParamValue]:
    key, value = text.split("=")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def _spread(values: list[float], digits: int = 4) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"


if __name__ == "__main__":
    main()
