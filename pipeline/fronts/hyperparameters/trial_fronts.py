"""A study's complete trials, each with its parameters and the front of its own networks."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.study.pareto import front
from pipeline.study.records import FloatArray, Params, StudySpec


@dataclass(frozen=True, eq=False)
class TrialFront:
    """One complete trial: what it was given, and the front of its points."""

    number: int
    params: Params
    values: FloatArray  # [F, 2]: metric and gain, of curve and recovered points together
    recovered: tuple[float, float] | None  # metric and gain of the recovered point: what the sampler was told


def trial_fronts(spec: StudySpec, table: pa.Table) -> list[TrialFront]:
    """The complete trials of a study's table, by number."""
    complete = np.asarray(table["state"].to_numpy(zero_copy_only=False) == "complete")
    rows = np.flatnonzero(complete & table["metric"].is_valid().to_numpy())
    if not len(rows):
        return []
    read = {"metric", spec.second.column, spec.second.dense} & set(table.column_names)
    values = spec.values({name: table[name].to_numpy()[rows] for name in read})
    numbers = table["number"].to_numpy()[rows]
    recovered = np.asarray(table["kind"].to_numpy(zero_copy_only=False)[rows] == "recovered")
    texts = table["params"].take(rows)
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))  # the table is sorted by trial
    found = []
    for start, end in zip(starts, [*starts[1:], len(numbers)], strict=True):
        own, last = values[start:end], np.flatnonzero(recovered[start:end])
        pair = tuple(own[last[0]].tolist()) if len(last) else None
        found.append(
            TrialFront(int(numbers[start]), json.loads(texts[int(start)].as_py()), own[front(own)], pair)
        )
    return found
