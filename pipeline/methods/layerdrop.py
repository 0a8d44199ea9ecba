"""Layer dropping: Sajjad, Dalvi, Durrani, Nakov, "On the Effect of Dropping Layers", arXiv 2004.03844.

Whole layers are dropped from a pretrained Transformer, which is fine-tuned afterwards. Which layers go is
decided by their place alone (top, bottom, alternate, symmetric), or by how little a layer changes the first
token's representation (contribution). Nothing is learned for it: it is the cheapest structured baseline.

Ranks layers.

Shapes: L layers, B rows, T tokens, d features.

Deviations, each with its reason.
* The paper drops K layers, in one step; here a target compression picks K from one nested order, so that K is
  searched like any other method's cut. `alternate` therefore goes on with the layers between, again from the
  top, once every second one is gone. The paper alternates from the top, too, and stops at half.
* `contribution` drops by a threshold on the mean cosine in the paper; here the order of the cosines is cut at
  the target.
* The paper drops before fine-tuning (`tune_epochs = 0`); more is a choice, since it reports that as similar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, final

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.methods.base import OneShot
from pipeline.model.anatomy import Anatomy, encoder_layers
from pipeline.model.eval_mode import evaluating
from pipeline.model.layer_parts import hidden_of
from pipeline.study.records import FloatArray, Scores
from pipeline.task.batches import Batch, encoder_inputs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Strategy = Literal["top", "bottom", "alternate", "symmetric", "contribution"]


def drop_order(layers: int, strategy: Strategy) -> list[int]:
    """Return the layers, numbered from the input, in the order in which a strategy by place drops them.

    top: L-1, L-2 ... ; bottom: 0, 1 ...; alternate: L-1, L-3 ... and then L-2, L-4 ...; symmetric: from the
    middle outwards, the upper one of a pair first, so that bottom and top layers stay longest.
    """
    if strategy == "top":
        return list(range(layers - 1, -1, -1))
    if strategy == "bottom":
        return list(range(layers))
    if strategy == "alternate":
        return [*range(layers - 1, -1, -2), *range(layers - 2, -1, -2)]
    middle = (layers - 1) / 2
    return sorted(range(layers), key=lambda layer: (abs(layer - middle), -layer))


def by_place(layers: int, strategy: Strategy) -> FloatArray:
    """Return scores [L]: the number of layers that are dropped before this one, as a part of L."""
    scores = np.empty(layers)
    scores[drop_order(layers, strategy)] = np.arange(layers) / layers
    return scores


def change(before: Tensor, after: Tensor) -> Tensor:
    """Sum 1 - cosine of the first token's representation before and after a layer [B, T, d] over rows."""
    return (1.0 - nn.functional.cosine_similarity(before[:, 0].float(), after[:, 0].float(), dim=-1)).sum()


@final
@dataclass
class LayerDrop(OneShot):
    """An order of the layers by place, or by what they change."""

    strategy: Strategy

    @torch.no_grad()
    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Scores:
        """Return scores by place, without data, or by contribution, in one forward sweep; NaN for layers gone."""
        present = anatomy.present.layers
        if self.strategy != "contribution":
            return Scores(layers=np.where(present, by_place(len(present), self.strategy), np.nan))
        found = np.full(len(present), np.nan)
        found[[part.index for part in anatomy.layers]] = _mean_changes(model, anatomy, batches)
        return Scores(layers=found)


def _mean_changes(model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> FloatArray:
    """Return the mean over rows of `change`, for each layer that is there; in eval mode."""
    device = next(model.parameters()).device
    sums = torch.zeros(len(anatomy.layers), device=device)
    rows = 0

    def hook(slot: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def add(_layer: nn.Module, args: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> None:
            sums[slot] += change(args[0], hidden_of(output))

        return add

    with evaluating(model), ExitStack() as hooks:
        for slot, layer in enumerate(encoder_layers(cast("PreTrainedModel", model), anatomy.architecture)):
            hooks.callback(layer.register_forward_hook(hook(slot)).remove)
        for batch in batches:
            model(**{name: value.to(device) for name, value in encoder_inputs(batch).items()})
            rows += len(batch["labels"])
    return (sums.double() / rows).cpu().numpy()
