"""Write a network for other engines, check what they compute, and time them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline.export.engines.engine import ENGINES, ONNX
from pipeline.export.in_turns import TimeInTurns, time_beside
from pipeline.export.onnx import check_outputs, write_onnx
from pipeline.model.heads import HEADS
from pipeline.study.store import LatencySetup
from pipeline.trial.inputs import TrialInputs
from pipeline.trial.latency import random_rows
from pipeline.trial.training.process import threads

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class EngineNetwork:
    """What was measured of a network in another engine."""

    name: str  # of ENGINES
    engine: str  # its package and version
    file: str
    difference: float  # the largest of an output from PyTorch's
    times: tuple[TimeInTurns, ...]  # beside PyTorch


def make_engines(
    model: PreTrainedModel,
    inputs: TrialInputs,
    folder: Path,
    *,
    names: Sequence[str],
    benches: Sequence[LatencySetup],
) -> tuple[EngineNetwork, ...]:
    """Write a network for other engines into an exported folder, check and time it there.

    Args:
        model: in eval mode, on the CPU, in fp32.
        inputs: of its study: validation rows, on which outputs are compared with PyTorch's.
        folder: that is written into.
        names: of ENGINES, installed.
        benches: batches to time, at the same number of threads.

    Raises:
        RuntimeError: outputs differ from PyTorch's.
    """
    count = benches[0].threads
    with TemporaryDirectory(dir=folder.parent) as scratch, threads(count):
        onnx = (folder if ONNX in names else Path(scratch)) / ENGINES[ONNX].file
        write_onnx(onnx, model, outputs=HEADS[inputs.kind.network].outputs)
        made = []
        for name in names:
            engine = ENGINES[name]
            network = engine.open(onnx, folder, model.config, count)
            difference = check_outputs(network, model, inputs.data.validation)
            times = tuple(
                time_beside(network, model, each, random_rows(model, each.shape)) for each in benches
            )
            said = f"{engine.package} {version(engine.package)}"
            made.append(EngineNetwork(name, said, engine.file, difference, times))
    return tuple(made)
