"""The table of a comparison: metric on test rows at every target, mean over seeds, and differences by seed.

Each method is set against `layerdrop`, and against `chance` on the units that it ranks itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.statistics import Interval, interval, paired
from tests.benchmarks.comparison.plan import Planned, units
from tests.benchmarks.comparison.scoring import StudyScore, read_score

YARDSTICKS = ("chance", "layerdrop")


@dataclass(frozen=True)
class Cell:
    """A method at a target on a task: test metric over seeds, and its differences from the yardsticks."""

    task: str
    method: str
    target: float
    compression: float
    test: Interval
    validation: float
    hypervolume: float
    differences: dict[
        str, tuple[float, float, float]
    ]  # mean and interval of "this - yardstick", paired by seed


Scores = dict[tuple[str, str], dict[int, StudyScore]]  # (task, label) -> seed -> score


def print_table(store: Path, studies: Sequence[tuple[Planned, str]]) -> list[Cell]:
    """Prints one table per task of what has been scored, and gives its cells."""
    scores: Scores = {}
    ranked = {item.entry.label: units(item.entry) for item, _ in studies}
    for item, name in studies:
        found = read_score(store, name)
        if found is not None:
            scores.setdefault((item.task, item.entry.label), {})[item.seed] = found
    targets = sorted({target for item, _ in studies for target in item.targets})
    cells = [
        cell
        for key in scores
        for target in targets
        if (cell := _cell(scores, key, target, ranked)) is not None
    ]
    console = Console(width=150)
    for task in dict.fromkeys(cell.task for cell in cells):
        console.print(_table(task, [cell for cell in cells if cell.task == task], targets, scores))
    return cells


def write_json(path: Path, cells: Iterable[Cell]) -> None:
    """The cells as a list of objects."""
    path.write_text(json.dumps([asdict(cell) for cell in cells], indent=1))


def _cell(scores: Scores, key: tuple[str, str], target: float, ranked: Mapping[str, str]) -> Cell | None:
    mine = _at(scores[key], target)
    if not mine:
        return None
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
    if label == "chance" or label.startswith("chance+"):
        return {}
    chances = (
        other for other in ranked if other.split("+")[0] == "chance" and ranked[other] == ranked[label]
    )
    found = {"chance": next(chances, None), "layerdrop": "layerdrop" if "layerdrop" in ranked else None}
    return {name: other for name, other in found.items() if other is not None and other != label}


def _at(scores: dict[int, StudyScore], target: float) -> dict[int, float]:
    """Test metric by seed."""
    return {
        seed: net.test for seed, score in scores.items() for net in score.networks if net.target == target
    }


def _table(task: str, cells: Sequence[Cell], targets: Sequence[float], scores: Scores) -> Table:
    table = Table(title=f"{Path(task).parent.name}: test metric after recovery (compression reached)")
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
