"""Each kind of task on real rows: constant, dense, front, test rows, and the exported network run by transformers.

    python -m tests.benchmarks.kinds --model FOLDER --data DIR [--kinds NAME ...] [--seed 0] [--json FILE] [--to DIR]

Of each kind (`TRIED`): plain fine-tuning at one learning rate, one trial of SNIP on a ladder, and an export of its
best network that is cut by half or more, which is measured on test rows and loaded by the library. Rows are cut to
few, and epochs are few, so that a kind takes minutes on one thread, without Ray: this shows that a kind works on real
rows, not how good it can be. DIR has a folder per data set; built-in tasks and models need none. `r` marks networks
that were trained after their cut, `=` those that are the same as the one on their left.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline.export.export import export
from pipeline.model.heads import HEADS
from pipeline.model.resolve import resolve_model
from pipeline.study.provenance import provenance
from pipeline.study.records import TrialRecord
from pipeline.study.space import load_space
from pipeline.task.kinds import KINDS
from pipeline.task.loading import load_task, train_texts
from pipeline.trial.anchors import AS_IT_CAME, DenseRecipe, train_dense
from pipeline.trial.inputs import head_of, inputs_of
from tests.kit.onetrial import NAME, make_study
from tests.kit.pipelines import USES

METHOD = "snip"
CUTS = (0.33, 0.5, 0.67, 0.8, 0.9)  # compression of the encoder
EXPORTED = 0.5  # least compression of the network that is exported


@dataclass(frozen=True)
class Tried:
    """What a kind is tried on: a folder of --data, or a built-in task; lines of a task file; how long it is trained."""

    data: str
    lines: str = ""
    whole: str = ""  # the column whose equal rows stay together
    model: str | None = None  # built-in, instead of --model
    rows: tuple[int, int] = (0, 0)  # of train (validation is carved out of it) and test
    epochs: tuple[float, float] = (3.0, 1.0)  # before the cut, and shared by the ladder's networks
    learning_rate: float = 2e-4
    batch_size: int = 16
    ladder_steps: int = 3


TRIED = {
    "tokens": Tried("WNUT17", 'text = ["tokens"]\nlabel = "tags"\nmax_length = 48', rows=(1000, 300), ladder_steps=6),
    "ranking": Tried(
        "XQuAD-rank", 'text = ["query", "passage"]\nlabel = "relevance"\nmax_length = 64', "query", rows=(800, 300)
    ),
    "embedding": Tried(
        "MRPC", 'text = ["sentence1", "sentence2"]\nlabel = "label"\nmetric = "spearman"\nmax_length = 48',
        rows=(400, 200),
    ),
    "question-answering": Tried(
        "XQuAD-en", 'text = ["question", "context"]\nlabel = "answers"\nmax_length = 192', "context",
        rows=(400, 100), batch_size=8,
    ),
    "multi-label": Tried(
        "GoEmotions", 'text = ["text"]\nlabel = "labels"\nthreshold = "fitted"\nmax_length = 32',
        rows=(2500, 300), epochs=(5.0, 1.0), learning_rate=3e-4,
    ),
    "images": Tried(
        "builtin/digits", model="builtin/tiny-vit", epochs=(12.0, 6.0), learning_rate=2e-3,
        batch_size=32, ladder_steps=6,
    ),
    "language-model": Tried(
        "builtin/docstrings-language-model", model="builtin/tiny-gpt2", epochs=(8.0, 4.0), learning_rate=2e-3,
        batch_size=32, ladder_steps=6,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """The best network of at least a compression; `metrics` begin with the task's own."""

    least: float
    compression: float
    recovered: bool
    metrics: dict[str, float]


@dataclass(frozen=True)
class Shown:
    """What was found of a kind, on validation rows; `test` is the exported network's."""

    kind: str
    data: str
    metric: str
    train_rows: int
    validation_rows: int
    units: int  # that the metric counts
    constant: float
    dense: float  # fine-tuned plainly
    uncut: dict[str, float]  # the trial's network before its cut
    cuts: list[Cut]
    test: dict[str, float]
    loaded: str  # what ran the exported network, and what it said
    tried: Tried
    minutes: float  # of which: the plain fine-tuning, the trial, the export
    parts_s: tuple[float, float, float]
    load: float  # of the machine, when it ended: processes that run or wait


def cut_lines(lines: list[str], keys: list[str], *, most: int, seed: int) -> list[str]:
    """Return at most so many lines: those of keys drawn at random, all that a key has, in the order of the file."""
    of_key: dict[str, list[int]] = defaultdict(list)
    for line, key in enumerate(keys):
        of_key[key].append(line)
    kept: list[int] = []
    names = list(of_key)
    for place in np.random.default_rng(seed).permutation(len(names)):
        if len(kept) + len(of_key[names[place]]) <= most:
            kept += of_key[names[place]]
    return [lines[line] for line in sorted(kept)]


