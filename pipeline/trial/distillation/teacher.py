"""The teacher of a study: the outputs of networks for the training rows, computed once in large batches, and kept.

In eval mode a network's output for a row is always the same, so no training step has to compute it again.
Shapes: R training rows, C outputs, d features.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.model.anatomy import encoder_layers
from pipeline.model.eval_mode import evaluating
from pipeline.study.records import Array, BadInput
from pipeline.study.whole_file import whole_file
from pipeline.task.batches import Split, encoder_inputs
from pipeline.task.kinds import Kind
from pipeline.task.padded import alike
from pipeline.trial.distillation.states import mean_state
from pipeline.trial.training.precision import autocast, gpu_kernels

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Rows at once: on a CPU small batches stay in its cache.
CPU_BATCH, ACCELERATOR_BATCH = 32, 256


@dataclass(frozen=True, eq=False)
class Outputs:
    """One network's outputs for rows: `logits` [R, ...] as `Kind.taught` keeps them; `features` [R, d] in fp16.

    Features are the first token's last hidden state, `layers` [R, L, d] the mean states above each layer, if they were
    asked for; both in fp16 and of length 1.
    """

    logits: Array
    features: Array
    layers: Array | None = None


@dataclass(frozen=True, eq=False)
class Teacher:
    """What a study's trials learn from, by number of training row.

    `logits` [R, ...] are the dense network's (see `Outputs`); `finetuned` and `pretrained` [R, d] are
    features of it and of the model as it came, `layers` [R, L, d] its states, where a trial may use them.
    """

    logits: Array
    finetuned: Array | None = None
    pretrained: Array | None = None
    layers: Array | None = None


def compute_outputs(
    model: PreTrainedModel, split: Split, kind: Kind, *, precision: str, layers: bool = False
) -> Outputs:
    """Run a network over all rows once, in eval mode, sorted by length; the training flag is restored.

    It waits for the device once, at the end.

    Args:
        model: whose outputs they are.
        split: the rows.
        kind: of their task.
        precision: of the forward pass.
        layers: whether the states above each layer are kept, too; the network is then one that nothing was cut from.
    """
    device = next(model.parameters()).device
    cast, products = autocast(device, precision), gpu_kernels(device, precision)
    logits: list[Tensor] = []
    features: list[Tensor] = []
    rows: list[Tensor] = []
    above: list[Tensor] = []  # of the batch at hand [B, T, d], one for each layer
    states: list[Tensor] = []
    size = CPU_BATCH if device.type == "cpu" else ACCELERATOR_BATCH
    kept = _states(model, above) if layers else nullcontext()
    with evaluating(model), _first_tokens(model, features), kept, torch.inference_mode(), products, cast:
        for batch in split.in_length_order(size):
            here = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
            logits.append(kind.taught(kind.outputs(model(**encoder_inputs(here)), here), here))
            rows.append(batch["rows"])
            if layers:
                states.append(torch.stack([mean_state(state, here) for state in above], dim=1).half())
                above.clear()
        found = [torch.cat(alike(logits)), nn.functional.normalize(torch.cat(features), dim=-1).half()]
    order = torch.cat(rows).argsort()
    found += [torch.cat(states)] if layers else []
    return Outputs(*(each.cpu()[order].numpy() for each in found))


@contextmanager
def _first_tokens(model: PreTrainedModel, into: list[Tensor]) -> Iterator[None]:
    """Append the first token's last hidden state [B, d] of every forward pass to `into`, inside the context."""

    def keep(_encoder: nn.Module, _args: object, output: tuple[Tensor, ...]) -> None:
        into.append(output[0][:, 0].float())

    handle = model.base_model.register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _states(model: PreTrainedModel, into: list[Tensor]) -> Iterator[None]:
    """Append the hidden state above each layer [B, T, d] of every forward pass to `into`, inside the context."""

    def keep(_layer: nn.Module, _args: object, output: Tensor | tuple[Tensor, ...]) -> None:
        into.append(output if isinstance(output, Tensor) else output[0])

    with ExitStack() as hooks:
        for layer in encoder_layers(model, model.config.model_type):
            hooks.callback(layer.register_forward_hook(keep).remove)
        yield


def write_teacher(path: Path, teacher: Teacher) -> None:
    """Write what a study's trials learn from; the file appears whole or not at all."""
    write_arrays(path, {name: array for name, array in vars(teacher).items() if array is not None})


def read_teacher(path: Path, *, rows: int) -> Teacher:
    """Read what `write_teacher` wrote.

    Args:
        path: of the file.
        rows: the number of training rows that it must be about.

    Raises:
        BadInput: it is missing, damaged, or about other rows.
    """
    from safetensors import SafetensorError

    law = "A study that distils keeps its dense network's outputs for the training rows"
    way_out = "Remove the file and run the same search again: it computes them anew."
    try:
        arrays = read_arrays(path)
    except FileNotFoundError as error:
        raise BadInput(f"{path} is gone. {law}. Run the same search again: it computes them anew.") from error
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path} cannot be read: {error}. {law}. {way_out}") from error
    names = {field.name for field in fields(Teacher)}
    if not {"logits"} <= arrays.keys() <= names or any(len(array) != rows for array in arrays.values()):
        raise BadInput(f"{path} is about other rows than the {rows} there are. {law}. {way_out}")
    return Teacher(**arrays)


def write_arrays(path: Path, arrays: dict[str, Array]) -> None:
    """Write arrays by name; the file appears whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        with whole_file(path) as part:
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, part)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def read_arrays(path: Path) -> dict[str, Array]:
    """Read what `write_arrays` wrote."""
    from safetensors.numpy import load_file

    return dict(load_file(path))
