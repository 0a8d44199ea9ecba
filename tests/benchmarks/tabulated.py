"""Real trials in a table, for comparing searches without training: made once, read in seconds.

    python -m tests.benchmarks.tabulated run --task SST-2/task.toml --validation SST-2/train_full.tsv --model FOLDER \\
        --store DIR [--trials 100] [--concurrent K]
    python -m tests.benchmarks.tabulated write --store DIR --to FILE

`run` trains SNIP's trials at random settings of SPACE with the real search, looks at every rung and stops nobody; it
goes on where it was interrupted. Their validation rows are 512 that rungs are measured on, which a search may see, and
688 that only scores are taken on; all come from --validation and are not in the task's own files.

A search that draws settings is given the nearest trial of the table that it has not had yet, distance in the space's
own units. That is coarse where a sampler has found a good place: gaps between samplers are smaller here than in life.
"""

from __future__ import annotations

import argparse
import json
import math
import tomllib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from optuna.distributions import CategoricalDistribution, FloatDistribution

from pipeline.cli.progress import watch
from pipeline.driver.search import run as search_run
from pipeline.driver.search.request import Search
from pipeline.study.halving import RUNGS, Halving
from pipeline.study.metrics import evaluate
from pipeline.study.provenance import provenance
from pipeline.study.records import FloatArray, Masks, Measurement, Params, Point, Rung, TrialRecord
from pipeline.study.space import Space, parse_space
from pipeline.study.store import Store
from pipeline.trial.rungs import RUNG_ROWS, rung_rows
from tests.kit.toy import SHORT_CUT

FIXED = """
[rounds]
value = 1
[spectral_bound]
value = "off"
[norm]
value = "rms"
[reference]
value = "none"
[unit_weight]
value = "parameters"
[ffn_weight]
value = 1.0
"""
SPACE = (
    SHORT_CUT
    + FIXED
    + """
[shape]
value = "log"
[delta]
value = 0.02
[tune_epochs]
low = 1
high = 3
default = 2
[recover_epochs]
low = 0
high = 2
default = 2
"""
)
STUDY = "table"
VALIDATION_ROWS = 1200
_NOTHING = (Masks.full(1, 1, 1), np.zeros(1, np.int16))


@dataclass(frozen=True)
class TrialTable:
    """Trials that were run, all of one study."""

    about: str
    space: Space
    constant: float
    rows: tuple[dict[str, Any], ...] = field(repr=False)

    @staticmethod
    def read(file: Path) -> TrialTable:
        """What `write` wrote."""
        found = json.loads(file.read_text())
        return TrialTable(
            found["about"], parse_space(found["space"]), found["constant"], tuple(found["trials"])
        )

    def fresh(self, seed: int) -> Tabulated:
        """The table as a search meets it: none of its trials taken yet. Nothing in it is left to chance."""
        return Tabulated(self)


class Tabulated:
    """A table and which of its trials a search has had."""

    def __init__(self, table: TrialTable) -> None:
        self._table, self._taken = table, dict[int, int]()
        self._places = np.array([self._place(row["params"]) for row in table.rows])

    @property
    def constant(self) -> float:
        """The metric of a constant prediction."""
        return self._table.constant

    @property
    def trials(self) -> int:
        """How many there are."""
        return len(self._table.rows)

    def epochs(self, number: int, params: Params) -> float:
        """That the trial trained which stands for these settings."""
        return float(self._row(number, params)["epochs"])

    def rung(self, number: int, params: Params, index: int, part: float) -> Rung:
        """What that trial showed after a part of its training.

        Raises:
            ValueError: it was looked at elsewhere.
        """
        row = self._row(number, params)
        if RUNGS[index] != part:
            raise ValueError(
                f"Trials of this table were looked at after {RUNGS} of their training, not {part}."
            )
        shown = row["rungs"][index]
        return Rung(index, shown["epoch"], RUNG_ROWS, tuple(shown["metric"]), tuple(shown["compression"]))

    def end_so_far(self, number: int, params: Params, part: float) -> tuple[float, float]:
        """Metric and compression after a part of its training: of the last rung before it, at the trial's own end.

        Before the first rung it is that of the first: the table has nothing earlier.
        """
        row = self._row(number, params)
        index = max((at for at, rung in enumerate(RUNGS) if rung <= part), default=0)
        shown, end = row["rungs"][index], row["points"][-1]["compression"]
        nearest = int(np.argmin(np.abs(np.array(shown["compression"]) - end)))
        return shown["metric"][nearest], shown["compression"][nearest]

    def record(self, number: int, params: Params) -> tuple[TrialRecord, FloatArray]:
        """The whole trial, and the metric of each of its points on the rows that no search sees."""
        row = self._row(number, params)
        points = tuple(_point(each) for each in row["points"])
        made = TrialRecord(number, "complete", "", params, 0, points=points, epochs=row["epochs"])
        return made, np.array([each["unseen"] for each in row["points"]])

    def _row(self, number: int, params: Params) -> dict[str, Any]:
        if number not in self._taken:
            apart = np.linalg.norm(self._places - self._place(params), axis=1)
            apart[list(self._taken.values())] = np.inf
            self._taken[number] = int(np.argmin(apart))
        return self._table.rows[self._taken[number]]

    def _place(self, params: Params) -> FloatArray:
        """Settings as a point of the unit cube; two values of a choice are as far apart as the ends of a range."""
        found: list[float] = []
        for name, kind in self._table.space.distributions().items():
            if isinstance(kind, CategoricalDistribution):
                found += [float(params.get(name) == value) / np.sqrt(2) for value in kind.choices]
                continue
            log = isinstance(kind, FloatDistribution) and kind.log
            value, low, high = (
                np.log(v) if log else float(v) for v in (float(params[name]), kind.low, kind.high)
            )
            found.append((value - low) / (high - low))
        return np.array(found)


