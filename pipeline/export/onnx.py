"""A network -> model.onnx, and a check that onnxruntime computes the same."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.model.image_inputs import IMAGES, image_shape
from pipeline.task.batches import INPUTS, Split, encoder_inputs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WRITTEN_BY = ("onnx", "onnxscript")
PACKAGES = (*WRITTEN_BY, "onnxruntime")
LOGITS = ("logits",)
TOLERANCE = 1e-4  # of outputs, fp32
ONE_FILE_BYTES = 1_900_000_000  # protobuf ends at 2 GB; weights beyond it go into model.onnx.data
TRACED = (2, 8)  # rows and tokens of the example: neither 0 nor 1, which an exporter takes for constants


class _Function(nn.Module):
    """A network as a function from arrays to arrays, its outputs by name."""

    def __init__(self, model: nn.Module, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.outputs = model, outputs

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        every = (input_ids, attention_mask, token_type_ids, pixel_values)
        inputs = {name: value for name, value in zip(INPUTS, every, strict=True) if value is not None}
        found = self.model(**inputs)
        return tuple(getattr(found, name) for name in self.outputs)


def write_onnx(path: Path, model: PreTrainedModel, *, outputs: tuple[str, ...] = LOGITS) -> None:
    """Write a network by torch's exporter; rows of a batch are free, and their tokens; images have one size.

    Args:
        path: of the file; beside it goes PATH.data if the weights are too large for one file.
        model: in eval mode, on the CPU.
        outputs: the names of what it returns, as `Stock.outputs`.
    """
    example = _example(model)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("sequence")
    free = {0: batch} if IMAGES in example else {0: batch, 1: length}
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    with torch.no_grad(), _quiet(), _plain_attention(model):
        torch.onnx.export(
            _Function(model, outputs),
            kwargs=example,
            f=str(path),
            dynamo=True,
            input_names=list(example),
            output_names=list(outputs),
            dynamic_shapes=dict.fromkeys(example, free),
            external_data=size > ONE_FILE_BYTES,
            verbose=False,
        )


def _example(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return a batch that the exporter traces, by the network's inputs."""
    names = input_names(model)
    if names == (IMAGES,):
        return {IMAGES: torch.rand(TRACED[0], *image_shape(model.config))}
    words = torch.randint(0, int(model.config.vocab_size), TRACED)
    example = {"input_ids": words, "attention_mask": torch.ones_like(words)}
    if "token_type_ids" in names:
        example["token_type_ids"] = torch.zeros_like(words)
    return example


def check_outputs(network: Any, model: PreTrainedModel, rows: Split) -> float:
    """Return the largest difference of an output between a network in another engine and PyTorch.

    Where the largest output is above 1 it is a part of that.

    Args:
        network: gives `outputs` by name.
        model: that it was written from.
        rows: of which batches of several shapes are compared.

    Raises:
        RuntimeError: it is more than TOLERANCE.
    """
    worst = 0.0
    for count in sorted({1, min(3, len(rows)), min(8, len(rows))}):
        inputs = encoder_inputs(rows.collate(np.arange(count)))
        with torch.inference_mode():
            ours, theirs = network(**inputs), model(**inputs)
        for name in network.outputs:
            mine, wanted = getattr(ours, name), getattr(theirs, name)
            size = max(1.0, float(wanted.abs().max()))  # values of a regression can be of thousands
            worst = max(worst, float((mine - wanted).abs().max()) / size)
    if not worst <= TOLERANCE:
        raise RuntimeError(
            f"An exported network computes what PyTorch does; here outputs differ by {worst:.2g}."
        )
    return worst


class OnnxNetwork(nn.Module):
    """A session of onnxruntime as a network of torch: it can be evaluated and timed like one."""

    def __init__(self, session: Any, config: Any) -> None:
        super().__init__()
        self.session = session
        self.config = config  # of the network that it was written from
        self.names = tuple(entry.name for entry in session.get_inputs())
        self.outputs = tuple(entry.name for entry in session.get_outputs())
        self.anchor = nn.Parameter(torch.empty(0), requires_grad=False)  # its device is read

    def forward(self, **inputs: Tensor) -> SimpleNamespace:
        """Return the outputs by name, as the library's networks do."""
        found = self.session.run(list(self.outputs), arrays(inputs, self.names))
        return SimpleNamespace(**dict(zip(self.outputs, map(torch.from_numpy, found), strict=True)))


def arrays(inputs: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return a session's inputs; token types that a tokenizer does not give are 0."""
    return {
        name: (inputs[name] if name in inputs else torch.zeros_like(inputs["input_ids"])).numpy()
        for name in names
    }


def open_session(path: Path, *, threads: int | None = None, optimisation: str = "basic") -> Any:
    """Open a model in onnxruntime on the CPU.

    The extended optimisations add each residual inside a SkipLayerNormalization, whose kernel for CPUs is slower than
    the addition and the LayerNormalization it replaces: a quarter of the time of a network that is cut by 75 %.

    Args:
        path: of the file.
        threads: within an operation; None for onnxruntime's choice.
        optimisation: of the graph, "basic" or "extended".
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(
        onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{optimisation.upper()}"
    )
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def session_call(outputs: tuple[str, ...], given: str) -> str:
    """Return the line of Python that runs a session on `given` and names its outputs."""
    names, quoted = ", ".join(outputs), ", ".join(f'"{name}"' for name in outputs)
    return f"{names} = session.run([{quoted}], dict({given})){'[0]' * (len(outputs) == 1)}"


def input_names(model: PreTrainedModel) -> tuple[str, ...]:
    """Return which of INPUTS the network takes: RoBERTa's token types have one kind and are left out."""
    if model.main_input_name == IMAGES:
        return (IMAGES,)
    taken = inspect.signature(model.forward).parameters
    kinds = getattr(model.config, "type_vocab_size", 1)
    return tuple(name for name in INPUTS if name in taken and (name != "token_type_ids" or kinds > 1))


@contextmanager
def _plain_attention(model: PreTrainedModel) -> Iterator[None]:
    """Use attention as plain products: the fused one is exported with a check for NaN over all scores, which is slow.

    No row is without a token, so there is none. (The library's own setter refuses classes that it does not know;
    layers read the configuration at every forward pass.)
    """
    config: Any = model.config
    fused = config._attn_implementation
    config._attn_implementation = "eager"
    try:
        yield
    finally:
        config._attn_implementation = fused


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which warns of its own deprecated parts and logs its steps."""
    loggers = {name: logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")}
    levels = {name: logger.level for name, logger in loggers.items()}
    for logger in loggers.values():
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, logger in loggers.items():
            logger.setLevel(levels[name])
