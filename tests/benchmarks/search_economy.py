"""Hypervolume against trained epochs, search by search, on a synthetic surrogate (surrogate.py).

    python -m tests.benchmarks.search_economy [--epochs 150] [--seeds 5] [--json FILE]

Each search draws with the real samplers, through the ledger's own mirror, and stops trials by the real halving; two
trials run at a time. A front is chosen by what the search saw (noisy) and scored by the truth. `points` says what a
trial gives to the front and to the search: its end alone, as rivals have it, or its whole curve.
"""

from __future__ import annotations

import argparse
import heapq
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table

from pipeline.halving import ETA, RUNGS, Halving
from pipeline.pareto import front, hypervolume
from pipeline.records import Params, StudySpec, TrialRecord
from pipeline.space import Space, load_space
from pipeline.study.curves import rows_of_record
from pipeline.study.ends import end_of
from pipeline.study.mirror import Mirror
from tests.benchmarks import surrogate
from tests.synthetic import ANCHORS, spec

REFERENCE = (surrogate.CONSTANT, 0.0)
AT_ONCE = 2
FIXED = """
[rounds]
value = 1
[spectral_bound]
value = "off"
"""


@dataclass(frozen=True)
class Way:
    """A way to search."""

    name: str
    sampler: str
    curve: bool = True  # the front has all points of a trial's curve
    taught: bool = False  # the sampler sees points of curves
    eta: float | None = None  # of successive halving; None: none is stopped
    rungs: tuple[float, ...] = RUNGS


WAYS = (
    Way("random, end points", "random", curve=False),
    Way("NSGA-II, end points", "nsga2", curve=False),
    Way("TPE, end points", "tpe", curve=False),
    Way("random", "random"),
    Way("NSGA-II", "nsga2"),
    Way("TPE", "tpe"),
    Way("TPE + curves", "tpe", taught=True),
    Way("TPE + halving", "tpe", eta=ETA),
    Way("TPE + halving, eta 2", "tpe", eta=2.0),
    Way("random + halving", "random", eta=ETA),
    Way("ours: TPE + curves + halving", "tpe", taught=True, eta=ETA),
    Way("ours, eta 2", "tpe", taught=True, eta=2.0),
)


@dataclass
class Outcome:
    """One search: (epochs trained, true hypervolume of the chosen front) after each trial."""

    history: list[tuple[float, float]]
    trials: int
    stopped: int


class Searched:
    """A search in progress: ledger's mirror, halving, clock and front."""

    def __init__(self, way: Way, space: Space, *, seed: int) -> None:
        self.way, self.space = way, space
        self.spec: StudySpec = replace(
            spec(), sampler=way.sampler, seed=seed, anchors=replace(ANCHORS, constant=surrogate.CONSTANT)
        )
        self.curves: dict[int, tuple[object, ...]] = {}
        self.mirror = Mirror([], self.curves)  # type: ignore[arg-type]
        self.halving = Halving(self.spec.values, REFERENCE, eta=way.eta, rungs=way.rungs) if way.eta else None
        self.noise = np.random.default_rng([seed, 1])
        self.epochs = 0.0
        self.seen, self.truth = np.empty((0, 2)), np.empty(0)
        self.outcome = Outcome([], 0, 0)

    def run(self, *, epochs: float) -> Outcome:
        """Draws and runs trials until so many epochs have been trained."""
        running: list[tuple[float, int, int, Params, float]] = []  # when its next event is, ...
        now = 0.0
        while True:
            while len(running) < AT_ONCE and self.epochs < epochs:
                drawn = self.mirror.draw(self.spec, self.space, start=10)
                heapq.heappush(running, self._next(now, drawn.number, 0, drawn.user_attrs["params"], 0.0))
            if not running:
                return self.outcome
            now, number, stage, params, trained = heapq.heappop(running)
            total = float(params["tune_epochs"]) + float(params["recover_epochs"])
            parts = self.halving.rungs if self.halving is not None else ()
            if stage < len(parts):
                self.epochs += parts[stage] * total - trained
                rung = surrogate.rung(params, stage, parts[stage], self.noise)
                verdict = self.halving.judge(number, rung)  # type: ignore[union-attr]
                if verdict.goes_on:
                    heapq.heappush(running, self._next(now, number, stage + 1, params, parts[stage] * total))
                    continue
                self._end(
                    TrialRecord(number, "stopped", verdict.reason, params, 0, redundant=verdict.redundant)
                )
            else:
                self.epochs += total - trained
                record, truth = surrogate.record(number, params, self.noise)
                self._end(record, truth)

    def _next(
        self, now: float, number: int, stage: int, params: Params, trained: float
    ) -> tuple[float, int, int, Params, float]:
        total = float(params["tune_epochs"]) + float(params["recover_epochs"])
        parts = (*(self.halving.rungs if self.halving is not None else ()), 1.0)
        return (now + parts[stage] * total - trained, number, stage, params, trained)

    def _end(self, record: TrialRecord, truth: np.ndarray | None = None) -> None:
        if self.way.taught:
            self.curves[record.number] = rows_of_record(record, self.spec)
        self.mirror.end(record.number, end_of(record, self.spec))
        self.outcome.trials += 1
        self.outcome.stopped += record.state == "stopped"
        if truth is not None:
            points = record.points if self.way.curve else record.points[-1:]
            values = [[p.measurement.metric, p.measurement.compression] for p in points]
            self.seen = np.concatenate([self.seen, values])
            self.truth = np.concatenate([self.truth, truth if self.way.curve else truth[-1:]])
        chosen = front(self.seen)
        found = np.column_stack([self.truth[chosen], self.seen[chosen, 1]])
        self.outcome.history.append((self.epochs, hypervolume(found, REFERENCE)))


