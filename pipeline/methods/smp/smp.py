"""SMP: Zhang, Qi, Liu, Liu, Sun, "Single-Shot Meta-Pruning for attention heads", arXiv 2011.03770.

A small convolutional network, the scorer (the paper's pruner), maps a head's attention map to the head's score. It is
fitted once per base model, on many tasks, so that representations of rows keep their distances to each other when
heads go (`prunefront fit-pruner`). For a task one sweep over its rows gives every head the mean over its maps; the
lowest go, before any fine-tuning.

Ranks heads.

Shapes: L layers, H heads of k features each (h of a layer that is there), B rows, T tokens, S side of a map as the
scorer takes it, d features.

Deviations, each with its reason.
* Maps are computed from queries and keys: the network keeps PyTorch's fused attention, and one that is cut has maps.
* S is the least power of two, 8 to 128, that holds the rows the scorer was fitted on, with the number of convolutions
  that belongs to it; in the paper it is 128, which is mostly padding in tasks of short rows.
* Rows are represented by the first token's last hidden state where the authors' code takes BERT's pooler (pairs of
  texts): not every architecture has one, and not every model's is trained. Single texts: the mean, as there.
* Scores are means over the calibration rows, where the authors take all of train.
* The paper has the same share of every layer (`layer`); `network` ranks all heads together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, cast, final

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.methods.base import OneShot
from pipeline.methods.bases.gates import Gates
from pipeline.model.anatomy import Anatomy, find_architecture
from pipeline.model.eval_mode import evaluating
from pipeline.model.layer_parts import LayerParts
from pipeline.study.records import Array, BadInput, FloatArray, Scores
from pipeline.task.batches import Batch, encoder_inputs, real_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SIDES = (8, 16, 32, 64, 128)  # of a map that the scorer takes
WIDTH = 4  # channels of its first convolution; each next one has twice as many
LEAK = 0.2
DEVIATION = 0.01  # of its initial weights
HIGHEST = 2.0  # score
SIMILARITY = 10.0  # times a cosine: how sharp a distribution over two rows is
SINGLE = 10.0  # times the loss of tasks of single texts
DROPPED = 0.8  # part of the features that a comparison leaves out
ATTEMPTS = 5  # draws per head of a layer, until half of its heads are drawn
LEAST_NORM = 1e-12

Take = Callable[[LayerParts, Tensor], None]


@final
class HeadScorer(nn.Module):
    """Maps [M, 1, S, S] -> scores [M, outputs] in (0, 2): a DCGAN's discriminator (section 3.2; code: ndf = 4)."""

    def __init__(self, *, side: int, width: int = WIDTH, outputs: int = 2) -> None:
        super().__init__()
        self.side = side
        stages = int(math.log2(side)) - 2
        found: list[nn.Module] = [nn.Conv2d(1, width, 4, 2, 1, bias=False), nn.LeakyReLU(LEAK)]
        for stage in range(1, stages):
            channels = width * 2 ** (stage - 1), width * 2**stage
            found += [
                nn.Conv2d(*channels, 4, 2, 1, bias=False),
                nn.BatchNorm2d(channels[1]),
                nn.LeakyReLU(LEAK),
            ]
        found.append(nn.Conv2d(width * 2 ** (stages - 1), outputs, 4, 1, 0, bias=False))
        self.main = nn.Sequential(*found)
        for module in found:
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, DEVIATION)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, DEVIATION)

    @classmethod
    def read(cls, arrays: Mapping[str, Array]) -> HeadScorer:
        """Return the network whose state these arrays are, in eval mode; its shape follows from theirs."""
        kernels = [array for array in arrays.values() if array.ndim == 4]
        kernels.sort(key=lambda array: array.shape[1])  # each takes more channels than the one before
        scorer = cls(side=4 * 2 ** (len(kernels) - 1), width=len(kernels[0]), outputs=len(kernels[-1]))
        scorer.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        return scorer.eval()

    def forward(self, maps: Tensor) -> Tensor:
        """Return scores [M, outputs]: the first for pairs of texts, the second for single ones."""
        scores: Tensor = HIGHEST * self.main(maps).flatten(1).sigmoid()
        return scores


def for_task(arrays: Mapping[str, Array], *, pair: bool) -> dict[str, Array]:
    """Return fitted weights with the output for one kind of task alone."""
    last = max(
        (name for name, array in arrays.items() if array.ndim == 4), key=lambda name: arrays[name].shape[1]
    )
    kept = arrays[last][:1] if pair else arrays[last][1:2]
    return {name: kept if name == last else array for name, array in arrays.items()}


