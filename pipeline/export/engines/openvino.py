"""A network in OpenVINO: openvino_model.xml with openvino_model.bin, the names by which Optimum finds them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from pipeline.export.onnx import arrays

FILE = "openvino_model.xml"


class OpenvinoNetwork(nn.Module):
    """A compiled model of OpenVINO as a network of torch: it can be evaluated and timed like one."""

    def __init__(self, compiled: Any, config: Any) -> None:
        super().__init__()
        self.compiled = compiled
        self.config = config  # of the network that it was written from
        self.names, self.outputs = (
            tuple(entry.get_any_name() for entry in entries)
            for entries in (compiled.inputs, compiled.outputs)
        )

    def forward(self, **inputs: Tensor) -> SimpleNamespace:
        """Return the outputs by name, as the library's networks do."""
        found = self.compiled(arrays(inputs, self.names))
        return SimpleNamespace(**{name: torch.from_numpy(found[name]) for name in self.outputs})


def openvino_network(onnx: Path, folder: Path, config: Any, threads: int) -> nn.Module:
    """Write a model.onnx as FILE, and open that, on the CPU in fp32."""
    openvino = _openvino()
    openvino.save_model(openvino.convert_model(onnx), folder / FILE, compress_to_fp16=False)
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    return OpenvinoNetwork(openvino.Core().compile_model(folder / FILE, "CPU", settings), config)


def _openvino() -> Any:
    """Return the module, without its telemetry: that would report the import to Google, and write into the home."""
    sys.modules.setdefault(
        "openvino_telemetry", cast("Any", None)
    )  # OpenVINO goes on without what cannot be imported
    import openvino

    return openvino
