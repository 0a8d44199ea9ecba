"""Make a network's 8-bit forms, measure them on the rows that it was chosen on, and keep the fastest that holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from torch import nn

from pipeline.export.in_turns import TimeInTurns, time_beside
from pipeline.export.int8.kinds import KINDS
from pipeline.export.int8.quantised import Fp32, Quantised
from pipeline.export.onnx import write_onnx
from pipeline.model.heads import HEADS
from pipeline.study.records import BadInput
from pipeline.study.store import Int8Scores, LatencySetup
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.latency import random_rows
from pipeline.trial.measure import MEGABYTE
from pipeline.trial.training.process import threads

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ENGINE = "onnxruntime"


@dataclass(frozen=True)
class Int8Network:
    """What was measured of one 8-bit form of the network. `validation` and `fp32_validation` are of the same rows."""

    kind: str
    kept: bool  # whether the folder has it
    file: str | None  # its name in the folder; None: made again from the fp32 weights
    size_bytes: int
    engine: str
    validation: float
    fp32_validation: float
    times: tuple[TimeInTurns, ...]  # beside fp32 in the same engine
    test: dict[str, dict[str, float]] | None = None  # by part; of the kept one

    @property
    def loss(self) -> float:
        """What 8 bits cost of the metric on validation rows; negative if they gained."""
        return self.fp32_validation - self.validation


def scores_of(form: Int8Network, *, trial: int, point: int) -> Int8Scores:
    """Return what the study keeps of a form; times of a busy machine are none."""
    time = form.times[0]
    return Int8Scores(
        trial=trial,
        point=point,
        kind=form.kind,
        engine=form.engine,
        metric=form.validation,
        fp32_metric=form.fp32_validation,
        size_mb=form.size_bytes / MEGABYTE,
        ms=None if time.disturbed else time.ms,
        fp32_ms=None if time.disturbed else time.fp32_ms,
        batch=time.bench.batch,
        length=time.bench.length,
        threads=time.bench.threads,
        device=time.bench.device,
    )


def make_int8(
    model: PreTrainedModel,
    inputs: TrialInputs,
    folder: Path,
    *,
    kinds: Sequence[str],
    benches: Sequence[LatencySetup],
    least: float,
    onnx: Path | None = None,
) -> tuple[tuple[Int8Network, ...], nn.Module]:
    """Make the network's 8-bit forms, and put the fastest whose metric is at least `least` into the folder.

    Args:
        model: the network in fp32, in eval mode, on the CPU.
        inputs: of its study: training rows to calibrate on, validation rows to measure on.
        folder: that the file of the kept form is written into.
        kinds: of KINDS, installed.
        benches: batches to time, at the same number of threads.
        least: the least metric on validation.
        onnx: the network's model.onnx; None to write it for this alone.

    Returns:
        One result for each kind, and the kept network, which can be evaluated.

    Raises:
        BadInput: no form has that metric.
    """
    metric = _metric(inputs)
    reference = metric(model)
    found: list[tuple[Int8Network, Quantised]] = []
    with TemporaryDirectory(dir=folder.parent) as scratch, threads(benches[0].threads):
        outputs = HEADS[inputs.kind.network].outputs
        fp32 = Fp32(
            model, _onnx(model, kinds, onnx, Path(scratch), outputs), inputs.data.train, benches[0].threads
        )
        for name in kinds:
            place = Path(scratch) / name
            place.mkdir()
            made = KINDS[name].make(fp32, place)
            times = tuple(
                time_beside(made.network, made.fp32, bench, random_rows(model, bench.shape))
                for bench in benches
            )
            file = None if made.file is None else made.file.name
            score = metric(made.network)
            found.append(
                (Int8Network(name, False, file, made.size_bytes, made.engine, score, reference, times), made)
            )
        chosen = _fastest(found, least, inputs.metric_name)
        if (file_made := chosen[1].file) is not None:
            file_made.rename(folder / file_made.name)
    results = tuple(replace(result, kept=result is chosen[0]) for result, _ in found)
    return results, chosen[1].network


def _metric(inputs: TrialInputs) -> Callable[[Any], float]:
    return lambda network: inputs.evaluate(network, precision="fp32").metrics["metric"]


def _onnx(
    model: PreTrainedModel, kinds: Sequence[str], known: Path | None, scratch: Path, outputs: tuple[str, ...]
) -> Path | None:
    if known is not None or all(ENGINE not in KINDS[name].packages for name in kinds):
        return known
    write_onnx(scratch / "model.onnx", model, outputs=outputs)
    return scratch / "model.onnx"


def _fastest(
    found: Sequence[tuple[Int8Network, Quantised]], least: float, metric_name: str
) -> tuple[Int8Network, Quantised]:
    holds = [each for each in found if each[0].validation >= least]
    if not holds:
        best, _ = max(found, key=lambda each: each[0].validation)
        raise BadInput(
            f"No 8-bit network keeps {metric_name} at {least:.4f} on validation rows, which the bounds ask for: "
            + ", ".join(f"{each.kind} has {each.validation:.4f}" for each, _ in found)
            + f"; in fp32 it is {best.fp32_validation:.4f}. Choose a larger network (--point), allow "
            "more (--max-drop), or leave --int8 out."
        )
    return min(holds, key=lambda each: each[0].times[0].ms)
