"""A confirmed point's run in MLflow: its name and its note."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.driver.tracking.confirmations import NAME, NOTE, tags
from pipeline.fronts.confirmed import ConfirmedPoint
from pipeline.fronts.statistics import interval
from pipeline.study.store import Confirmation
from tests.kit.synthetic import point, spec


def confirmed(*metrics: float, epochs: float = 3.0, failed: int = 0) -> ConfirmedPoint:
    measurement = point(0.8, 0.5).measurement
    trained = tuple(
        Confirmation(
            trial=3,
            point=1,
            number=number,
            seed=number,
            state="complete",
            reason="",
            measurement=replace(measurement, metric=metric),
            validation=metric,
            epochs=epochs,
            seconds=1.0,
            provenance={},
            predictions=np.empty(0, dtype=np.int16),
        )
        for number, metric in enumerate(metrics)
    )
    halves = interval([0.5] * len(metrics))
    return ConfirmedPoint(
        trial=3,
        point=1,
        kind="curve",
        params={},
        selected=0.8,
        selected_gain=0.5,
        metric=interval(metrics),
        gain=halves,
        compression=halves,
        sparsity=halves,
        validation=interval(metrics),
        optimism=interval([0.8 - metric for metric in metrics]),
        failed=failed,
        confirmations=trained,
    )


@pytest.mark.parametrize(
    ("found", "name", "note"),
    [
        (
            # t(0.975; 2) = 4.302653, s = 0.01: 0.75 ± 0.0248
            confirmed(0.74, 0.75, 0.76),
            "confirmed 0003-01 · 0.750 ± 0.025 @ 50 %",
            "trained again on 3 fresh seeds and measured on test rows. accuracy: **0.7500** (95 % interval 0.7252 to "
            "0.7748); the front had promised 0.8000 on validation rows.",
        ),
        (
            confirmed(0.75, failed=1),
            "confirmed 0003-01 · 0.750 @ 50 %",
            "trained again on one fresh seed and measured on test rows. accuracy: **0.7500**; the front had promised "
            "0.8000 on validation rows.",
        ),
        (
            confirmed(0.75, epochs=0.0),
            "confirmed 0003-01 · 0.750 @ 50 %",
            "measured as it is on test rows. accuracy: **0.7500**; the front had promised 0.8000 on validation rows.",
        ),
        (
            confirmed(failed=2),
            "confirmed 0003-01 · failed",
            "trained again on 2 fresh seeds, of which none ended well; the front had promised 0.8000 on validation "
            "rows.",
        ),
    ],
    ids=["three seeds", "one seed", "nothing trained", "all failed"],
)
def test_a_run_says_what_was_trained_and_measured(found: ConfirmedPoint, name: str, note: str) -> None:
    written = tags(found, spec())
    assert written[NAME] == name
    assert written[NOTE] == f"Point 1 of trial 3 (curve), {note}"
