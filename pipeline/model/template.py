"""A network per process of which others begin as copies: on a GPU, building each anew takes part of a trial's time.

What a model has no weights for is drawn from each trial's seed, by the library itself and in its order: a copy is the
network that `build` makes, bit for bit. Where that does not come out so, once, every network is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

from pipeline.model.anatomy import Anatomy
from pipeline.model.device import waits_cost
from pipeline.model.silence import quiet
from pipeline.model.source import ModelSource, Weights, build
from pipeline.model.surgery import copied

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOST = 2  # of a study: the model as it came, and its dense network
FLAG = "_is_hf_initialized"  # the library's, of what it does not draw


def network_of(source: ModelSource, *, seed: int, device: torch.device) -> tuple[PreTrainedModel, Anatomy]:
    """Return a fresh network as `build` makes it, on a device."""
    if not (waits_cost(device) and source.pretrained):
        model, anatomy = build(source, seed=seed)
        nn.Module.to(model, device)
        return model, anatomy
    found = next((each for each in _KEPT if each.weights is source.weights and each.device == device), None)
    if found is None:
        found = _Template(source, device, seed=seed)
        _KEPT.append(found)
        del _KEPT[:-MOST]
    return found.copy(source, seed=seed)


@final
@dataclass
class _Drawn:
    """The parts of a network that have no weights, on the CPU; the rest of it is empty."""

    model: PreTrainedModel
    names: frozenset[str]

    @classmethod
    def between(cls, one: PreTrainedModel, other: PreTrainedModel) -> _Drawn:
        """Take as drawn what differs in two networks of one source and two seeds; `one` is emptied of the rest."""
        pairs = zip(one.named_parameters(), other.parameters(), strict=True)
        drawn = frozenset(name for (name, values), others in pairs if not torch.equal(values, others))
        for name, values in one.named_parameters():
            setattr(values, FLAG, name not in drawn)
            if name not in drawn:
                values.data = values.data.new_empty(0)
        for buffer in one.buffers():
            setattr(buffer, FLAG, True)
        return cls(one, drawn)

    def draw(self, seed: int) -> dict[str, Tensor]:
        """Return what a network of this seed has there."""
        for prefix, module in self.model.named_modules():  # one may draw for those below it
            within = f"{prefix}." if prefix else ""
            setattr(module, FLAG, not any(name.startswith(within) for name in self.names))
        with torch.random.fork_rng(devices=[]), quiet():
            torch.default_generator.manual_seed(seed)
            self.model.initialize_weights()  # type: ignore[no-untyped-call]
        return {name: values for name, values in self.model.named_parameters() if name in self.names}


class _Template:
    """One network on a device, never trained, and what differs from seed to seed."""

    def __init__(self, source: ModelSource, device: torch.device, *, seed: int) -> None:
        self.weights: Weights = source.weights
        self.device = device
        self._network = build(source, seed=seed)
        other, _ = build(source, seed=seed + 1)
        self._drawn = _Drawn.between(copied(*self._network)[0], other)
        nn.Module.to(self._network[0], device)
        same = zip(self._copy(seed + 1)[0].parameters(), other.parameters(), strict=True)
        self._holds = all(torch.equal(one.cpu(), two) for one, two in same)

    def copy(self, source: ModelSource, *, seed: int) -> tuple[PreTrainedModel, Anatomy]:
        if self._holds:
            return self._copy(seed)
        model, anatomy = build(source, seed=seed)
        nn.Module.to(model, self.device)
        return model, anatomy

    @torch.no_grad()
    def _copy(self, seed: int) -> tuple[PreTrainedModel, Anatomy]:
        model, anatomy = copied(*self._network)
        places = dict(model.named_parameters())
        for name, values in self._drawn.draw(seed).items():
            places[name].copy_(values)
        return model, anatomy


_KEPT: list[_Template] = []
