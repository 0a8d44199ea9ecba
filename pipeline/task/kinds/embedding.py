"""Embeddings of texts: a network keeps the dense network's, without labels.

The loss is the distance to the dense network's normalised embedding of the same text. With pairs that have a score the
metric is Spearman's correlation of cosines and scores, else the mean cosine to the dense network's embedding.
Shapes: B texts of a batch, T tokens, d features, V units (pairs, or texts).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np
import pyarrow as pa
import torch
from torch import Generator, Tensor, nn

from pipeline.study.records import Array
from pipeline.task.batches import Batch, Split
from pipeline.task.kinds.base import Description, Judged, Kind
from pipeline.task.kinds.tables import unknown, with_label
from pipeline.task.labels import values
from pipeline.task.tokens import encode
from pipeline.task.usual import Usual

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

POOLING = "sentence_pooling"  # of a config.json that this package wrote; of others modules.json says it
COMPARED = 1000  # rows at most, whose similarities to each other are compared


@final
@dataclass(frozen=True)
class Embedding(Kind):
    """An embedding per text; the loss is half the squared distance of embeddings of length 1: 1 - cosine."""

    name: ClassVar[str] = "embedding"
    metrics: ClassVar[tuple[str, ...]] = ("cosine", "spearman")
    network: ClassVar[str] = "embedding"
    labelled: ClassVar[bool] = False
    usual: ClassVar[Usual] = Usual(labels=("score", "similarity", "label", "similarity_score"))

    pooling: str = "mean"

    @classmethod
    def learn(cls, rows: pa.Table, described: Description) -> Self:
        """Return the kind.

        Raises:
            ValueError: the metric is Spearman's correlation, and rows are no pairs.
        """
        if described.metric == "spearman" and "text_b" not in rows.column_names:
            raise ValueError("it has one text per row; spearman compares pairs of texts, with a score each")
        return cls(described.metric)

    @classmethod
    def reads_label(cls, metric: str) -> bool:
        """Return whether pairs have a score, which Spearman's correlation compares with their cosines."""
        return metric == "spearman"

    def numbered(self, rows: pa.Table) -> pa.Table:
        """Return the rows with the scores of pairs, float32, or -1."""
        if self.metric != "spearman":
            return unknown(rows)
        return with_label(rows, values(rows["label"], rows["id"]))

    def encode(self, rows: pa.Table, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> pa.Table:
        """Return the texts as tokens, those of a pair one after the other; `score` is the row's label."""
        names = [name for name in ("text_a", "text_b") if name in rows.column_names]
        order = np.arange(len(names) * rows.num_rows).reshape(len(names), -1).T.reshape(-1)
        parts = [pa.table({"id": rows["id"], "text_a": rows[name], "label": rows["label"]}) for name in names]
        table = encode(pa.concat_tables(parts), tokenizer, max_length=max_length)
        metadata = table.schema.metadata
        scored = table.append_column("score", table["label"].cast(pa.float32()))
        found: pa.Table = scored.take(pa.array(order)).combine_chunks()
        return found.replace_schema_metadata(metadata)

    @property
    def unlabelled(self) -> bool:
        """Whether the dense network's embeddings take the place of labels: they do."""
        return True

    @property
    def trains_on_answers(self) -> bool:
        """Whether networks are trained on them: they are."""
        return True

    def of_model(self, names: tuple[str, ...], config: Mapping[str, Any], *, head_bias: bool = True) -> Self:
        """Return the kind with the pooling of the model."""
        del names, head_bias
        return replace(self, pooling=config.get(POOLING, self.pooling))

    def answers(self, kept: Tensor) -> Array:
        """Return the embeddings [R, d]."""
        return kept.numpy()

    @property
    def output_names(self) -> tuple[str, ...]:
        """None: features have no names."""
        return ()

    def outputs(self, found: Any, batch: Batch) -> Tensor:
        """Return embeddings of length 1 [B, d]: the mean over tokens, or the first one's."""
        hidden = found.last_hidden_state.float()
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            real = batch["attention_mask"][..., None].to(hidden)
            pooled = (hidden * real).sum(dim=1) / real.sum(dim=1)
        return nn.functional.normalize(pooled, dim=-1)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean of 1 - cosine to the dense network's embedding."""
        return (1 - (outputs * batch["labels"]).sum(dim=-1)).mean()

    def drawn_loss(self, outputs: Tensor, batch: Batch, draws: Generator) -> Tensor:
        """Return the sum of half the squared distances to embeddings drawn around the network's own, variance 1."""
        del batch
        noise = torch.randn(outputs.shape, generator=draws, device=outputs.device)
        return (outputs - (outputs + noise).detach()).square().sum() / 2

    def soft_loss(self, outputs: Tensor, taught: Tensor, batch: Batch, *, temperature: float) -> Tensor:
        """Return the mean squared difference of similarities between the texts of a batch, ours and the teacher's.

        Similarities are kept beside single embeddings (Tung and Mori 2019, arXiv 1907.09682, without its norm).
        """
        del batch, temperature
        ours, theirs = (each.float() @ each.float().T for each in (outputs, taught))
        return nn.functional.mse_loss(ours, theirs)

    def judge(self, kept: Tensor, split: Split) -> Judged:
        """Return the mean loss; cosines to the dense network [V], or of pairs; what is kept of similarities."""
        dense = torch.tensor(split.labels).float()
        near = (kept * dense).sum(dim=-1)
        scores = {"structure": structure(kept, dense)}
        if self.metric == "spearman":
            scores["cosine"] = float(near.mean())
            first, second = kept[0::2], kept[1::2]
            return Judged(float((1 - near).mean()), (first * second).sum(dim=-1).numpy(), scores)
        return Judged(float((1 - near).mean()), near.numpy(), scores)

    def labels(self, split: Split) -> Array:
        """Return the scores of pairs [V]; 1, the cosine to itself, of single texts."""
        if self.metric == "spearman":
            return np.asarray(split.table["score"].to_numpy()[0::2], np.float32)
        return np.ones(len(split), np.float32)

    def ids(self, split: Split) -> list[str]:
        """Return the id of each unit [V]."""
        return split.ids[0::2] if self.metric == "spearman" else split.ids

    def constant(self, split: Split) -> float:
        """Return 0: one embedding for all texts keeps nothing of what they have in common."""
        del split
        return 0.0

    def constant_loss(self, split: Split) -> float:
        """Return 1 - |mean|: the loss of the direction that the embeddings have in common."""
        return float(1 - np.linalg.norm(split.labels.astype(np.float64).mean(axis=0)))

    def untrained_loss(self, split: Split) -> float:
        """Return 1: a cosine of 0."""
        del split
        return 1.0


def structure(ours: Tensor, dense: Tensor) -> float:
    """Return Spearman's correlation of the cosines between texts, ours and the dense network's, of at most 1,000."""
    from scipy.stats import spearmanr

    rows = np.linspace(0, len(ours) - 1, min(len(ours), COMPARED)).round().astype(np.int64)
    above = np.triu_indices(len(rows), k=1)
    first, second = ((each[rows] @ each[rows].T).numpy()[above] for each in (ours, dense))
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first, second).statistic)
