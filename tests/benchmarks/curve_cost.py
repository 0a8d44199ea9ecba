"""The whole curve, every step on all of validation, against one epoch of plain fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from pipeline.model.anatomy import Anatomy
from pipeline.study.records import Measurement
from pipeline.trial.curve import walk
from pipeline.trial.curve.allocation import curve_steps, removal_order
from pipeline.trial.measure import Evaluation, evaluate
from pipeline.trial.measure import measure as measured
from pipeline.trial.rank import CALIBRATION_BATCH
from pipeline.trial.settings import CURVE_STEPS
from tests.benchmarks import subject
from tests.benchmarks.pairs import Row, compare, timed
from tests.kit.kinds import CLASSES

NAME = "curve"
GOALS = {"block": 0.5, "head": 1.0}


def measure(*, quick: bool) -> Iterator[Row]:
    """Rows for the table."""
    pairs, part = (3, 5) if quick else (5, 4)
    data = subject.task()
    model, anatomy = subject.network()
    precision = subject.recipe().precision

    def examine(network: torch.nn.Module, parts: Anatomy) -> tuple[Evaluation, Measurement]:
        found = evaluate(network, data.validation, CLASSES, precision=precision)
        return found, measured(network, parts, found, length=subject.LONGEST)

    epoch = len(data.train) // subject.BATCH
    for level, goal in GOALS.items():
        method = subject.fresh("snip", subject.defaults("snip", level=level))
        scores = method.score(model, anatomy, data.calibration.in_length_order(CALIBRATION_BATCH))
        order = removal_order(scores, anatomy, score_per_parameter=False, min_attention_blocks=1)
        steps = curve_steps(order, anatomy, most=CURVE_STEPS)
        yield compare(
            NAME,
            f"{level} level, {len(steps)} networks × {len(data.validation)} rows",
            turn=lambda steps=steps: timed(lambda: list(walk(model, anatomy, steps, examine))),
            against=lambda: subject.steps_s(model, anatomy, data.train, steps=epoch // part),
            base=f"an epoch of {len(data.train):,} rows",
            pairs=pairs,
            goal=goal,
            scale=1 / part,
        )
