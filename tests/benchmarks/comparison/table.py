"""The table of a comparison: metric on test rows at every target, mean over seeds, and differences by seed.

Each method is set against `layerdrop`, and against `chance` on the units that it ranks itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.fronts.statistics import Interval, interval, paired
from tests.benchmarks.comparison.plan import WEIGHT, Planned, units
from tests.benchmarks.comparison.scoring import StudyScore, read_score

YARDSTICKS = ("chance", "layerdrop")
CHANCES = ("chance", "chance-weights")


@dataclass(frozen=True)
class Cell:
    """A method at a target on a task: test metric over seeds, and its differences from the yardsticks."""

    task: str
    method: str
    target: float
    compression: float  # sparsity, of single weights
    test: Interval
    validation: float
    hypervolume: float
    differences: dict[
        str, tuple[float, float, float]
    ]  # mean and interval of "this - yardstick", paired by seed


Scores = dict[tuple[str, str], dict[int, StudyScore]]  # (task, label) -> seed -> score


def print_table(store: Path, studies: Sequence[tuple[Planned, Sequence[str]]]) -> list[Cell]:
    """Prints what has been scored, a table per task and kind of unit; gives its cells.

    Args:
        store: where the scores lie.
        studies: an entry with a seed, and the names of its studies, of whatever targets.
    """
    scores: Scores = {}
    ranked = {item.entry.label: units(item.entry) for item, _ in studies}
    for item, names in studies:
        found = [score for name in names if (score := read_score(store, name)) is not None]
        if found:
            scores.setdefault((item.task, item.entry.label), {})[item.seed] = _together(found)
    targets = {
        key: sorted({net.target for s in by_seed.values() for net in s.networks if net.trial >= 0})
        for key, by_seed in scores.items()
    }
    cells = [_cell(scores, key, target, ranked) for key in scores for target in targets[key]]
    console = Console(width=200)
    for task, single in dict.fromkeys((cell.task, ranked[cell.method] == WEIGHT) for cell in cells):
        mine = [c for c in cells if c.task == task and (ranked[c.method] == WEIGHT) == single]
        console.print(_table(task, mine, scores, reached="sparsity" if single else "compression"))
    return cells


def _together(scores: Sequence[StudyScore]) -> StudyScore:
    """An entry's studies of one seed as one: that of most networks, with the networks of all."""
    first = max(scores, key=lambda score: len(score.networks))
    pruned = tuple(net for score in scores for net in score.networks if net.trial >= 0)
    dense = tuple(net for net in first.networks if net.trial < 0)
    return replace(first, networks=(*pruned, *dense))


def write_json(path: Path, cells: Iterable[Cell]) -> None:
    """The cells as a list of objects."""
    path.write_text(json.dumps([asdict(cell) for cell in cells], indent=1))


def _cell(scores: Scores, key: tuple[str, str], target: float, ranked: Mapping[str, str]) -> Cell:
    mine = _at(scores[key], target)
    differences = {}
    for yardstick, label in _yardsticks(key[1], ranked).items():
        theirs = _at(scores.get((key[0], label), {}), target)
        shared = sorted(mine.keys() & theirs.keys())
        if shared:
            found = paired([mine[seed] for seed in shared], [theirs[seed] for seed in shared])
            differences[yardstick] = (found.mean, found.low, found.high)
    networks = [net for score in scores[key].values() for net in score.networks if net.target == target]
    return Cell(
        task=key[0],
        method=key[1],
        target=target,
        compression=sum(net.compression for net in networks) / len(networks),
        test=interval(list(mine.values())),
        validation=sum(net.validation for net in networks) / len(networks),
        hypervolume=sum(score.hypervolume_normalised for score in scores[key].values()) / len(scores[key]),
        differences=differences,
    )


def _yardsticks(label: str, ranked: Mapping[str, str]) -> dict[str, str]:
    """What the entry of this label is set against: name of the yardstick -> its label."""
    chances = {other: rank for other, rank in ranked.items() if other.split("+")[0] in CHANCES}
    if label in chances:
        return {}
    same = (other for other, rank in chances.items() if rank == ranked[label])
    top = "layerdrop" if "layerdrop" in ranked and ranked[label] != WEIGHT else None
    found = {"chance": next(same, None), "layerdrop": top}
    return {name: other for name, other in found.items() if other is not None and other != label}


def _at(scores: dict[int, StudyScore], target: float) -> dict[int, float]:
    """Test metric by seed."""
    return {
        seed: net.test for seed, score in scores.items() for net in score.networks if net.target == target
    }


def _table(task: str, cells: Sequence[Cell], scores: Scores, *, reached: str) -> Table:
    table = Table(title=f"{Path(task).parent.name}: test metric after recovery ({reached} reached)")
    targets = sorted({cell.target for cell in cells})
    heads = [f"{100 * target:.0f} %" for target in targets]
    yardsticks = [other for other in YARDSTICKS if any(other in cell.differences for cell in cells)]
    for name in (
        "method",
        "seeds",
        *heads,
        *(f"- {other} at {head}" for other in yardsticks for head in heads),
        "HV",
    ):
        table.add_column(name)
    dense = [
        net.test
        for key, by_seed in scores.items()
        if key[0] == task
        for s in by_seed.values()
        for net in s.networks
        if net.trial < 0
    ]
    if dense:
        table.add_row("dense", "1", f"{dense[0]:.3f}")
    for method in dict.fromkeys(cell.method for cell in cells):
        mine = {cell.target: cell for cell in cells if cell.method == method}
        some = next(iter(mine.values()))
        table.add_row(
            method,
            str(max(cell.test.count for cell in mine.values())),
            *(_metric(mine.get(target)) for target in targets),
            *(_difference(mine.get(target), other) for other in yardsticks for target in targets),
            f"{100 * some.hypervolume:.0f} %",
        )
    return table


def _metric(cell: Cell | None) -> str:
    if cell is None:
        return ""
    spread = "" if math.isnan(cell.test.deviation) else f" ± {cell.test.deviation:.3f}"
    return f"{cell.test.mean:.3f}{spread} ({100 * cell.compression:.0f} %)"


def _difference(cell: Cell | None, other: str) -> str:
    if cell is None or other not in cell.differences:
        return ""
    mean, low, high = cell.differences[other]
    ends = "" if math.isnan(low) else f" ({low:+.3f}, {high:+.3f})"
    return f"{mean:+.3f}{ends}"
