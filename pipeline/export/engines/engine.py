"""The engines that a network is written for, by the option that asks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from pipeline.export.engines.openvino import FILE, openvino_network
from pipeline.export.onnx import PACKAGES, WRITTEN_BY, OnnxNetwork, open_session, session_call
from pipeline.study.records import BadInput

ONNX, OPENVINO = "onnx", "openvino"  # names of options, and of prunefront's extras


@dataclass(frozen=True)
class Engine:
    """An engine.

    Attributes:
        package: the module of the engine itself; its version is said.
        needs: all modules that writing takes.
        file: what is written, in the exported folder.
        open: (model.onnx, exported folder, the network's configuration, threads) -> the network in this engine, which
            takes tensors and gives outputs by name; what it needs is written into the folder.
        loading: (names of outputs, Python that makes inputs as numpy's arrays) -> Python that opens DIR and computes.
    """

    package: str
    needs: tuple[str, ...]
    file: str
    open: Callable[[Path, Path, Any, int], nn.Module]
    loading: Callable[[tuple[str, ...], str], str]


def _onnxruntime(onnx: Path, _folder: Path, config: Any, threads: int) -> nn.Module:
    return OnnxNetwork(open_session(onnx, threads=threads), config)


def _onnxruntime_lines(outputs: tuple[str, ...], given: str) -> str:
    return (
        "import onnxruntime\n\n"
        "options = onnxruntime.SessionOptions()  # on a CPU the basic optimisations are the quickest here\n"
        "options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC\n"
        'session = onnxruntime.InferenceSession("DIR/model.onnx", options)\n'
        f"{session_call(outputs, given)}"
    )


def _openvino_lines(outputs: tuple[str, ...], given: str) -> str:
    one = "[0]" * (len(outputs) == 1)
    return (
        "import openvino\n\n"
        "# without this OpenVINO computes in bf16 where the processor can: faster, and not checked\n"
        'precision = {"INFERENCE_PRECISION_HINT": "f32"}\n'
        f'network = openvino.Core().compile_model("DIR/{FILE}", "CPU", precision)\n'
        f"{', '.join(outputs)} = network(dict({given})).to_tuple(){one}"
    )


ENGINES = {
    ONNX: Engine("onnxruntime", PACKAGES, "model.onnx", _onnxruntime, _onnxruntime_lines),
    OPENVINO: Engine("openvino", (*WRITTEN_BY, "openvino"), FILE, openvino_network, _openvino_lines),
}


def check_engines(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of engines, once it is clear that their packages are installed.

    Raises:
        BadInput: one is missing; the message has the command that installs it.
    """
    for name in names:
        missing = [package for package in ENGINES[name].needs if find_spec(package) is None]
        if missing:
            raise BadInput(
                f"--{name} needs {', '.join(missing)}, not installed here. pip install 'prunefront[{name}]'"
            )
    return tuple(names)
