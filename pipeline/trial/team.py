"""The processes of a trial on several GPUs: how they meet, and what the first one orders the others to train."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, final

import torch
import torch.distributed as processes
from torch import Tensor

from pipeline.study.records import Masks
from pipeline.trial.curve.chain import Chain
from pipeline.trial.distillation import Distillation
from pipeline.trial.training.data_parallel import Group
from pipeline.trial.training.listener import LoopState

PATIENCE = timedelta(days=1)  # between two exchanges: the first process draws a curve meanwhile
END = -1
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}  # all are on one machine


@dataclass(frozen=True)
class Order:
    """What the first process orders: a phase by its place, what was cut before, where it goes on, what it trains.

    `snapshots` are all that the first process has taken so far: the others measure and represent nothing.
    """

    phase: int
    masks: Masks | None
    start: LoopState | None
    chain: Chain
    snapshots: tuple[Tensor, ...] = ()

    def remind(self, distillation: Distillation | None) -> None:
        """Let another process learn from the snapshots that it does not have yet."""
        if distillation is not None:
            for features in self.snapshots[len(distillation.snapshots) :]:
                distillation.remember(features.numpy())


@final
class Team:
    """The processes of one trial, from the side of one of them."""

    def __init__(self, group: Group, folder: Path, device: torch.device) -> None:
        self.group, self._folder, self._device = group, folder, device
        self._orders = 0

    def order(
        self,
        phase: int,
        masks: Masks | None,
        start: LoopState | None,
        chain: Chain,
        distillation: Distillation | None = None,
    ) -> None:
        """Order the others to train a phase: cut to these masks, after this state, with the networks of a chain.

        They learn from the same snapshots as `distillation`.
        """
        order: dict[str, Any] = {"phase": phase, "chain": chain.state()}
        order["snapshots"] = [] if distillation is None else [each.cpu() for each in distillation.snapshots]
        if masks is not None:
            order["masks"] = [torch.from_numpy(mask) for mask in astuple(masks)]
        if start is not None:
            order |= {"step": start.step, "tensors": start.tensors}
        torch.save(order, self._file(self._orders))
        self._say(self._orders)
        self._orders += 1

    def end(self) -> None:
        """Order the others to end."""
        self._say(END)

    def await_order(self) -> Order | None:
        """Return the next order; None if it is to end."""
        number = torch.zeros((), dtype=torch.long, device=self._device)
        processes.broadcast(number, 0)
        if int(number) == END:
            return None
        order = torch.load(self._file(int(number)), weights_only=True, map_location="cpu")
        masks = Masks(*(mask.numpy() for mask in order["masks"])) if "masks" in order else None
        start = LoopState(order["step"], order["tensors"]) if "step" in order else None
        return Order(order["phase"], masks, start, Chain.of_state(order["chain"]), tuple(order["snapshots"]))

    def _say(self, number: int) -> None:
        processes.broadcast(torch.tensor(number, device=self._device), 0)

    def _file(self, number: int) -> Path:
        return self._folder / f"order-{number}.pt"


@contextmanager
def joined(rank: int, size: int, folder: Path, device: torch.device) -> Iterator[Team]:
    """Meet the other processes, through a file of the folder; part from them at the end."""
    os.environ |= {name: os.environ.get(name, value) for name, value in LOOPBACK.items()}
    processes.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=size,
        timeout=PATIENCE,
    )
    try:
        yield Team(Group(rank, size), folder, device)
    finally:
        processes.destroy_process_group()