def _point(row: dict[str, Any]) -> Point:
    measured = Measurement(row["seen"], {}, row["compression"], 0.0, 1, 1, 1, 1.0)
    threshold = -math.inf if row["threshold"] is None else row["threshold"]
    return Point(row["kind"], 0, threshold, measured, *_NOTHING)


def make_task(task: Path, more: Path, folder: Path) -> Path:
    """A task with the rows of `task` for training and testing, and VALIDATION_ROWS of `more` for validation.

    Raises:
        ValueError: the task has other than one text column, or is not tab separated.
    """
    read = partial(pd.read_csv, sep="\t", quoting=3, dtype=str, keep_default_na=False)
    told = tomllib.loads(task.read_text())
    (column,) = told["text"]
    files = {name: (task.parent / file).resolve() for name, file in told["files"].items()}
    known = set(pd.concat([read(file)[column] for file in files.values()]).str.casefold().str.strip())
    rows = read(more)
    rows = rows[~rows[column].str.casefold().str.strip().isin(known)].drop_duplicates(column)
    folder.mkdir(parents=True, exist_ok=True)
    rows.sample(VALIDATION_ROWS, random_state=0).to_csv(
        folder / "validation.tsv", sep="\t", index=False, quoting=3
    )
    files["validation"] = folder.resolve() / "validation.tsv"
    lines = [f"{key} = {json.dumps(value)}" for key, value in told.items() if key != "files"]
    lines += ["[files]", *(f"{name} = {json.dumps(str(file))}" for name, file in files.items())]
    made = folder / "task.toml"
    made.write_text("\n".join(lines) + "\n")
    return made


def run(chosen: argparse.Namespace) -> None:
    """Trains the trials that are missing."""
    folder = chosen.store / "tabulated"
    task = folder / "task.toml"
    if not task.exists():
        make_task(chosen.task, chosen.validation, folder)
    space = folder / "space.toml"
    space.write_text(SPACE)
    # every rung is looked at as if nobody had been seen there before: nobody is stopped
    search_run.Halving = partial(Halving, least_seen=2 * chosen.trials)  # type: ignore[misc, assignment]
    wanted = Search(
        task=str(task),
        model=chosen.model,
        space=space,
        trials=chosen.trials,
        name=STUDY,
        sampler="random",
        store=chosen.store,
        latency_grid="none",
        concurrent=chosen.concurrent,
    )
    with watch(quiet=False) as watcher:
        search_run.run(wanted, watcher)


def write(chosen: argparse.Namespace) -> None:
    """Writes the table of the study's finished trials."""
    store = Store(chosen.store)
    spec, (_, labels) = store.study(STUDY).read_spec(), store.study(STUDY).read_validation()
    seen = np.zeros(len(labels), dtype=bool)
    seen[rung_rows(len(labels))] = True
    ended = [store.study(STUDY).read_record(number) for number in store.study(STUDY).finished_numbers()]
    records = [record for record in ended if record.state == "complete"]
    if lost := len(ended) - len(records):
        print(f"{lost} of {len(ended)} trials did not end well and are left out.")

    trials = [row_of(record, labels, seen, spec.metric_name) for record in records]
    about = (
        f"{len(trials)} real trials of {spec.method} on {spec.task}, {'/'.join(Path(spec.model).parts[-2:])}"
    )
    chosen.to.write_text(
        json.dumps(
            {
                "about": about,
                "made": {
                    **provenance(),
                    "seed": spec.seed,
                    "seen": int(seen.sum()),
                    "unseen": int((~seen).sum()),
                },
                "constant": spec.anchors.constant,
                "dense": spec.anchors.dense,
                "space": spec.space_toml,
                "trials": trials,
            },
            indent=None,
            separators=(",", ":"),
        )
    )
    print(f"{about}: {chosen.to}, {chosen.to.stat().st_size / 1e3:.0f} kB")


def row_of(record: TrialRecord, labels: np.ndarray, seen: np.ndarray, metric_name: str) -> dict[str, Any]:
    """Return a trial as a row of a table: its own end, the recovered network nearest to its target, comes last."""

    def metric(point: Point, rows: np.ndarray) -> float:
        return round(evaluate(metric_name, labels[rows], point.predictions[rows])["metric"], 5)

    end = record.recovered
    return {
        "params": record.params,
        "epochs": record.epochs,
        "seconds": round(record.seconds, 1),
        "rungs": [
            {"epoch": rung.epoch, "metric": _short(rung.metric), "compression": _short(rung.compression)}
            for rung in record.rungs
        ],
        "points": [
            {
                "kind": point.kind,
                "threshold": point.threshold if math.isfinite(point.threshold) else None,
                "compression": round(point.measurement.compression, 5),
                "seen": metric(point, seen),
                "unseen": metric(point, ~seen),
            }
            for point in sorted(record.points, key=lambda point: point is end)
        ],
    }


def _short(values: tuple[float, ...]) -> list[float]:
    return [round(value, 5) for value in values]


def main() -> None:
    """Runs trials, or writes those that there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("run", "write"))
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--task", type=Path)
    parser.add_argument("--validation", type=Path, help="a file with more rows of the task")
    parser.add_argument("--model")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--concurrent", type=int, default=None)
    parser.add_argument("--to", type=Path)
    chosen = parser.parse_args()
    (run if chosen.what == "run" else write)(chosen)


if __name__ == "__main__":
    main()