def write_task(kind: str, tried: Tried, data: Path, folder: Path, *, seed: int) -> str:
    """Write a task with few rows of a data set into a folder; return the task's name or file."""
    if tried.data.startswith("builtin/"):
        return tried.data
    for part, most in zip(("train", "test"), tried.rows, strict=True):
        file = next(each for each in (data / tried.data).iterdir() if each.stem == part)
        lines = file.read_text().splitlines()
        head, rows = (lines[:1], lines[1:]) if file.suffix == ".tsv" else ([], lines)
        keys = (
            [json.loads(row)[tried.whole] for row in rows]
            if tried.whole
            else list(map(str, range(len(rows))))
        )
        kept = cut_lines(rows, keys, most=most, seed=seed)
        (folder / f"{part}{file.suffix}").write_text("\n".join([*head, *kept]) + "\n")
    task = folder / "task.toml"
    task.write_text(
        f'name = "{kind}"\nkind = "{kind}"\n{tried.lines}\n[files]\n'
        f'train = "train{file.suffix}"\ntest = "test{file.suffix}"\n'
    )
    return str(task)


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


def show(kind: str, chosen: argparse.Namespace, folder: Path) -> Shown:
    """Train, cut, export and load a network of a kind.

    Raises:
        RuntimeError: the trial failed.
    """
    tried, clock = TRIED[kind], [time.monotonic()]
    name, model = (
        write_task(kind, tried, chosen.data, folder, seed=chosen.seed),
        tried.model or str(chosen.model),
    )
    task = load_task(name, cache=folder)
    source = resolve_model(model, head=head_of(task.kind), train_texts=train_texts(task))
    inputs = inputs_of(task, source, method=METHOD, precision="auto")
    space = load_space(METHOD, file=None, pretrained=source.pretrained).defaults()
    validation = inputs.data.validation
    plainly = DenseRecipe((tried.learning_rate,), sum(tried.epochs), tried.batch_size, 0.1, 0.01)
    recipe = AS_IT_CAME if inputs.kind.unlabelled else plainly
    dense = train_dense(inputs, recipe.learning_rates[0], recipe=recipe)
    if dense is None:
        raise RuntimeError(f"Plain fine-tuning of {kind} diverged.")
    clock.append(time.monotonic())
    settings = space | {
        "tune_epochs": tried.epochs[0],
        "recover_epochs": tried.epochs[1],
        "learning_rate": tried.learning_rate,
        "batch_size": tried.batch_size,
        "ladder_steps": tried.ladder_steps,
    }
    made = make_study(
        folder / "study",
        settings,
        method=METHOD,
        task_name=name,
        model=model,
        precision="auto",
        seed=chosen.seed,
    )
    if made.record.state != "complete":
        raise RuntimeError(f"The trial of {kind} failed: {made.record.reason}")
    clock.append(time.monotonic())
    to = (chosen.to or folder) / kind
    done = export(NAME, to=to, store=made.store.root, min_compression=EXPORTED)
    said = USES[HEADS[KINDS[kind].network].pipeline](to)
    clock.append(time.monotonic())
    return Shown(
        kind=kind,
        data=tried.data,
        metric=task.metric,
        train_rows=task.train.num_rows,
        validation_rows=task.validation.num_rows,
        units=len(inputs.kind.ids(validation)),
        constant=inputs.kind.constant(validation),
        dense=dense.metric,
        uncut=dict(made.record.points[0].measurement.metrics),
        cuts=best_cuts(made.record),
        test=dict(done.facts.scores.parts["test"]),
        loaded=said,
        tried=tried,
        minutes=(clock[-1] - clock[0]) / 60,
        parts_s=(clock[1] - clock[0], clock[2] - clock[1], clock[3] - clock[2]),
        load=os.getloadavg()[1],
    )


def line(shown: Shown) -> str:
    """Return a kind's line of the table."""
    cells, before = [], None
    for cut in shown.cuts:
        same = before is not None and cut.compression == before.compression
        found = f"{cut.metrics['metric']:.3f}{'r' if cut.recovered else ''} ({cut.compression:.0%})"
        cells.append(f"{'=' if same else found:>13}")
        before = cut
    rows = f"{shown.train_rows}/{shown.validation_rows}"
    start = f"{shown.kind:18} {shown.metric:14} {rows:>9} {shown.constant:8.3f} {shown.dense:6.3f}"
    end = f"{shown.test['metric']:6.3f} {shown.minutes:7.1f} {shown.load:4.0f}\n    {shown.loaded}"
    return f"{start} {shown.uncut['metric']:6.3f} {' '.join(cells)} {end}"


def header() -> str:
    """Return the table's first line."""
    cuts = " ".join(f"{f'≥ {least:.0%}':>13}" for least in CUTS)
    start = f"{'kind':18} {'metric':14} {'rows':>9} {'constant':>8} {'dense':>6}"
    return f"{start} {'uncut':>6} {cuts} {'test':>6} {'minutes':>7} load"


def main() -> None:
    """Try each kind; print its line, and write what was found, when it has ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--model", type=Path, required=True, help="a folder: a BERT or the like, with its tokenizer"
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets' folders")
    parser.add_argument("--kinds", nargs="+", choices=TRIED, default=list(TRIED))
    parser.add_argument("--seed", type=int, default=0, help="of the trial, and of the rows that are kept")
    parser.add_argument("--to", type=Path, help="keep the exported networks there")
    parser.add_argument("--json", type=Path, help="write what was found there")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(header(), flush=True)
    found = []
    for kind in chosen.kinds:
        with tempfile.TemporaryDirectory() as folder:
            found.append(show(kind, chosen, Path(folder)))
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
