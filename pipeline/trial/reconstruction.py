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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.model.anatomy import Anatomy, encoder_layers, find_architecture
from pipeline.model.cut_blocks import Architecture
from pipeline.model.eval_mode import evaluating
from pipeline.model.layer_parts import Block, hidden_of, returned
from pipeline.task.batches import Batch, Split, encoder_inputs, real_tokens
from pipeline.trial.least_squares import fit

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENS_PER_INPUT = (
    4  # of calibration rows, per input of the widest projection: their targets are kept in memory
)
BATCH = 64  # rows

Place = tuple[int, str]  # the layer's number in the dense model, the projection's name


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
        return cls(batches, _streams(model, anatomy, batches))

    @torch.no_grad()
    def refit(self, model: PreTrainedModel, anatomy: Anatomy) -> None:
        """Refit a network that was cut from the uncut one, or whose weights were zeroed, and not trained since.

        What a layer becomes depends on nothing but that layer and those below it.

        Args:
            model: the network; its output projections get new weights, in place.
            anatomy: its own.
        """
        for place, block, inputs, residual in _projections(model, anatomy, self.batches):
            branch, factors = self.targets[place] - residual, block.factors
            fit(block.output, inputs, branch if factors is None else branch / factors)


@torch.no_grad()
def _streams(model: PreTrainedModel, anatomy: Anatomy, batches: Sequence[Batch]) -> dict[Place, Tensor]:
    """Return branch + residual [T, d] of every block, over the real tokens of all batches."""
    found: dict[Place, list[Tensor]] = {}
    with evaluating(model):
        for batch in batches:
            _stream(model, anatomy, batch, found)
    return {place: torch.cat(parts) for place, parts in found.items()}


def _stream(model: PreTrainedModel, anatomy: Anatomy, batch: Batch, found: dict[Place, list[Tensor]]) -> None:
    """Add one batch."""
    read: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        read[module] = args[0]

    def add(place: Place, stream: nn.Module, branch: Tensor) -> None:
        found.setdefault(place, []).append((branch + read[stream])[real_tokens(batch, branch)])

    with ExitStack() as hooks:
        for part, layer in zip(anatomy.layers, encoder_layers(model, anatomy.architecture), strict=True):
            for name, block, _ in part.blocks:
                stream = layer if block.reads is None else block.reads
                hooks.callback(stream.register_forward_pre_hook(keep).remove)
                hook = block.branch.register_forward_hook(
                    lambda _module, _args, branch, place=(part.index, name), stream=stream: add(
                        place, stream, branch
                    )
                )
                hooks.callback(hook.remove)
        model.base_model(**batch)


@torch.no_grad()
def _projections(
    model: PreTrainedModel, anatomy: Anatomy, batches: Sequence[Batch]
) -> Iterator[tuple[Place, Block, Tensor, Tensor]]:
    """Go through a network from below, with all batches at once, and stop at every output projection.

    Yields its place, the block that it ends, its inputs [T, n] and the residual [T, d] that the branch is added to.
    What the caller makes of the projection is what the layers above it read.
    """
    with evaluating(model):
        calls = [_calls(model, anatomy, batch) for batch in batches]
        hidden = [each[0].args[0] for each in calls] if anatomy.layers else []
        real = [real_tokens(batch, state) for batch, state in zip(batches, hidden, strict=False)]
        for number, layer in enumerate(encoder_layers(model, anatomy.architecture)):
            part = anatomy.layers[number]
            for name, block, _ in part.blocks:
                reached = [
                    each[number].up_to(layer, state, block) for each, state in zip(calls, hidden, strict=True)
                ]
                inputs, residual = (
                    torch.cat([found[tokens] for found, tokens in zip(side, real, strict=True)])
                    for side in zip(*reached, strict=True)
                )
                yield (part.index, name), block, inputs, residual
            hidden = [each[number].run(layer, state) for each, state in zip(calls, hidden, strict=True)]


@dataclass(frozen=True)
class _Call:
    """What the model gives to one of its layers, the hidden state first; and what its maps have given so far."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    given: dict[nn.Module, list[Tensor]] = field(default_factory=dict)

    def run(self, layer: nn.Module, hidden: Tensor) -> Tensor:
        """Return the layer's output [B, T, d] for a hidden state."""
        with ExitStack() as undo:
            for module, outputs in self.given.items():  # it reads what it read before, in the same order
                module.forward = lambda _, left=iter(outputs): next(left)
                undo.callback(delattr, module, "forward")
            found = hidden_of(layer(hidden, *self.args[1:], **self.kwargs))
        self.given.clear()
        return found

    def up_to(self, layer: nn.Module, hidden: Tensor, block: Block) -> tuple[Tensor, Tensor]:
        """Run a layer up to a block's output; return its input, and the residual that the branch is added to.

        Nothing below that output may change before the layer is run.
        """
        output, residual = block.output, block.reads
        inputs: dict[nn.Module, Tensor] = {}
        given: dict[nn.Module, list[Tensor]] = {}

        def keep(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            inputs[module] = args[0]
            if module is output:
                raise _ReachedError

        def hold(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
            given.setdefault(module, []).append(output)

        watched = [output] if residual is None else [output, residual]
        with ExitStack() as hooks, suppress(_ReachedError):
            for module in watched:
                hooks.callback(module.register_forward_pre_hook(keep).remove)
            for module in block.maps.values():
                hooks.callback(module.register_forward_hook(hold).remove)
            self.run(layer, hidden)
        self.given.update(given)
        return inputs[output], hidden if residual is None else inputs[residual]


class _ReachedError(Exception):
    """A layer was run as far as it is needed."""


def _calls(model: PreTrainedModel, anatomy: Anatomy, batch: Batch) -> list[_Call]:
    """Return what the model gives to each of its layers, without running them."""
    where = find_architecture(anatomy.architecture)
    layers = encoder_layers(model, anatomy.architecture)
    found: list[_Call] = []
    with ExitStack() as undo:
        for number, layer in enumerate(layers):
            undo.callback(layers.__setitem__, number, layer)
            layers[number] = _Recorder(found, layer, where)
        model.base_model(**batch)
    return found


class _Recorder(nn.Module):
    """Stands in for a layer: its forward pass keeps its arguments and returns the hidden state."""

    def __init__(self, found: list[_Call], layer: nn.Module, where: Architecture) -> None:
        super().__init__()
        self._found, self._where = found, where
        vars(self).update({name: getattr(layer, name) for name in where.layer_attributes})

    def forward(self, *args: Any, **kwargs: Any) -> Tensor | tuple[Tensor, None]:
        """Return the hidden state [B, T, d] as it comes."""
        self._found.append(_Call(args, kwargs))
        return returned(self._where, args[0])


def _tokens(anatomy: Anatomy) -> int:
    """Return how many tokens are enough for the widest projection of the dense network."""
    return TOKENS_PER_INPUT * max(anatomy.neurons_per_layer, anatomy.heads_per_layer * anatomy.head_size)


def _at_most(rows: Split, tokens: int) -> Split:
    """Return evenly spread rows that have about as many tokens, or all of them if they have fewer."""
    total = int(rows.lengths.sum())
    if total <= tokens:
        return rows
    count = max(1, round(len(rows) * tokens / total))
    return rows.take(np.linspace(0, len(rows) - 1, count).round().astype(np.int64))
