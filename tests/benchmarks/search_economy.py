"""Hypervolume against trained epochs, search by search, on a synthetic surrogate (surrogate.py).

    python -m tests.benchmarks.search_economy [--epochs 150] [--seeds 5] [--first-seed 0] [--only halving] [--json FILE]

Each search draws with the real samplers, through the ledger's own mirror, and stops trials by the real halving; two
trials run at a time. A front is chosen by what the search saw (noisy) and scored by the truth. `points` says what a
trial gives to the front and to the search: its end alone, as rivals have it, or its whole curve. `--only halving`
compares ways to stop trials, among them by the curve's own hypervolume alone.
"""

from __future__ import annotations

import argparse
import heapq
import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table

from pipeline.halving import ETA, LEAST_SEEN, RUNGS, Halving, Key
from pipeline.pareto import front, hypervolume
from pipeline.records import Params, StudySpec, TrialRecord
from pipeline.space import Space, load_space
from pipeline.study.curves import rows_of_record
from pipeline.study.ledger import _end_of
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


class OwnVolume(Halving):
    """Judges a trial by the hypervolume of its own curve, whatever the others add."""

    def keys(self, index: int) -> dict[int, Key]:
        return {number: (0.0, *own) for number, own in self._alone[index].items()}


@dataclass(frozen=True)
class Stops:
    """How trials are stopped."""

    eta: float = ETA
    rungs: tuple[float, ...] = RUNGS
    least_seen: int = LEAST_SEEN
    kind: type[Halving] = Halving

    def halving(self, spec: StudySpec) -> Halving:
        return self.kind(spec.values, REFERENCE, eta=self.eta, rungs=self.rungs, least_seen=self.least_seen)

    def __str__(self) -> str:
        rungs = ", ".join(f"{part:g}" for part in self.rungs)
        by = "own hypervolume" if self.kind is OwnVolume else "what it adds"
        return f"eta {self.eta:.3g}, rungs {rungs}, from {self.least_seen} on, by {by}"


@dataclass(frozen=True)
class Way:
    """A way to search."""

    name: str
    sampler: str
    curve: bool = True  # the front has all points of a trial's curve
    taught: bool = False  # the sampler sees points of curves
    stops: Stops | None = None  # None: none is stopped


WAYS = (
    Way("random, end points", "random", curve=False),
    Way("NSGA-II, end points", "nsga2", curve=False),
    Way("TPE, end points", "tpe", curve=False),
    Way("random", "random"),
    Way("NSGA-II", "nsga2"),
    Way("TPE", "tpe"),
    Way("TPE + curves", "tpe", taught=True),
    Way("TPE + halving", "tpe", stops=Stops()),
    Way("random + halving", "random", stops=Stops()),
    Way("ours: TPE + curves + halving", "tpe", taught=True, stops=Stops()),
)
STOPS = (
    None,
    Stops(),
    Stops(kind=OwnVolume),
    Stops(eta=5 / 4),
    Stops(eta=5 / 4, kind=OwnVolume),
    Stops(least_seen=8),
    Stops(least_seen=8, kind=OwnVolume),
    Stops(rungs=(0.25,)),
    Stops(eta=2.0),
)
HALVINGS = tuple(
    Way(f"{sampler}, {stops or 'none is stopped'}", sampler, taught=sampler == "tpe", stops=stops)
    for sampler in ("tpe", "random")
    for stops in STOPS
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
        self.halving = way.stops.halving(self.spec) if way.stops else None
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
        self.mirror.end(record.number, _end_of(record, self.spec))
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
    space: Space, stops: Stops, seeds: Iterable[int], *, trials: int = 60
) -> tuple[float, float, float]:
    """Of trials that a full run puts alone on the front, the part that is stopped; of all trials; of all epochs."""
    lost = owners_seen = stopped = count = 0
    saved = epochs = 0.0
    for seed in seeds:
        search = Searched(Way("", "random"), space, seed=seed)
        halving, noise = stops.halving(search.spec), np.random.default_rng([seed, 2])
        points, owner, stopped_here = [], [], set()
        for _ in range(trials):
            drawn = search.mirror.draw(search.spec, space, start=10)
            params = drawn.user_attrs["params"]
            record, _ = surrogate.record(drawn.number, params, noise)
            shown = [surrogate.rung(params, at, part, noise) for at, part in enumerate(stops.rungs)]
            epochs += record.epochs
            for part, rung in zip(stops.rungs, shown, strict=True):
                if not halving.judge(drawn.number, rung).goes_on:
                    stopped_here.add(drawn.number)
                    saved += (1 - part) * record.epochs
                    break
            values = [[p.measurement.metric, p.measurement.compression] for p in record.points]
            points += values
            owner += [drawn.number] * len(values)
            search.mirror.end(drawn.number, _end_of(record, search.spec))
        on_front = {owner[row] for row in front(points)}
        owners_seen += len(on_front)
        lost += len(on_front & stopped_here)
        stopped += len(stopped_here)
        count += trials
    return lost / owners_seen, stopped / count, saved / epochs


def main() -> None:
    """Prints a table of all ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--epochs", type=float, default=150.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", choices=("halving",), default=None)
    parser.add_argument(
        "--owner-seeds", type=int, default=60, help="of the part of the front that is stopped"
    )
    parser.add_argument("--json", type=Path, default=None)
    chosen = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = fixed_space()
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    found: dict[str, list[Outcome]] = {
        way.name: [Searched(way, space, seed=seed).run(epochs=chosen.epochs) for seed in seeds]
        for way in (HALVINGS if chosen.only else WAYS)
    }
    Console(width=160).print(_table(found, chosen.epochs))
    owner_seeds = range(chosen.first_seed, chosen.first_seed + chosen.owner_seeds)
    for stops in STOPS[1:]:
        owners, all_, epochs = lost_owners(space, stops, owner_seeds)
        print(
            f"{stops}: stops {owners:.1%} of the trials that a full run puts on the front, {all_:.1%} of all; saves "
            f"{epochs:.1%} of the epochs ({chosen.owner_seeds} seeds)"
        )
    if chosen.json is not None:
        chosen.json.write_text(
            json.dumps({name: [vars(one) for one in outcomes] for name, outcomes in found.items()})
        )


def fixed_space() -> Space:
    """SNIP's packaged space, of one round and without bounds: what the surrogate knows."""
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "fixed.toml"
        file.write_text(FIXED)
        return load_space("snip", file=file, pretrained=True)


def _table(found: dict[str, list[Outcome]], epochs: float) -> Table:
    places = [epochs * part for part in (0.25, 0.5, 1.0)]
    rivals = [name for name in found if "end points" in name or "none is stopped" in name]
    rival = max(rivals, key=lambda name: np.mean([at(one, epochs) for one in found[name]]))
    goal = float(np.mean([at(one, epochs) for one in found[rival]]))
    table = Table(
        "search", *(f"{place:.0f} epochs" for place in places), "trials", "stopped",
        f"epochs to {goal:.3f}",
        title=f"true hypervolume, mean ± sd of {len(found[rival])} seeds; synthetic surrogate",
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
    return table


if __name__ == "__main__":
    main()
