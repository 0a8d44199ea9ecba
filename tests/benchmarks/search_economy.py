"""Hypervolume against trained epochs, search by search, on real trials (tabulated.py) or made-up ones (surrogate.py).

    python -m tests.benchmarks.search_economy [--table FILE] [--epochs 150] [--seeds 5] [--first-seed 0]
        [--only halving|rivals] [--json FILE]

Each search draws with the real samplers, through the ledger's own mirror, and stops trials by the real halving; two
trials run at a time. A front is chosen by what the search saw (noisy) and scored by rows that no search saw, or by
the truth where trials are made up. `points` says what a trial gives to the front and to the search: its end alone, as
rivals have it, or its whole curve. `--only halving` compares ways to stop trials, among them by the curve's own
hypervolume alone; `--only rivals` runs those of other packages.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table

from pipeline.study.pareto import front
from pipeline.study.space import Space
from tests.benchmarks.searching import Outcome, OwnVolume, Problem, Stops, Way, at, fixed_space, needed
from tests.benchmarks.surrogate import Synthetic
from tests.benchmarks.tabulated import TrialTable

RANDOM = Way("random", "random")

WAYS = (
    Way("random, end points", "random", curve=False),
    Way("NSGA-II, end points", "nsga2", curve=False),
    Way("TPE, end points", "tpe", curve=False),
    RANDOM,
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
    Stops(least_seen=4),
    Stops(least_seen=4, kind=OwnVolume),
    Stops(eta=5 / 4, least_seen=4),
    Stops(eta=5 / 4, least_seen=4, kind=OwnVolume),
    Stops(rungs=(0.25,), least_seen=4),
    Stops(eta=2.0, least_seen=4),
)
HALVINGS = tuple(
    Way(f"{sampler}, {stops or 'none is stopped'}", sampler, taught=sampler == "tpe", stops=stops)
    for sampler in ("tpe", "random")
    for stops in STOPS
)


def rivals() -> tuple[Way, ...]:
    """Syne Tune's and NePS's, if they are installed: dependencies of this benchmark alone."""
    found: tuple[Way, ...] = ()
    if find_spec("syne_tune") is not None:  # pip install syne-tune
        found += (
            Way("MO-ASHA, end points", "random", curve=False, eta=3.0),
            Way("MO-ASHA", "random", eta=3.0),
            Way("MO-ASHA, eta 2", "random", eta=2.0),
        )
    if find_spec("neps") is not None:  # pip install neural-pipeline-search "botorch<0.13"
        found += (
            Way("PriMO, end points", "random", curve=False, primo=True),
            Way("PriMO", "random", primo=True),
        )
    return found


def lost_owners(
    space: Space, make: Callable[[int], Problem], stops: Stops, seeds: Iterable[int], *, trials: int = 60
) -> tuple[float, float, float]:
    """Of trials that a full run puts alone on the front, the part that is stopped; of all trials; of all epochs."""
    lost = owners_seen = stopped = count = 0
    saved = epochs = 0.0
    for seed in seeds:
        problem = make(seed)
        search = RANDOM.search(space, problem, seed=seed)
        halving = stops.halving(search.spec)
        points, owner, stopped_here = [], [], set()
        for _ in range(min(trials, problem.trials or trials)):
            number, params = search.draw()
            record, _ = problem.record(number, params)
            shown = [problem.rung(number, params, at, part) for at, part in enumerate(stops.rungs)]
            epochs += record.epochs
            for part, rung in zip(stops.rungs, shown, strict=True):
                if not halving.judge(number, rung).goes_on:
                    stopped_here.add(number)
                    saved += (1 - part) * record.epochs
                    break
            values = [[p.measurement.metric, p.measurement.compression] for p in record.points]
            points += values
            owner += [number] * len(values)
            search.told(record)
        on_front = {owner[row] for row in front(points)}
        owners_seen += len(on_front)
        lost += len(on_front & stopped_here)
        stopped += len(stopped_here)
        count += number + 1
    return lost / owners_seen, stopped / count, saved / epochs


def main() -> None:
    """Prints a table of all ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--table", type=Path, default=None, help="real trials, as tabulated.py writes them")
    parser.add_argument("--epochs", type=float, default=150.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", choices=("halving", "rivals"), default=None)
    parser.add_argument(
        "--owner-seeds", type=int, default=60, help="of the part of the front that is stopped"
    )
    parser.add_argument("--json", type=Path, default=None)
    chosen = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = None if chosen.table is None else TrialTable.read(chosen.table)
    space = fixed_space() if table is None else table.space
    make: Callable[[int], Problem] = Synthetic if table is None else table.fresh
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    found: dict[str, list[Outcome]] = {
        way.name: [way.search(space, make(seed), seed=seed).run(epochs=chosen.epochs) for seed in seeds]
        for way in {"halving": HALVINGS, "rivals": rivals(), None: (*WAYS, *rivals())}[chosen.only]
    }
    Console(width=160).print(
        _table(found, chosen.epochs, "synthetic surrogate" if table is None else table.about)
    )
    if chosen.json is not None:
        chosen.json.write_text(
            json.dumps({name: [vars(one) for one in outcomes] for name, outcomes in found.items()})
        )

    if chosen.only == "rivals":
        return
    owner_seeds = range(chosen.first_seed, chosen.first_seed + chosen.owner_seeds)
    for stops in STOPS[1:]:
        owners, all_, epochs = lost_owners(space, make, stops, owner_seeds)
        print(
            f"{stops}: stops {owners:.1%} of the trials that a full run puts on the front, {all_:.1%} of all; saves "
            f"{epochs:.1%} of the epochs ({chosen.owner_seeds} seeds)"
        )


def _table(found: dict[str, list[Outcome]], epochs: float, about: str) -> Table:
    places = [epochs * part for part in (0.25, 0.5, 1.0)]
    rivals = [name for name in found if "end points" in name or "none is stopped" in name]
    rival = max(rivals, key=lambda name: np.mean([at(one, epochs) for one in found[name]]))
    goal = float(np.mean([at(one, epochs) for one in found[rival]]))
    table = Table(
        "search", *(f"{place:.0f} epochs" for place in places), "trials", "stopped",
        f"epochs to {goal:.3f}",
        title=f"hypervolume of the chosen front, unseen, mean ± sd of {len(found[rival])} seeds; {about}",
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
