"""Reconstruction: what is left of a cut network is refitted in closed form, so that its stream is the uncut one's.

    uncut network + calibration rows -> Reconstruction;   Reconstruction + cut network -> refitted, in place

From the lowest layer up, the output projection of every block that is left is fitted by ridge regression, so that
branch plus residual are, over the real tokens of the calibration rows, what they were in the uncut network. x are the
inputs that the projection has in the cut network, whose lower layers are fitted already:

    min_V,b  mean |t - r - V x - b|^2 + ridge |V - W|^2     t: branch + residual of the uncut network
                                                            r: the residual, W: the weights, both of the cut network

No labels and no gradients are needed. Weights that were set to zero stay zero.

Sources: least squares after structured removal, Kwon et al. 2022 (arXiv 2204.09656, section 3.4) and ZipLM
(arXiv 2302.04089, eq. 2); blocks fitted to the dense network's, arXiv 2510.14444.

Shapes: B batches, T real tokens of all calibration rows, d hidden features, n inputs of a projection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.model.anatomy import Anatomy, encoder_layers
from pipeline.task.batches import Batch, Split, encoder_inputs
from pipeline.trial.least_squares import fit

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENS_PER_INPUT = (
    4  # of calibration rows, per input of the widest projection: their targets are kept in memory
)
BATCH = 64  # rows

Place = tuple[int, str]  # the layer's number in the dense model, the projection's name in LayerParts


@final
@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The stream of an uncut network on calibration rows: after each branch, branch + residual [T, d]."""

    batches: tuple[Batch, ...]
    targets: dict[Place, Tensor]

    @classmethod
    @torch.no_grad()
    def of(cls, model: PreTrainedModel, anatomy: Anatomy, rows: Split) -> Reconstruction:
        """Run the uncut network once over the calibration rows, in eval mode.

        Args:
            model: before a cut; it may have been cut before.
            anatomy: its own.
            rows: of calibration; their labels are not read.
        """
        device = next(model.parameters()).device
        batches = tuple(
            {name: value.to(device) for name, value in encoder_inputs(batch).items()}
            for batch in _at_most(rows, _tokens(anatomy)).in_length_order(BATCH)
        )
        targets: dict[Place, Tensor] = {}
        for place, output, inputs, residual in _projections(model, anatomy, batches):
            targets[place] = output(inputs) + residual
        return cls(batches, targets)

    @torch.no_grad()
    def refit(self, model: PreTrainedModel, anatomy: Anatomy) -> None:
        """Refit a network that was cut from the uncut one, or whose weights were zeroed, and not trained since.

        What a layer becomes depends on nothing but that layer and those below it.

        Args:
            model: the network; its output projections get new weights, in place.
            anatomy: its own.
        """
        for place, output, inputs, residual in _projections(model, anatomy, self.batches):
            fit(output, inputs, self.targets[place] - residual)


@torch.no_grad()
def _projections(
    model: PreTrainedModel, anatomy: Anatomy, batches: Sequence[Batch]
) -> Iterator[tuple[Place, nn.Linear, Tensor, Tensor]]:
    """Go through a network from below, with all batches at once, and stop at every output projection.

    Yields its place, the projection, its inputs [T, n] and the residual [T, d] that its output is added to. What the
    caller makes of the projection is what the layers above it read.
    """
    training = model.training
    model.train(False)
    try:
        real = [batch["attention_mask"].bool() for batch in batches]
        calls = [_calls(model, anatomy, batch) for batch in batches]
        hidden = [each[0].args[0] for each in calls] if anatomy.layers else []
        for number, layer in enumerate(encoder_layers(model, anatomy.architecture)):
            part = anatomy.layers[number]
            for name, output, before in (
                ("attention_output", part.attention_output, None),
                ("ffn_out", part.ffn_out, part.ffn_in),
            ):
                if output is None:
                    continue
                reached = [
                    each[number].up_to(layer, state, output, residual=before)
                    for each, state in zip(calls, hidden, strict=True)
                ]
                inputs, residual = (
                    torch.cat([found[tokens] for found, tokens in zip(side, real, strict=True)])
                    for side in zip(*reached, strict=True)
                )
                yield (part.index, name), output, inputs, residual
            hidden = [each[number].run(layer, state) for each, state in zip(calls, hidden, strict=True)]
    finally:
        model.train(training)


@dataclass(frozen=True)
class _Call:
    """What the model gives to one of its layers, the hidden state first."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def run(self, layer: nn.Module, hidden: Tensor) -> Tensor:
        """Return the layer's output [B, T, d] for a hidden state."""
        output: Tensor | tuple[Tensor, ...] = layer(hidden, *self.args[1:], **self.kwargs)
        return output if isinstance(output, Tensor) else output[0]

    def up_to(
        self, layer: nn.Module, hidden: Tensor, output: nn.Linear, *, residual: nn.Linear | None
    ) -> tuple[Tensor, Tensor]:
        """Run a layer up to a projection; return its input, and the residual that its output is added to.

        The residual is the input of the map `residual`, or the layer's own without one: so it is in post-LayerNorm
        blocks.
        """
        inputs: dict[nn.Module, Tensor] = {}

        def keep(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            inputs[module] = args[0]
            if module is output:
                raise _ReachedError

        watched = [output] if residual is None else [output, residual]
        with ExitStack() as hooks, suppress(_ReachedError):
            for module in watched:
                hooks.callback(module.register_forward_pre_hook(keep).remove)
            self.run(layer, hidden)
        return inputs[output], hidden if residual is None else inputs[residual]


class _ReachedError(Exception):
    """A layer was run as far as it is needed."""


def _calls(model: PreTrainedModel, anatomy: Anatomy, batch: Batch) -> list[_Call]:
    """Return what the model gives to each of its layers, without running them."""
    layers = encoder_layers(model, anatomy.architecture)
    found: list[_Call] = []
    with ExitStack() as undo:
        for number, layer in enumerate(layers):
            undo.callback(layers.__setitem__, number, layer)
            layers[number] = _Recorder(found)
        model.base_model(**batch)
    return found


class _Recorder(nn.Module):
    """Takes the place of a layer: it keeps what it is given, and returns the hidden state."""

    def __init__(self, found: list[_Call]) -> None:
        super().__init__()
        self._found = found

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the hidden state [B, T, d] as it comes."""
        self._found.append(_Call(args, kwargs))
        hidden: Tensor = args[0]
        return hidden


def _tokens(anatomy: Anatomy) -> int:
    """Return how many tokens are enough for the widest projection of the dense network."""
    return TOKENS_PER_INPUT * max(anatomy.neurons_per_layer, anatomy.heads_per_layer * anatomy.head_size)


def _at_most(rows: Split, tokens: int) -> Split:
    """Return evenly spread rows that have about so many tokens, or all of them if they have fewer."""
    total = int(rows.lengths.sum())
    if total <= tokens:
        return rows
    count = max(1, round(len(rows) * tokens / total))
    return rows.take(np.linspace(0, len(rows) - 1, count).round().astype(np.int64))
