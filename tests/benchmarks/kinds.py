"""A front of each kind of task on real rows, by one trial with SNIP's default settings, without Ray.

    python -m tests.benchmarks.kinds --model FOLDER --data DIR [--kinds NAME ...] [--seed 0] [--json FILE]

DIR has a folder per data set (see `TRIED`). The rows are cut to few, and epochs are few, so that a kind takes
minutes on one thread: this shows that a kind works on real rows, not how good it can be. Printed are the best constant
prediction, the network as tuned and not cut, and the best network that is cut at least as far as each of `CUTS`, on
validation rows; an `r` marks those that were trained after their cut, an `=` those that are the same as the one on
their left.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from pipeline.model.resolve import resolve_model
from pipeline.study.provenance import provenance
from pipeline.study.records import Ask, TrialRecord
from pipeline.study.space import load_space
from pipeline.task.kinds import Kind
from pipeline.task.loading import Task, load_task, train_texts
from pipeline.trial.inputs import TrialJob, head_of, inputs_of
from pipeline.trial.trial import run_trial

METHOD = "snip"
CUTS = (0.33, 0.5, 0.67, 0.8, 0.9)  # compression of the encoder
# name -> kind, folder, tokens of a row
TRIED = {
    "multi-label": ("multi-label", "GoEmotions", 64),
    "tokens": ("tokens", "WNUT17", 64),
    "ranking": ("ranking", "XQuAD-rank", 96),
    "question-answering": ("question-answering", "XQuAD-en", 160),
    "embedding": ("embedding", "GoEmotions", 64),
}


@dataclass(frozen=True)
class Cut:
    """The best network of at least a compression; `metrics` begin with the task's own."""

    least: float
    compression: float
    recovered: bool
    metrics: dict[str, float]


@dataclass(frozen=True)
class Shown:
    """What one trial of a kind found, on validation rows."""

    kind: str
    data: str
    metric: str
    train_rows: int
    validation_rows: int
    units: int  # that the metric counts
    constant: float
    dense: dict[str, float]  # tuned with the penalty, not cut
    cuts: list[Cut]
    tune_epochs: float
    recover_epochs: float
    learning_rate: float
    batch_size: int
    minutes: float
    load: float  # of the machine, when it ended: processes that run or wait


def cut_rows(rows: pa.Table, kind: Kind, *, most: int, seed: int) -> pa.Table:
    """Return at most so many rows: wholes (queries, contexts) drawn at random, in the order of the table."""
    keys = np.array(kind.keys(rows), dtype=object)
    names, whole, counts = np.unique(keys.astype(str), return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    kept = order[np.cumsum(counts[order]) <= most]
    return rows.filter(pa.array(np.isin(whole, kept))).combine_chunks()


def few(task: Task, *, train: int, validation: int, seed: int) -> Task:
    """Return the task with fewer rows; its kind, and so its classes, stay those of all rows."""
    return replace(
        task,
        train=cut_rows(task.train, task.kind, most=train, seed=seed),
        validation=cut_rows(task.validation, task.kind, most=validation, seed=seed),
    )


def best_cuts(record: TrialRecord) -> list[Cut]:
    """Return the best network at or beyond each of CUTS; fewer if nothing is cut so far."""
    found = []
    for least in CUTS:
        beyond = [point for point in record.points if point.measurement.compression >= least]
        if beyond:
            best = max(beyond, key=lambda point: point.measurement.metric)
            measured = best.measurement
            found.append(Cut(least, measured.compression, best.kind == "recovered", dict(measured.metrics)))
    return found


def show(name: str, chosen: argparse.Namespace) -> Shown:
    """Runs one trial of a kind.

    Raises:
        RuntimeError: the trial failed.
    """
    started = time.monotonic()
    kind, folder, length = TRIED[name]
    with tempfile.TemporaryDirectory() as cache:
        task = load_task(str(chosen.data / folder), cache=Path(cache), kind=kind, max_length=length)
    task = few(task, train=chosen.train_rows, validation=chosen.validation_rows, seed=chosen.seed)
    source = resolve_model(str(chosen.model), head=head_of(task.kind), train_texts=train_texts(task))
    inputs = inputs_of(task, source, method=METHOD, precision="auto")
    settings = load_space(METHOD, file=None, pretrained=True).defaults() | {
        "tune_epochs": chosen.tune_epochs,
        "recover_epochs": chosen.recover_epochs,
        "learning_rate": chosen.learning_rate,
        "batch_size": chosen.batch_size,
    }
    record = run_trial(
        inputs,
        TrialJob(Ask(0, settings, chosen.seed), checkpoint_s=math.inf, keep_weights=False),
        lambda _: None,
    )
    if record.state != "complete":
        raise RuntimeError(f"The trial of {name} failed: {record.reason}")
    validation = inputs.data.validation
    return Shown(
        kind=name,
        data=folder,
        metric=task.metric,
        train_rows=task.train.num_rows,
        validation_rows=task.validation.num_rows,
        units=len(inputs.kind.ids(validation)),
        constant=inputs.kind.constant(validation),
        dense=dict(record.points[0].measurement.metrics),
        cuts=best_cuts(record),
        tune_epochs=chosen.tune_epochs,
        recover_epochs=chosen.recover_epochs,
        learning_rate=chosen.learning_rate,
        batch_size=chosen.batch_size,
        minutes=(time.monotonic() - started) / 60,
        load=os.getloadavg()[1],
    )


def line(shown: Shown) -> str:
    """Return a kind's line of the table."""
    cells, before = [], None
    for cut in shown.cuts:
        same = before is not None and cut.compression == before.compression
        text = (
            "="
            if same
            else f"{cut.metrics['metric']:.3f}{'r' if cut.recovered else ''} ({cut.compression:.0%})"
        )
        cells.append(f"{text:>13}")
        before = cut
    rows = f"{shown.train_rows}/{shown.validation_rows}"
    start = f"{shown.kind:18} {shown.data:10} {shown.metric:10} {rows:>9} {shown.constant:8.3f}"
    return f"{start} {shown.dense['metric']:6.3f} {' '.join(cells)} {shown.minutes:7.1f} {shown.load:4.0f}"


def header() -> str:
    """Return the table's first line."""
    cuts = " ".join(f"{f'≥ {least:.0%}':>13}" for least in CUTS)
    start = f"{'kind':18} {'data':10} {'metric':10} {'rows':>9} {'constant':>8} {'dense':>6}"
    return f"{start} {cuts} {'minutes':>7} load"


def main() -> None:
    """Runs a trial of each kind; prints its line, and writes it, when it has ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--model", type=Path, required=True, help="a folder: a BERT or the like, with its tokenizer"
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets' folders")
    parser.add_argument("--kinds", nargs="+", choices=TRIED, default=list(TRIED))
    parser.add_argument("--train-rows", type=int, default=2000)
    parser.add_argument("--validation-rows", type=int, default=500)
    parser.add_argument("--tune-epochs", type=float, default=2.0)
    parser.add_argument(
        "--recover-epochs", type=float, default=1.0, help="shared by the networks of a ladder"
    )
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0, help="of the trial, and of the rows that are kept")
    parser.add_argument("--json", type=Path, help="write what was found there")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(header(), flush=True)
    found = []
    for name in chosen.kinds:
        found.append(show(name, chosen))
        print(line(found[-1]), flush=True)
        if chosen.json is not None:
            told = {
                "seed": chosen.seed,
                "kinds": [asdict(each) for each in found],
                "provenance": provenance(),
            }
            chosen.json.write_text(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
