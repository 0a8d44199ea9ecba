"""One gate per unit: a factor on what the unit adds to its residual branch, held by hooks.

Gates, scores and masks of units are vectors [D] in the numbers of the dense model, so that they mean the same
after a cut: attention first (blocks, or heads layer by layer), then the feed-forward networks (blocks, or
neurons layer by layer). Entries of units that are gone are not read.

Shapes: L layers, H heads of k features, N neurons, d hidden features, B rows, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.model.anatomy import Anatomy
from pipeline.model.layer_parts import matrix
from pipeline.study.records import Scores

Level = Literal["block", "head", "neuron", "head-only"]
KINDS: dict[Level, tuple[str, ...]] = {
    "block": ("attention", "ffn"),
    "head": ("heads", "ffn"),
    "neuron": ("heads", "neurons"),
    "head-only": ("heads",),
}


@dataclass(frozen=True)
class _Site:
    """A linear map whose input (`width` features per unit) or whole output (0) gates stand on."""

    linear: nn.Linear
    units: slice | Tensor  # into [D]
    width: int


@final
class Gates:
    """The units of one network at one level, where their gates stand, and what each unit costs.

    Attributes:
        kinds: of Scores that are ranked.
        there: [D] bool, which units are not cut yet.
        parameters: [D] int64 of each unit; 0 for units that are gone.
        shares: [D] fp32, the same as parts of the dense encoder's.
        removable: their sum.
        encoder: parameters of the dense encoder.
        layers: L, of the dense model.
        layer: [D] int64, the unit's layer in the dense model.
        kind: [D] int64, 0 for attention and 1 for feed-forward.
        of_kind: for each kind the numbers of its units that are there.
        compression: of the network at hand.
    """

    def __init__(self, anatomy: Anatomy, level: Level, *, device: torch.device) -> None:
        self.kinds = KINDS[level]
        present, costs = anatomy.present, anatomy.costs
        heads, neurons = present.heads.sum(axis=1), present.neurons.sum(axis=1)
        units = {
            "heads": (present.heads, present.heads * costs.head),
            "attention": (heads > 0, (heads > 0) * (heads * costs.head + np.array(costs.attention_rest))),
            "neurons": (present.neurons, present.neurons * costs.neuron),
            "ffn": (neurons > 0, (neurons > 0) * (neurons * costs.neuron + np.array(costs.ffn_rest))),
        }
        self._shapes = {kind: units[kind][0].shape for kind in self.kinds}
        found = [units[kind] for kind in self.kinds]
        self.there = torch.from_numpy(np.concatenate([there.ravel() for there, _ in found])).to(device)
        parameters = np.concatenate([each.ravel() for _, each in found]).astype(np.int64)
        self.parameters = torch.from_numpy(parameters).to(device)
        layer = [
            np.broadcast_to(np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1)), shape).ravel()
            for shape in self._shapes.values()
        ]
        self.layer = torch.from_numpy(np.concatenate(layer)).to(device)
        sizes = [there.size for there, _ in found]
        self.kind = torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)).to(device)
        self.of_kind = tuple(
            torch.nonzero((self.kind == kind) & self.there).squeeze(1) for kind in range(len(sizes))
        )
        self.layers = anatomy.dense_layers
        self.encoder = costs.encoder
        self.shares = self.parameters.float() / costs.encoder
        self.removable = float(parameters.sum()) / costs.encoder
        self._gone = costs.encoder - costs.kept(present)
        self.compression = self._gone / costs.encoder
        self._device = device
        self._sites = self._find_sites(anatomy)

    def __len__(self) -> int:
        return len(self.there)

    @contextmanager
    def on(self, model: nn.Module, draw: Callable[[], Tensor]) -> Iterator[None]:
        """Multiply units by gates: every forward pass of the model in the context calls `draw` once for them.

        `draw` returns [D], or [B, D] for gates of each row; gradients flow back into it.
        """
        now: list[Tensor] = []

        def start(_model: nn.Module, _args: object) -> None:
            now[:] = [draw()]

        with ExitStack() as hooks:
            hooks.callback(now.clear)
            hooks.callback(model.register_forward_pre_hook(start).remove)
            for site in self._sites:
                if site.width:
                    hooks.callback(site.linear.register_forward_pre_hook(_on_input(site, now)).remove)
                else:
                    hooks.callback(site.linear.register_forward_hook(_on_output(site, now)).remove)
            yield

    @torch.no_grad()
    def bake(self, values: Tensor) -> None:
        """Multiply gates [D] into the weights: the network then computes without them what it did with them."""
        for site in self._sites:
            gates = values[site.units].to(site.linear.weight.dtype)
            if site.width:
                matrix(site.linear).mul_(gates.repeat_interleave(site.width))
            else:
                site.linear.weight.mul_(gates)
                if site.linear.bias is not None:
                    site.linear.bias.mul_(gates)

    def scores(self, values: Tensor) -> Scores:
        """Return values [D] as Scores: float64, NaN for units that are gone."""
        filled = torch.where(self.there, values.detach().double(), torch.nan).cpu().numpy()
        arrays: dict[str, np.ndarray] = {}
        start = 0
        for kind, shape in self._shapes.items():
            size = int(np.prod(shape))
            arrays[kind] = filled[start : start + size].reshape(shape)
            start += size
        return Scores(
            heads=arrays.get("heads"),
            attention=arrays.get("attention"),
            neurons=arrays.get("neurons"),
            ffn=arrays.get("ffn"),
        )

    @torch.no_grad()
    def keep(self, values: Tensor, *, compression: float) -> Tensor:
        """Return a mask [D] of the units that stay when those of the lowest values go until `compression` is reached.

        As `allocation.choose` does it, but on the device and without the output biases. The best unit of
        attention always stays.
        """
        values = torch.where(self.there, values.detach().double(), -torch.inf)
        best = torch.where(self.kind == 0, values, -torch.inf).argmax()
        values.index_fill_(0, best.unsqueeze(0), torch.inf)  # values[best] would read the number on the host
        order = values.argsort(stable=True)
        freed = self.parameters[order].cumsum(0) - self.parameters[order]  # before the unit itself
        keep = torch.empty_like(self.there)
        keep[order] = freed >= math.ceil(compression * self.encoder) - self._gone
        keep.index_fill_(0, best.unsqueeze(0), True)
        return keep & self.there

    @torch.no_grad()
    def ranks(self, values: Tensor) -> Tensor:
        """Return each unit's rank [D] among those of its kind that are there: (0, 1], 1 for the highest value.

        Kinds get one scale: going down in rank takes the same share of each.
        """
        ranks = torch.zeros(len(self), device=values.device, dtype=torch.float64)
        for units in self.of_kind:
            order = units[values[units].argsort(stable=True)]
            count = len(order)
            ranks[order] = torch.arange(1, count + 1, device=values.device, dtype=torch.float64) / max(
                count, 1
            )
        return ranks

    def _find_sites(self, anatomy: Anatomy) -> list[_Site]:
        sites: list[_Site] = []
        first_ffn = anatomy.dense_layers * (anatomy.heads_per_layer if "heads" in self.kinds else 1)
        for part in anatomy.layers:
            i = part.index
            if part.attention_output is not None:
                if "heads" in self.kinds:
                    units = self._units(i * anatomy.heads_per_layer + part.heads)
                    sites.append(_Site(part.attention_output, units, anatomy.head_size))
                else:
                    sites.append(_Site(part.attention_output, slice(i, i + 1), 0))
            if part.ffn_out is not None and "neurons" in self.kinds:
                units = self._units(first_ffn + i * anatomy.neurons_per_layer + part.neurons)
                sites.append(_Site(part.ffn_out, units, 1))
            elif part.ffn_out is not None and "ffn" in self.kinds:
                sites.append(_Site(part.ffn_out, slice(first_ffn + i, first_ffn + i + 1), 0))
        return sites

    def _units(self, numbers: np.ndarray) -> slice | Tensor:
        """Return a slice where the numbers are consecutive, which avoids a gather."""
        if numbers[-1] - numbers[0] + 1 == len(numbers):
            return slice(int(numbers[0]), int(numbers[-1]) + 1)
        return torch.from_numpy(numbers.astype(np.int64)).to(self._device)


@contextmanager
def learned(
    optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor], *, learning_rate: float
) -> Iterator[None]:
    """Add a method's own parameters to the optimizer, without weight decay; remove them at the exit.

    They are no part of the model: neither its state nor the clipping of its gradient includes them.
    """
    optimizer.add_param_group({"params": list(parameters), "lr": learning_rate, "weight_decay": 0.0})
    group = optimizer.param_groups[-1]
    try:
        yield
    finally:
        optimizer.param_groups[:] = [each for each in optimizer.param_groups if each is not group]
        for parameter in parameters:
            optimizer.state.pop(parameter, None)


@contextmanager
def counting(optimizer: torch.optim.Optimizer, step: Callable[[], None]) -> Iterator[None]:
    """Call `step` after every step of the optimizer."""

    def after(_optimizer: torch.optim.Optimizer, _args: object, _kwargs: object) -> None:
        step()

    handle = optimizer.register_step_post_hook(after)
    try:
        yield
    finally:
        handle.remove()


def cubic(done: float, *, start: float, end: float) -> float:
    """Return the part of a target, 0 ... 1, that is due after `done` of all steps (Zhu & Gupta 2017, arXiv 1710.01878).

    Nothing happens before `start`; after `end` the target stands. All three are parts of the steps, 0 ... 1.
    """
    if done < start:
        return 0.0
    if done >= end:
        return 1.0
    return 1.0 - (1.0 - (done - start) / (end - start)) ** 3


def _on_input(site: _Site, now: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor]], tuple[Tensor]]:
    def hook(_linear: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        gates = now[0][..., site.units].to(args[0].dtype)  # under autocast the product keeps its type
        if site.width > 1:
            gates = gates.repeat_interleave(site.width, dim=-1)
        return (args[0] * _by_row(gates),)

    return hook


def _on_output(site: _Site, now: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
    def hook(_linear: nn.Module, _args: tuple[Tensor], output: Tensor) -> Tensor:
        return output * _by_row(now[0][..., site.units].to(output.dtype))

    return hook


def _by_row(gates: Tensor) -> Tensor:
    """Return gates [u] as they are, [B, u] as [B, 1, u]."""
    return gates if gates.ndim == 1 else gates.unsqueeze(1)
