"""MPruner: Hu, Yang, Xu, Wang et al., "MPruner", arXiv 2408.13482.

Layers whose outputs are similar by linear CKA are clusters; of each cluster all layers but the first (or every
k-th) are removed, after fine-tuning, and the network is trained again. With `rounds` above 1 clusters are found
anew in what is left.

Ranks layers, by the dissimilarity 1 - CKA at which each is first removed.

Shapes: L layers, B rows, T tokens, d features.

Deviations, each with its reason.
* Where the paper takes one CKA threshold, every threshold is tried: a layer's score is the smallest ε = 1 - CKA at
  which it would go. So thresholds nest, and the curve shows all of them; the threshold of the study is ε.
* The first layer, and members that a stride k never removes, get 1 + the ε of stride 1 (the first layer 2): they
  go last on the curve, and at no threshold.
* The authors' code measures CKA on test rows; here it is measured on calibration rows out of train.
* Accept-or-restore on accuracy is the curve: each step is validated before one is taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast, final

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.methods.base import OneShot
from pipeline.model.anatomy import Anatomy, encoder_layers
from pipeline.model.eval_mode import evaluating
from pipeline.model.layer_parts import hidden_of
from pipeline.study.records import FloatArray, Scores
from pipeline.task.batches import Batch, encoder_inputs, real_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NORM_FLOOR = 1e-12  # of a row whose tokens are all equal


def cka(outputs: list[Tensor], mask: Tensor) -> Tensor:
    """Compute linear CKA between layers, summed over rows: outputs L x [B, T, d], mask [B, T] -> [L, L].

    K = X̃ X̃ᵀ over a row's real tokens, X̃ centred; CKA = <K_i, K_j> / (|K_i| |K_j|) (Kornblith 2019,
    arXiv 1905.00414).
    """
    real = mask.unsqueeze(-1).float()
    tokens = real.sum(dim=1, keepdim=True)
    grams = []
    for output in outputs:
        values = output.float() * real
        centred = (values - values.sum(dim=1, keepdim=True) / tokens) * real
        grams.append((centred @ centred.mT).flatten(1))
    stacked = nn.functional.normalize(torch.stack(grams, dim=1), dim=-1, eps=NORM_FLOOR)  # [B, L, T T]
    return (stacked @ stacked.mT).sum(dim=0)


def clusters(similarity: FloatArray, threshold: float) -> list[list[int]]:
    """Return clusters of neighbours: layer j joins the cluster that i starts while CKA(i, j) >= threshold."""
    found: list[list[int]] = []
    for layer in range(len(similarity)):
        if found and similarity[found[-1][0], layer] >= threshold:
            found[-1].append(layer)
        else:
            found.append([layer])
    return found


def removed_at(similarity: FloatArray, *, stride: int) -> FloatArray:
    """Return scores [L]: the least ε = 1 - threshold at which a layer is in [1::stride] of its cluster; else inf."""
    scores = np.full(len(similarity), np.inf)
    for threshold in np.unique(similarity[np.triu_indices(len(similarity), 1)])[::-1]:
        for cluster in clusters(similarity, threshold):
            members = cluster[1::stride]
            scores[members] = np.minimum(scores[members], max(0.0, 1.0 - threshold))
    return scores


def layer_scores(similarity: FloatArray, *, stride: int) -> FloatArray:
    """Return finite scores [L]: what no threshold removes follows behind ε = 1, the first layer last."""
    scores = removed_at(similarity, stride=stride)
    behind = 1.0 + np.minimum(removed_at(similarity, stride=1), 1.0)
    return np.where(np.isinf(scores), behind, scores)


@final
@dataclass
class MPruner(OneShot):
    """Clusters of similar layers, at every threshold."""

    stride: int  # k: 1 keeps a cluster's first layer only

    @torch.no_grad()
    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Scores:
        """Return scores of one forward sweep in eval mode; NaN for layers that are gone."""
        device = next(model.parameters()).device
        count = len(anatomy.layers)
        sums = torch.zeros(count, count, device=device)
        rows = 0
        outputs: list[Tensor] = []

        def keep(_layer: nn.Module, _args: object, output: Tensor | tuple[Tensor, ...]) -> None:
            outputs.append(hidden_of(output))

        with evaluating(model), ExitStack() as hooks:
            for layer in encoder_layers(cast("PreTrainedModel", model), anatomy.architecture):
                hooks.callback(layer.register_forward_hook(keep).remove)
            for batch in batches:
                inputs = {name: value.to(device) for name, value in encoder_inputs(batch).items()}
                outputs.clear()
                model(**inputs)
                sums += cka(outputs, real_tokens(inputs, outputs[0]))
                rows += len(batch["labels"])
        scores = np.full(anatomy.dense_layers, np.nan)
        similarity = (sums.double() / max(rows, 1)).cpu().numpy()
        scores[[part.index for part in anatomy.layers]] = layer_scores(similarity, stride=self.stride)
        return Scores(layers=scores)
