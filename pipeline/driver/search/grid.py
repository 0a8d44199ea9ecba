"""The searches of a sweep: tasks × models × methods × seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.driver.search.request import Search, model_of
from pipeline.study.records import BadInput


def requests_of(
    base: Search, *, tasks: Sequence[str], models: Sequence[str], methods: Sequence[str], seeds: int
) -> tuple[Search, ...]:
    """Return the searches of a sweep, seed by seed: when time is up, all have about as many.

    Args:
        base: the options that they share; its seed is the first.
        tasks: as of `Search.task`; empty for that of `base`, like `models` and `methods`.
        models: as of `Search.model`.
        methods: as of `Search.method`.
        seeds: how many.

    Raises:
        BadInput: no seed, or one name for several studies.
    """
    if seeds < 1:
        raise BadInput(f"--seeds is {seeds}. A sweep has one seed or more.")
    own = base.model != model_of(base.task)  # it was given
    found = tuple(
        replace(base, task=task, model=model, method=method, seed=base.seed + place)
        for place in range(seeds)
        for task in dict.fromkeys(tasks or (base.task,))
        for model in dict.fromkeys(models or (base.model if own else model_of(task),))
        for method in dict.fromkeys(methods or (base.method,))
    )
    if base.name is not None and len(found) > 1:
        raise BadInput(
            f"--name {base.name!r} cannot name {len(found)} studies. Leave it out: each has its own."
        )
    return found
