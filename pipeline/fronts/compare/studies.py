"""`prunefront.compare`: studies of a store by their names, as `prunefront compare` compares them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.fronts.compare.comparison import Comparison
from pipeline.fronts.compare.comparison import compare as compare_groups
from pipeline.fronts.compare.groups import gather, names_of
from pipeline.study.store import DEFAULT_STORE


def compare(
    studies: Sequence[str] = (),
    *,
    task: str | None = None,
    method: str | None = None,
    across_models: bool = False,
    store: Path | str = DEFAULT_STORE,
) -> Comparison:
    """Compare studies of one task, and test which differences are real.

    Studies that differ only in their seed are one group. The unit of every test is the seed; of fewer than three seeds
    no difference is called real.

    Args:
        studies: their names; or none, with `task` or `method`.
        task: all studies of this task.
        method: all studies of this method.
        across_models: whether base models may differ.
        store: the folder of the store.

    Returns:
        Hypervolumes and metrics of each group with their intervals, and a test of each pair, on validation rows; and
        on test rows where all studies have confirmed points. `prunefront.sentences` puts it into words.

    Raises:
        BadInput: no such studies, or they cannot be compared.
    """
    names = names_of(store, studies, task=task, method=method)
    return compare_groups(gather(store, names, across_models=across_models))
