"""A gated method inside its watch, step by step, on a tiny network."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipeline.methods.base import Run
from pipeline.methods.bases.gated import Moment
from pipeline.methods.bases.gates import Gates
from pipeline.task.batches import encoder_inputs

CPU = torch.device("cpu")


def run_of(
    *, steps: int = 10, target: float | None = 0.5, threshold: float | None = None, seed: int = 0
) -> Run:
    return Run(steps, 12, target, torch.Generator().manual_seed(seed), threshold)


def moment_of(anatomy, level: str, *, done: float = 1.0, **run) -> Moment:
    return Moment(Gates(anatomy, level, device=CPU), run_of(**run), done)


@contextmanager
def watched(method, model, anatomy, *, lr: float = 0.0, **run) -> Iterator[torch.optim.Optimizer]:
    """SGD on the weights; the method's own group has the rate that it asks for."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    with method.watch(model, anatomy, optimizer, run_of(**run)):
        yield optimizer


def step(method, model, batch, optimizer) -> torch.Tensor:
    """One step in eval mode; gives the loss."""
    loss = torch.nn.functional.cross_entropy(model(**encoder_inputs(batch)).logits, batch["labels"])
    (loss + method.penalty(batch)).backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()
