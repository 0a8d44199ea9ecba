"""A trial to run: what its ledger drew for it, and what its driver expects of it while it runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.study.records.front_so_far import FrontSoFar
from pipeline.study.records.types import Params


@dataclass(frozen=True)
class Ask:
    """A trial to run. It goes from the ledger to the trial's process as it is; the record answers it."""

    number: int
    params: Params
    seed: int
    rungs: tuple[
        float, ...
    ] = ()  # fractions of its training after which the driver decides whether it goes on
    beat_s: float = math.inf  # seconds between its progress reports within an epoch
    front: FrontSoFar | None = None  # weights of networks that cannot stand on it are not kept; None: all are
