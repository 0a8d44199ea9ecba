"""An exported network in 8 bits: made, scored on the test rows, and kept for the study's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from torch import nn

from pipeline.export.int8 import Int8Network, make_int8, scores_of
from pipeline.export.measured import cpu_benches
from pipeline.export.reopen import Reopened
from pipeline.fronts.front_point import FrontPoint
from pipeline.study.store import Timed
from pipeline.task.batches import Split
from pipeline.trial.inputs import TrialInputs

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def in_int8(
    part: Path,
    inputs: TrialInputs,
    written: PreTrainedModel,
    times: Sequence[Timed],
    *,
    kinds: Sequence[str],
    least: float,
    onnx: Path | None,
) -> tuple[tuple[Int8Network, ...], nn.Module]:
    """Write a network in 8 bits into the folder `part`, timed as it was in fp32; as `make_int8`."""
    return make_int8(written, inputs, part, kinds=kinds, benches=cpu_benches(times), least=least, onnx=onnx)


def keep(forms: Sequence[Int8Network], opened: Reopened, point: FrontPoint) -> None:
    """Keep what was measured beside the study: its report shows it."""
    for form in forms:
        opened.store.study(opened.spec.name).int8.add(scores_of(form, trial=point.trial, point=point.point))


def tested(
    inputs: TrialInputs, tests: Mapping[str, Split], forms: Sequence[Int8Network], kept: nn.Module
) -> tuple[Int8Network, ...]:
    """Return the forms, the kept one with its scores on the test rows."""
    found = {
        part: inputs.evaluate(cast("PreTrainedModel", kept), rows, precision="fp32").metrics
        for part, rows in tests.items()
    }
    return tuple(replace(form, test=found) if form.kept else form for form in forms)
