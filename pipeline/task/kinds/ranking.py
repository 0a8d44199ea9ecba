"""Ranking: passages of a query in order of their relevance, by a cross-encoder.

Rows are query, passage and relevance; those of equal query are one list. Shapes: B rows, V queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Generator, Tensor, nn

from pipeline.task.batches import Batch, Split
from pipeline.task.carve import text_key
from pipeline.task.kinds.base import Description, Judged, Kind
from pipeline.task.kinds.tables import row_number, with_label
from pipeline.task.labels import values
from pipeline.task.tokens import encode
from pipeline.task.usual import Usual

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOP = 10  # ranks that count
LOSSES = ("pointwise", "listwise")
bce = nn.functional.binary_cross_entropy_with_logits

Array = npt.NDArray[Any]  # of numbers


@final
@dataclass(frozen=True)
class Ranking(Kind):
    """One output per query and passage.

    The loss is pointwise (the binary cross-entropy of relevance divided by the highest one) or listwise (ListNet's
    cross-entropy over the passages of a query that stand in one batch; Cao et al. 2007, eq. 6).
    """

    name: ClassVar[str] = "ranking"
    metrics: ClassVar[tuple[str, ...]] = ("ndcg_10",)
    network: ClassVar[str] = "sequence-classification"
    options: ClassVar[tuple[str, ...]] = ("loss",)
    usual: ClassVar[Usual] = Usual(
        texts=(),
        pairs=(("query", "passage"), ("query", "document"), ("query", "text"), ("question", "answer")),
        labels=("relevance", "label", "score", "qrel"),
    )

    highest: float = 1.0  # relevance
    listwise: bool = False

    @classmethod
    def learn(cls, rows: pa.Table, described: Description) -> Self:
        """Return the highest relevance of the rows.

        Raises:
            ValueError: a row is no pair, or relevance is no number, below 0 or the same everywhere.
        """
        if "text_b" not in rows.column_names:
            raise ValueError("it has one text per row; a ranking has a query and a passage")
        numbers = values(rows["label"], rows["id"]).to_numpy()
        if numbers.min() < 0:
            row = int(np.argmax(numbers < 0))
            raise ValueError(f"relevance is 0 or above; row {row_number(rows, row)} has {numbers[row]:g}")
        if numbers.min() == numbers.max():
            raise ValueError(f"relevance is not the same in all rows; here it is {numbers[0]:g} in each")
        loss = described.options.get("loss", LOSSES[0])
        if loss not in LOSSES:
            raise ValueError(f"the loss of a ranking is one of {', '.join(LOSSES)}; given was {loss!r}")
        return cls(described.metric, (), float(numbers.max()), loss == "listwise")

    def numbered(self, rows: pa.Table) -> pa.Table:
        """Return the rows with relevance, float32, the rows of a query one after the other.

        Raises:
            ValueError: a query has one passage alone.
        """
        rows = with_label(rows, values(rows["label"], rows["id"]))
        keys = self.keys(rows)
        _, first, counts = np.unique(keys, return_index=True, return_counts=True)
        if (counts < 2).any():
            row = row_number(rows, int(first[counts < 2].min()))
            few = f"{(counts < 2).sum()} queries have" if (counts < 2).sum() > 1 else "1 query has"
            raise ValueError(f"{few} one passage, of which there is no order; the first is row {row}")
        order = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        return rows.take(pa.array(np.argsort([order[key] for key in keys], kind="stable"))).combine_chunks()

    @classmethod
    def keys(cls, rows: pa.Table) -> list[str]:
        """Return the query [R] of each row."""
        return [text_key(query or "") for query in rows["text_a"].to_pylist()]

    def encode(self, rows: pa.Table, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> pa.Table:
        """Return the pairs as tokens; `unit` is the number of the query."""
        table = encode(rows, tokenizer, max_length=max_length)
        places: dict[str, int] = {}
        units = [places.setdefault(key, len(places)) for key in self.keys(rows)]
        return table.append_column("unit", pa.array(units, pa.int32()))

    @property
    def variant(self) -> tuple[str, ...]:
        """The loss, where it is listwise."""
        return (LOSSES[1],) if self.listwise else ()

    @property
    def output_names(self) -> tuple[str, ...]:
        """The one output."""
        return ("relevance",)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the pointwise or listwise loss."""
        scores, relevance = outputs.float().squeeze(-1), batch["labels"].float() / self.highest
        if not self.listwise:
            return bce(scores, relevance)
        same = batch["unit"][:, None] == batch["unit"]
        total = (same * relevance).sum(dim=1)
        log_share = scores - scores.expand_as(same).masked_fill(~same, float("-inf")).logsumexp(dim=1)
        wanted = relevance / total.clamp(min=torch.finfo(total.dtype).tiny)
        return -(wanted * log_share).sum() / len(scores)

    def drawn_loss(self, outputs: Tensor, batch: Batch, draws: Generator) -> Tensor:
        """Return the sum of binary cross-entropies at relevances drawn from the predicted probabilities."""
        del batch
        return bce(outputs, torch.bernoulli(outputs.detach().sigmoid(), generator=draws), reduction="sum")

    def soft_loss(self, outputs: Tensor, taught: Tensor, batch: Batch, *, temperature: float) -> Tensor:
        """Return T² · KL between shares of a query's passages in the batch, at temperature T: a mean over rows."""
        same = batch["unit"][:, None] == batch["unit"]
        ours, theirs = (
            (each.float().squeeze(-1) / temperature).expand_as(same).masked_fill(~same, -1e9).log_softmax(-1)
            for each in (outputs, taught)
        )
        return temperature**2 * nn.functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)

    def judge(self, kept: Tensor, split: Split) -> Judged:
        """Return the loss, of whole queries, and nDCG@10 and MRR@10 of each query [V, 2], float32."""
        labels, units = torch.tensor(split.labels), torch.tensor(_units(split))
        ends: Any = np.flatnonzero(np.diff(units)) + 1 if self.listwise else []
        total = 0.0
        for rows in np.split(np.arange(len(split)), ends):
            batch = {"labels": labels[rows], "unit": units[rows]}
            total += float(self.loss(kept[rows], batch)) * len(rows)
        return Judged(total / len(split), self._scores(split, kept.squeeze(-1).numpy()))

    def labels(self, split: Split) -> Array:
        """Return the number of relevant passages of each query [V]."""
        return np.bincount(_units(split), weights=np.asarray(split.labels, np.float64) > 0).astype(np.int64)

    def ids(self, split: Split) -> list[str]:
        """Return the id of each query's first row."""
        _, first = np.unique(_units(split), return_index=True)
        return [split.ids[row] for row in first]

    def constant(self, split: Split) -> float:
        """Return what a random order has on average: all scores alike."""
        return float(self._scores(split, np.zeros(len(split), np.float32)).mean(axis=0)[0])

    def constant_loss(self, split: Split) -> float:
        """Return the pointwise loss of the mean relevance; listwise that of equal scores."""
        if self.listwise:
            return self.untrained_loss(split)
        share = split.labels.astype(np.float64).mean() / self.highest
        return float(-sum(p * np.log(p) for p in (share, 1 - share) if p > 0))

    def untrained_loss(self, split: Split) -> float:
        """Return ln 2; listwise the mean logarithm of a list's length, over rows, as in `loss`."""
        if not self.listwise:
            return float(np.log(2))
        counts = np.bincount(_units(split))
        relevant = self.labels(split) > 0
        return float((np.log(counts) * relevant).sum() / counts.sum())

    def _scores(self, split: Split, scores: Array) -> Array:
        units, labels = _units(split), split.labels
        groups = np.split(np.arange(len(units)), np.flatnonzero(np.diff(units)) + 1)
        found = [(ndcg(labels[rows], scores[rows]), mrr(labels[rows], scores[rows])) for rows in groups]
        return np.array(found, np.float32)


