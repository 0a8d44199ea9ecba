"""One training in several processes, each with a GPU and a part of every batch: gradients are added up, weights alike.

All processes begin a phase with the first one's weights, make the same steps of the same optimizer, and so stay alike.
What depends on a whole batch, as SNIP's norms do, is summed over the processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, final

import torch
import torch.distributed as processes
from torch import Tensor, nn

from pipeline.task.batches import Batch

SEEDS_APART = 104_729  # of dropout in two processes


@final
class Group:
    """The processes of one training; this one is number `rank` of `size`."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    @property
    def seed(self) -> int:
        """What this process adds to a seed, so that its rows have a dropout of their own."""
        return SEEDS_APART * self.rank

    def own(self, parts: Sequence[Batch]) -> list[tuple[Batch, bool]]:
        """Return this process's parts of a batch, as many as every other has, and whether each counts.

        Where there are too few for all, some have the last one again, without weight.
        """
        rounds = -(-len(parts) // self.size)
        places = range(self.rank, rounds * self.size, self.size)
        return [(parts[min(place, len(parts) - 1)], place < len(parts)) for place in places]

    def summed(self, values: Tensor) -> Tensor:
        """Return sums over the processes; gradients come back from all of them."""
        found: Tensor = _Summed.apply(values)  # type: ignore[no-untyped-call]
        return found

    def add_up(self, optimizer: torch.optim.Optimizer, found: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Add up the gradients of all that an optimizer learns, and values [] each, in one exchange; return these."""
        learned = chain.from_iterable(group["params"] for group in optimizer.param_groups)
        gradients = [parameter.grad for parameter in learned if parameter.grad is not None]
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), torch.stack(list(found))])
        processes.all_reduce(flat)
        sizes = [gradient.numel() for gradient in gradients]
        *summed, values = torch.split(flat, [*sizes, len(found)])
        torch._foreach_copy_(
            gradients, [each.view_as(gradient) for each, gradient in zip(summed, gradients, strict=True)]
        )
        added: tuple[Tensor, ...] = values.unbind()
        return added

    @torch.no_grad()
    def begin_alike(self, model: nn.Module) -> None:
        """Give the network the weights that it has in the first process."""
        for tensor in _all_of(model):
            processes.broadcast(tensor, 0)


def _all_of(model: nn.Module) -> Iterable[Tensor]:
    return chain((parameter.data for parameter in model.parameters()), model.buffers())


class _Summed(torch.autograd.Function):
    """Σ over processes; back, Σ of their gradients: each process's loss reads the sum."""

    @staticmethod
    def forward(_ctx: Any, values: Tensor) -> Tensor:
        found = values.clone()
        processes.all_reduce(found)
        return found

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:
        found = gradients[0].clone()
        processes.all_reduce(found)
        return found