def at(outcome: Outcome, epochs: float) -> float:
    """The hypervolume when so many epochs had been trained."""
    before = [volume for spent, volume in outcome.history if spent <= epochs]
    return before[-1] if before else 0.0


def needed(outcome: Outcome, volume: float) -> float:
    """The epochs after which a hypervolume was reached; infinity if it was not."""
    return next((spent for spent, found in outcome.history if found >= volume), float("inf"))


def lost_owners(
    space: Space, eta: float, seeds: int, *, rungs: tuple[float, ...] = RUNGS, trials: int = 60
) -> tuple[float, float]:
    """Of trials that a full run puts alone on the front, the part that halving stops; and of all trials."""
    stopped_owners = owners_seen = stopped = 0
    for seed in range(seeds):
        way = Way("", "random")
        search = Searched(way, space, seed=seed)
        halving, noise = (
            Halving(search.spec.values, REFERENCE, eta=eta, rungs=rungs),
            np.random.default_rng([seed, 2]),
        )
        points, owner, fate = [], [], {}
        for _ in range(trials):
            drawn = search.mirror.draw(search.spec, space, start=10)
            params = drawn.user_attrs["params"]
            record, _ = surrogate.record(drawn.number, params, noise)
            verdicts = []
            for index, part in enumerate(halving.rungs):
                verdicts.append(
                    halving.judge(drawn.number, surrogate.rung(params, index, part, noise)).goes_on
                )
                if not verdicts[-1]:
                    break
            fate[drawn.number] = all(verdicts)
            values = [[p.measurement.metric, p.measurement.compression] for p in record.points]
            points += values
            owner += [drawn.number] * len(values)
            search.mirror.end(drawn.number, end_of(record, search.spec))
        on_front = {owner[row] for row in front(points)}
        owners_seen += len(on_front)
        stopped_owners += sum(not fate[number] for number in on_front)
        stopped += sum(not goes_on for goes_on in fate.values())
    return stopped_owners / owners_seen, stopped / (seeds * trials)


def main() -> None:
    """Prints a table of all ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--epochs", type=float, default=150.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None)
    chosen = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "fixed.toml"
        file.write_text(FIXED)
        space = load_space("snip", file=file, pretrained=True)
    places = [chosen.epochs * part for part in (0.25, 0.5, 1.0)]
    found: dict[str, list[Outcome]] = {
        way.name: [Searched(way, space, seed=seed).run(epochs=chosen.epochs) for seed in range(chosen.seeds)]
        for way in WAYS
    }
    rival = max(
        (name for name in found if "end points" in name),
        key=lambda name: np.mean([at(one, chosen.epochs) for one in found[name]]),
    )
    goal = float(np.mean([at(one, chosen.epochs) for one in found[rival]]))
    table = Table(
        "search", *(f"{place:.0f} epochs" for place in places), "trials", "stopped",
        f"epochs to {goal:.3f}", title=f"true hypervolume, mean ± sd of {chosen.seeds} seeds; synthetic surrogate",
    )  # fmt: skip
    for name, outcomes in found.items():
        volumes = [[at(one, place) for one in outcomes] for place in places]
        reached = [needed(one, goal) for one in outcomes]
        table.add_row(
            name,
            *(f"{np.mean(v):.4f} ± {np.std(v):.4f}" for v in volumes),
            f"{np.mean([one.trials for one in outcomes]):.0f}",
            f"{np.mean([one.stopped for one in outcomes]):.0f}",
            f"{np.median(reached):.0f}",
        )
    Console(width=150).print(table)
    for eta in (ETA, 2.0):
        owners, all_ = lost_owners(space, eta, chosen.seeds)
        print(
            f"eta {eta:g}: stops {owners:.1%} of the trials that a full run puts on the front, {all_:.1%} of all"
        )
    if chosen.json is not None:
        chosen.json.write_text(
            json.dumps({name: [vars(one) for one in outcomes] for name, outcomes in found.items()})
        )


if __name__ == "__main__":
    main()