def _units(split: Split) -> Array:
    return np.unique(split.table["unit"].to_numpy(), return_inverse=True)[1]


def _ties(relevance: Array, scores: Array) -> list[Array]:
    """Return the relevances of each group of equal scores, the highest score first."""
    _, group = np.unique(-scores.astype(np.float64), return_inverse=True)
    return [relevance[group == number].astype(np.float64) for number in range(group.max() + 1)]


def ndcg(relevance: Array, scores: Array) -> float:
    """Return nDCG@10 with gain = relevance (Järvelin and Kekäläinen 2002); 0 if nothing is relevant.

    Equal scores share the mean of their gains (McSherry and Najork 2008): the expectation over their orders.
    """
    discount = 1 / np.log2(np.arange(len(relevance)) + 2)
    discount[TOP:] = 0
    ideal = float(np.sort(relevance.astype(np.float64))[::-1] @ discount)
    spread = np.concatenate([np.full(len(tie), tie.mean()) for tie in _ties(relevance, scores)])
    return float(spread @ discount) / ideal if ideal else 0.0


def mrr(relevance: Array, scores: Array) -> float:
    """Return 1 / rank of the first relevant passage, 0 beyond rank 10; the expectation over orders of equal scores."""
    before = 0
    for tie in _ties(relevance, scores):
        count, hits = len(tie), int((tie > 0).sum())
        if hits:
            ways = comb(count, hits)
            ranks = range(1, count - hits + 2)
            return sum(comb(count - k, hits - 1) / ways / (before + k) for k in ranks if before + k <= TOP)
        before += count
    return 0.0
