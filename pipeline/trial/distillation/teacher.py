"""What networks say of the training rows, asked once in large batches, and kept: the teacher of a study.

In eval mode a network says the same of a row whenever it is asked, so that no training step has to ask again.
Shapes: R training rows, C outputs, d features.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.study.records import Array, BadInput
from pipeline.study.whole_file import whole_file
from pipeline.task.batches import Split, encoder_inputs
from pipeline.trial.training.precision import autocast, matmul_precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Rows at once: on a CPU small batches stay in its cache.
CPU_BATCH, ACCELERATOR_BATCH = 32, 256


@dataclass(frozen=True, eq=False)
class Seen:
    """What one network makes of rows: `logits` [R, C] in fp32; `features` [R, d] in fp16, each row of length 1.

    Features are the first token's last hidden state.
    """

    logits: Array
    features: Array


@dataclass(frozen=True, eq=False)
class Teacher:
    """What a study's trials learn from, by number of training row.

    `logits` [R, C] are the dense network's; `finetuned` and `pretrained` [R, d] are features (see `Seen`) of it and
    of the model as it came, where a trial may look at them.
    """

    logits: Array
    finetuned: Array | None = None
    pretrained: Array | None = None


def see(model: PreTrainedModel, split: Split, *, precision: str) -> Seen:
    """Runs a network over all rows once, in eval mode, sorted by length; the training flag is put back.

    The device is waited for once, at the end.
    """
    device = next(model.parameters()).device
    cast, products = autocast(device, precision), matmul_precision(device, precision)
    logits: list[Tensor] = []
    features: list[Tensor] = []
    rows: list[Tensor] = []
    size = CPU_BATCH if device.type == "cpu" else ACCELERATOR_BATCH
    with _evaluating(model), _first_tokens(model, features), torch.inference_mode(), products, cast:
        for batch in split.in_length_order(size):
            inputs = {
                name: value.to(device, non_blocking=True) for name, value in encoder_inputs(batch).items()
            }
            logits.append(model(**inputs).logits.float())
            rows.append(batch["rows"])
        found = [torch.cat(logits), nn.functional.normalize(torch.cat(features), dim=-1).half()]
    order = torch.cat(rows).argsort()
    return Seen(*(each.cpu()[order].numpy() for each in found))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.train(False)
    try:
        yield
    finally:
        model.train(training)


@contextmanager
def _first_tokens(model: PreTrainedModel, into: list[Tensor]) -> Iterator[None]:
    """Adds the first token's last hidden state [B, d] of every forward pass to `into`."""

    def keep(_encoder: nn.Module, _args: object, output: tuple[Tensor, ...]) -> None:
        into.append(output[0][:, 0].float())

    handle = model.base_model.register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()


def write_teacher(path: Path, teacher: Teacher) -> None:
    """Writes what a study's trials learn from; the file appears whole or not at all."""
    write_arrays(path, {name: array for name, array in vars(teacher).items() if array is not None})


def read_teacher(path: Path, *, rows: int) -> Teacher:
    """Reads what `write_teacher` wrote about so many rows.

    Raises:
        BadInput: it is gone, damaged, or about other rows.
    """
    from safetensors import SafetensorError

    law = "A study that distils keeps what its dense network said of the training rows"
    way_out = "Remove the file and run the same search again: it asks the dense network anew."
    try:
        arrays = read_arrays(path)
    except FileNotFoundError as error:
        raise BadInput(
            f"{law}; {path} is gone. Run the same search again: it asks the dense network anew."
        ) from error
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{law}; {path} cannot be read: {error}. {way_out}") from error
    names = {field.name for field in fields(Teacher)}
    if not {"logits"} <= arrays.keys() <= names or any(len(array) != rows for array in arrays.values()):
        raise BadInput(f"{law}; {path} is about other rows than the {rows} there are. {way_out}")
    return Teacher(**arrays)


def write_arrays(path: Path, arrays: dict[str, Array]) -> None:
    """Writes arrays by name; the file appears whole or not at all.

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
    """What `write_arrays` wrote."""
    from safetensors.numpy import load_file

    return dict(load_file(path))
