"""Methods over several tasks: average ranks and a critical difference (Demšar, JMLR 7, 2006)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from pipeline.fronts.compare.groups import APART, TASK, Group
from pipeline.fronts.statistics import Ranking, cliques, rank
from pipeline.study.records import BadInput, FloatArray, StudySpec

LEAST_TASKS = 2


@dataclass(frozen=True, eq=False)
class Standings:
    """How methods rank over tasks, by normalised hypervolume (the mean over a group's seeds)."""

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    scores: FloatArray  # [T, M]
    ranking: Ranking

    @property
    def indistinguishable(self) -> list[tuple[str, ...]]:
        """Groups of methods, best first, whose ranks do not differ significantly."""
        return [tuple(self.methods[at] for at in clique) for clique in cliques(self.ranking)]


def rank_across_tasks(groups: Sequence[Group]) -> Standings:
    """Rank methods that are searched in the same way on every task; groups of one method differ in their task alone.

    Raises:
        BadInput: fewer than two tasks or methods, or a method was not run on a task, or on other rows of it, too.
    """
    table: defaultdict[str, dict[str, Group]] = defaultdict(dict)
    for group in groups:
        spec, of_method = group.spec, table[_search_of(group.spec)]
        other = of_method.setdefault(spec.task, group)
        if other is not group:
            raise BadInput(
                f"{other.spec.name} and {spec.name} are two groups of one method on {spec.task}, on "
                "other rows. Leave one of them out."
            )
    tasks = tuple(dict.fromkeys(group.spec.task for group in groups))
    if len(tasks) < LEAST_TASKS or len(table) < 2:
        raise BadInput(
            f"{len(table)} methods on {len(tasks)} tasks ({', '.join(tasks)}) cannot be ranked: it "
            "takes two or more of both. Name more studies."
        )
    methods = _names([next(iter(by_task.values())).spec for by_task in table.values()])
    for method, by_task in zip(methods, table.values(), strict=True):
        missing = [task for task in tasks if task not in by_task]
        if missing:
            raise BadInput(
                f"{method} has no study on {', '.join(missing)} with the same space, sampler and "
                "model. Methods are ranked on the same tasks. Run it there, or leave the task out."
            )
    scores = np.array([[_score(by_task[task]) for by_task in table.values()] for task in tasks])
    return Standings(tasks, methods, scores, rank(scores))


def _score(group: Group) -> float:
    found = [entry.front.hypervolume_normalised for entry in group.entries]
    if not np.isfinite(found).all():
        raise BadInput(
            f"On {group.spec.task} the dense network of {group.spec.name} is no better than a "
            "constant. Hypervolumes are divided by dense - constant. Leave the task out."
        )
    return float(np.mean(found))


def _search_of(spec: StudySpec) -> str:
    """Return what identifies a method's search, whatever the task: all of a spec but its task, name and seed."""
    return repr({key: value for key, value in asdict(spec).items() if key not in (*APART, *TASK)})


def _names(specs: Sequence[StudySpec]) -> tuple[str, ...]:
    """Return unique names of methods: with model and sampler, or a number, where the method is not enough."""
    for parts in (("method",), ("method", "model"), ("method", "model", "sampler")):
        names = [" ".join(str(getattr(spec, part)) for part in parts) for spec in specs]
        if len(set(names)) == len(names):
            return tuple(names)
    return tuple(f"{name} ({at + 1})" for at, name in enumerate(names))
