"""What the output projections of a network read and what the loss makes of what they write, over calibration rows.

Shapes: T real tokens, n inputs and d outputs of a projection.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pipeline.model.anatomy import Anatomy
from pipeline.model.eval_mode import evaluating
from pipeline.model.layer_parts import Block
from pipeline.task.batches import Batch, encoder_inputs, real_tokens
from pipeline.task.kinds import Kind

Place = tuple[int, str]  # the layer's number in the dense model, attention_output or ffn_out


@dataclass(eq=False)
class Branch:
    """One output projection: its inputs' moments, and how much the loss depends on its outputs."""

    block: Block
    sum: Tensor = field(default_factory=lambda: torch.zeros(0))  # of inputs [n]
    products: Tensor = field(default_factory=lambda: torch.zeros(0))  # of inputs [n, n]
    squares: Tensor = field(
        default_factory=lambda: torch.zeros(0)
    )  # of the loss's derivatives by outputs [d]
    tokens: int = 0

    @property
    def covariance(self) -> Tensor:
        """Their covariance [n, n]."""
        mean = self.sum / self.tokens
        return self.products / self.tokens - torch.outer(mean, mean)

    @property
    def second_moment(self) -> Tensor:
        """Their second moment [n, n], not centred."""
        return self.products / self.tokens

    @property
    def sensitivity(self) -> Tensor:
        """Mean square [d] of the derivative of a row's loss by one token's output: the Fisher matrix's diagonal."""
        return self.squares / self.tokens


def read_branches(
    model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch], kind: Kind
) -> dict[Place, Branch]:
    """Run the network forward and backward over the rows, in eval mode, and add up what its branches read and write.

    Labels are drawn from the network's own predictions, so that squared derivatives are its Fisher information; those
    of the rows are not read.
    """
    found = {(part.index, name): Branch(block) for part in anatomy.layers for name, block, _ in part.blocks}
    device = next(model.parameters()).device
    draws = torch.Generator(device).manual_seed(0)
    with evaluating(model):
        for batch in batches:
            _add(model, found, {name: value.to(device) for name, value in batch.items()}, kind, draws)
    return found


def _add(
    model: nn.Module, found: dict[Place, Branch], batch: Batch, kind: Kind, draws: torch.Generator
) -> None:
    """Add one batch."""
    probes: list[
        Tensor
    ] = []  # zeros that are added to outputs: the loss's derivative by them is that by the outputs

    def hook(branch: Branch, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        real = real_tokens(batch, output)
        read = args[0].detach()[real].float()
        if not branch.tokens:
            branch.sum, branch.products = (
                read.new_zeros(read.shape[1]),
                read.new_zeros(read.shape[1], read.shape[1]),
            )
            branch.squares = read.new_zeros(output.shape[-1])
        branch.sum += read.sum(0)
        branch.products.addmm_(read.T, read)
        branch.tokens += len(read)
        probes.append(torch.zeros_like(output, requires_grad=True))
        return output + probes[-1]

    with ExitStack() as hooks, torch.enable_grad():
        for branch in found.values():
            handle = branch.block.output.register_forward_hook(
                lambda _linear, args, output, branch=branch: hook(branch, args, output)
            )
            hooks.callback(handle.remove)
        outputs = kind.outputs(model(**encoder_inputs(batch)), batch).float()
        if not probes:
            return
        derivatives = torch.autograd.grad(kind.drawn_loss(outputs, batch, draws), probes)
    for branch, derivative in zip(found.values(), derivatives, strict=True):
        branch.squares += derivative[real_tokens(batch, derivative)].float().square().sum(0)
