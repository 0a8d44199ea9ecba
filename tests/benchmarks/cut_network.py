"""A step of recovery on a network that is cut to half of its encoder, against one on the dense network."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from pipeline.model.surgery import cut
from pipeline.trial.curve.allocation import choose, removal_order
from pipeline.trial.rank import CALIBRATION_BATCH
from tests.benchmarks import subject
from tests.benchmarks.pairs import Row, compare

NAME = "recovery"
TARGETS = (0.5, 0.75)


def measure(*, quick: bool) -> Iterator[Row]:
    """Rows for the table."""
    pairs, steps = (3, 6) if quick else (9, 12)
    data = subject.task()
    model, anatomy = subject.network()
    for level in ("block", "head"):
        method = subject.fresh("snip", subject.defaults("snip", level=level))
        scores = method.score(model, anatomy, data.calibration.in_length_order(CALIBRATION_BATCH))
        order = removal_order(scores, anatomy, score_per_parameter=False, min_attention_blocks=1)
        for target in TARGETS[: 1 if quick else 2]:
            step = choose(order, anatomy, target=target)
            small, parts = copy.deepcopy((model, anatomy))
            parts = cut(small, parts, step.masks)
            yield compare(
                NAME,
                f"{level} level, {step.compression:.0%} cut",
                turn=lambda small=small, parts=parts: subject.steps_s(small, parts, data.train, steps=steps),
                against=lambda: subject.steps_s(model, anatomy, data.train, steps=steps),
                base=f"{steps} dense steps",
                pairs=pairs,
            )