def side_of(length: int) -> int:
    """Return S: the least side that holds rows of that many tokens, or the largest."""
    return next((side for side in SIDES if side >= length), SIDES[-1])


def attention_maps(query: Tensor, key: Tensor, mask: Tensor, *, head_size: int) -> Tensor:
    """Return maps [B, h, T, T] of queries, keys [B, T, h k] and a mask [B, T] of real tokens; rows of padding are 0."""
    rows, tokens, width = query.shape
    shape = (rows, tokens, width // head_size, head_size)
    queries, keys = (each.float().view(shape).transpose(1, 2) for each in (query, key))
    real = mask.bool()
    scores = (queries @ keys.mT / math.sqrt(head_size)).masked_fill(~real[:, None, None, :], -torch.inf)
    maps: Tensor = scores.softmax(dim=-1) * real[:, None, :, None]
    return maps


def square(maps: Tensor, side: int) -> Tensor:
    """Reshape maps [B, h, T, T] to the scorer's input [B h, 1, S, S]: truncated, or padded with zeros."""
    maps = maps[..., :side, :side]
    more = side - maps.shape[-1]
    return nn.functional.pad(maps, (0, more, 0, more)).flatten(0, 1).unsqueeze(1)


@contextmanager
def seeing_maps(anatomy: Anatomy, at_hand: Callable[[], Batch], take: Take) -> Iterator[None]:
    """Call `take` with the maps [B, h, T, T] of each layer that has heads, at every forward pass in the context.

    `at_hand` gives the batch.

    Raises:
        BadInput: attention of the family has more to it than queries and keys.
    """
    if not find_architecture(anatomy.architecture).plain_scores:
        raise BadInput(
            f"In a {anatomy.architecture} positions change the maps softmax(q k), which SMP reads of "
            "queries and keys alone. Search with another method of heads: dsp, l0, snip."
        )
    waiting: dict[int, Tensor] = {}

    def hook(part: LayerParts, *, is_query: bool) -> Callable[[nn.Module, object, Tensor], None]:
        def keep(_linear: nn.Module, _args: object, output: Tensor) -> None:
            other = waiting.pop(part.index, None)  # one of the two comes first, in whichever order
            if other is None:
                waiting[part.index] = output
                return
            query, key = (output, other) if is_query else (other, output)
            mask = real_tokens(at_hand(), query)
            take(part, attention_maps(query, key, mask, head_size=anatomy.head_size))

        return keep

    with ExitStack() as hooks:
        for part in anatomy.layers:
            if part.query is not None and part.key is not None:
                hooks.callback(part.query.register_forward_hook(hook(part, is_query=True)).remove)
                hooks.callback(part.key.register_forward_hook(hook(part, is_query=False)).remove)
        yield


def sample_heads(scores: Tensor, whole: Tensor, *, generator: torch.Generator) -> Tensor:
    """Draw masks [L, H] of heads that stay, by scores [L, H]; layers in `whole` [L] keep all (section 3.3).

    One head after the other is drawn by a Gumbel softmax, until half of a layer's heads are; the gradient of a mask
    is that of the softmax (straight through).
    """
    layers, heads = scores.shape
    noise = torch.empty(ATTEMPTS * heads, layers, heads, device=scores.device)
    soft = (scores - noise.exponential_(generator=generator).log()).softmax(dim=-1)
    hard = nn.functional.one_hot(soft.argmax(dim=-1), heads).to(soft.dtype)
    drawn = (hard - soft.detach() + soft).cummax(dim=0).values  # after each draw, all that were drawn so far
    enough = (hard.cummax(dim=0).values.sum(dim=-1) >= heads // 2).int()
    last = torch.where(enough.any(dim=0), enough.argmax(dim=0), len(enough) - 1)
    return torch.where(
        whole[:, None], torch.ones_like(scores), drawn[last, torch.arange(layers, device=last.device)]
    )


def similarities(rows: Tensor) -> Tensor:
    """Return [B² / 2, 2]: ten times the cosines of rows [B, d] about their mean, by twos; an odd row is left out."""
    centred = rows[: len(rows) - len(rows) % 2] - rows.mean(dim=0)
    unit = nn.functional.normalize(centred, dim=-1, eps=LEAST_NORM)
    return (SIMILARITY * unit @ unit.mT).reshape(-1, 2)


def kept_loss(full: Tensor, pruned: Tensor) -> Tensor:
    """Return the mean over entries of KL(softmax(full) ‖ softmax(pruned)) of similarities [P, 2] (eq. 5)."""
    shares, others = full.log_softmax(dim=-1), pruned.log_softmax(dim=-1)
    return (shares.exp() * (shares - others)).mean()


def represent(hidden: Tensor, mask: Tensor, *, pair: bool) -> Tensor:
    """Return rows [B, d] of last hidden states [B, T, d]: the first token, or the mean of the real ones [B, T]."""
    if pair:
        return hidden[:, 0].float()
    real = mask.unsqueeze(-1).float()
    return (hidden.float() * real).sum(dim=1) / real.sum(dim=1)


def meta_loss(
    model: PreTrainedModel,
    anatomy: Anatomy,
    scorer: HeadScorer,
    batch: Batch,
    *,
    pair: bool,
    generator: torch.Generator,
) -> Tensor:
    """Return the loss of a batch of one task: how far rows move from each other when heads go.

    The network is whole and frozen, in eval mode; only the scorer gets a gradient. Half of the layers, drawn at
    random, keep all heads.
    """
    encoder = model.base_model
    seen: list[Tensor] = []
    with torch.no_grad(), seeing_maps(anatomy, lambda: batch, lambda _, maps: seen.append(maps)):
        hidden = encoder(**encoder_inputs(batch))[0]
    mask = real_tokens(batch, hidden)
    full = represent(hidden, mask, pair=pair)
    maps = torch.stack(seen)  # [L, B, H, T, T]
    shape = maps.shape[:3]
    scores = scorer(square(maps.flatten(0, 1), scorer.side))[:, 0 if pair else 1].view(shape).mean(dim=1)
    order = torch.rand(len(scores), generator=generator, device=scores.device).argsort()
    keep = sample_heads(scores, order < len(scores) // 2, generator=generator).flatten()
    gates = Gates(anatomy, "head-only", device=scores.device)
    with gates.on(encoder, lambda: keep):
        pruned = represent(encoder(**encoder_inputs(batch))[0], mask, pair=pair)
    some = torch.rand(full.shape[-1], generator=generator, device=full.device) >= DROPPED
    loss = kept_loss(similarities(full * some), similarities(pruned * some))
    return loss if pair else SINGLE * loss


def by_layer(scores: FloatArray) -> FloatArray:
    """Return scores [L, H] as ranks within their layers, 0 ... 1, so that one order takes the same share of each.

    Of two heads of one rank the higher scored one (of scores up to 2) stays longer. NaN for heads that are gone.
    """
    found = np.full_like(scores, np.nan)
    for layer, row in enumerate(scores):
        there = np.flatnonzero(~np.isnan(row))
        order = there[np.argsort(row[there], kind="stable")]
        found[layer, order] = (np.arange(len(order)) + row[order] / (2 * HIGHEST)) / max(len(order), 1)
    return found


@final
@dataclass
class Smp(OneShot):
    """A fitted scorer's view of a task's attention maps."""

    needs_fit: ClassVar[bool] = True
    needs_plain_scores: ClassVar[bool] = True

    scope: Literal["layer", "network"]
    _scorer: HeadScorer | None = field(default=None, init=False, repr=False)

    def equip(self, fitted: Mapping[str, Array]) -> None:
        """Take the fitted weights, with the output for the task's kind alone (`for_task`)."""
        self._scorer = HeadScorer.read(fitted)

    @torch.no_grad()
    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Scores:
        """Return means over rows, in one forward sweep in eval mode; NaN for heads that are gone.

        Raises:
            RuntimeError: without a fitted scorer.
        """
        if self._scorer is None:
            raise RuntimeError("Heads are ranked by a fitted scorer; there is none.")
        device = next(model.parameters()).device
        scorer = self._scorer.to(device)
        sums = torch.zeros(anatomy.dense_layers, anatomy.heads_per_layer, device=device, dtype=torch.float64)
        rows, inputs = 0, Batch()
        numbers = {part.index: torch.from_numpy(part.heads).to(device) for part in anatomy.layers}

        def add(part: LayerParts, maps: Tensor) -> None:
            found = scorer(square(maps, scorer.side)).view(maps.shape[:2]).sum(dim=0)
            sums[part.index, numbers[part.index]] += found.double()

        encoder = cast("PreTrainedModel", model).base_model
        with evaluating(model), seeing_maps(anatomy, lambda: inputs, add):
            for batch in batches:
                inputs = {name: value.to(device) for name, value in encoder_inputs(batch).items()}
                encoder(**inputs)
                rows += len(batch["labels"])
        means = np.where(anatomy.present.heads, (sums / rows).cpu().numpy(), np.nan)
        return Scores(heads=by_layer(means) if self.scope == "layer" else means)
