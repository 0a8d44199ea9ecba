"""Language models: running text in blocks of tokens; each token is predicted from those before it in its block.

Texts are joined, each ended by the tokenizer's end, and cut into blocks of `max_length` tokens; the rest is left out,
so that all blocks are whole. The objective is the mean log-likelihood of a token in nats: higher is better. Perplexity
is exp of its negative.

Shapes: B blocks of T tokens, W words of the vocabulary, V blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import pyarrow as pa
import torch
from torch import Generator, Tensor, nn

from pipeline.study.records import Array
from pipeline.task.batches import Batch, Split
from pipeline.task.kinds.base import Description, Judged, Kind
from pipeline.task.tokens import CUT, LIMIT
from pipeline.task.usual import Usual

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOP = 16  # words of a teacher's prediction that are kept
TEXTS_AT_ONCE = 1_000


@dataclass(frozen=True)
class LanguageModel(Kind):
    """The next token; the loss is the cross-entropy, a mean over tokens but each block's first."""

    name: ClassVar[str] = "language-model"
    metrics: ClassVar[tuple[str, ...]] = ("log_likelihood",)
    network: ClassVar[str] = "causal-lm"
    labelled: ClassVar[bool] = False
    usual: ClassVar[Usual] = Usual(pairs=())

    @classmethod
    def learn(cls, rows: pa.Table, described: Description) -> Self:
        """Return the kind; there is nothing to learn of the rows.

        Raises:
            ValueError: a positive class is named, or rows have two texts.
        """
        if described.positive is not None:
            raise ValueError("positive names one of two classes; running text has none")
        if "text_b" in rows.column_names:
            raise ValueError("a row of running text has one text, these have two")
        return cls(described.metric)

    def numbered(self, rows: pa.Table) -> pa.Table:
        """Return the rows with zeros for labels: what is predicted are their own tokens."""
        zeros = pa.chunked_array([pa.array(np.zeros(rows.num_rows, np.int64))])
        return rows.set_column(rows.column_names.index("label"), "label", zeros).combine_chunks()

    def encode(self, rows: pa.Table, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> pa.Table:
        """Return the rows' texts as whole blocks: id, input_ids, label.

        Raises:
            ValueError: the texts have fewer tokens than a block, or a block has one alone.
        """
        length, texts = min(max_length, tokenizer.model_max_length), rows["text_a"].to_pylist()
        if length < 2:
            raise ValueError(f"A block has two tokens or more; max_length is {length}.")
        end = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
        tokens: list[int] = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            found = tokenizer(texts[start : start + TEXTS_AT_ONCE], add_special_tokens=False, verbose=False)
            for row in found["input_ids"]:
                tokens += [*row, *end]
        blocks = len(tokens) // length
        if not blocks:
            raise ValueError(
                f"Running text has at least one block of {length} tokens; this has {len(tokens)}."
            )
        flat = pa.array(np.array(tokens[: blocks * length], np.int32))
        offsets = pa.array(np.arange(0, blocks * length + 1, length, dtype=np.int32))
        ids = pa.array([f"block-{number}" for number in range(1, blocks + 1)])
        labels = pa.array(np.zeros(blocks, np.int64))
        return pa.table({"id": ids, "input_ids": pa.ListArray.from_arrays(offsets, flat), "label": labels})

    def split(self, rows: pa.Table, tokenizer: PreTrainedTokenizerBase) -> Split:
        """Return blocks that no batch is longer than: a batch for a GPU is not filled up, as lengths of others are."""
        found = super().split(rows, tokenizer)
        limit = {CUT: "0", LIMIT: str(int(found.lengths.max()))}
        return replace(found, table=rows.replace_schema_metadata(limit))

    @property
    def classes(self) -> int:
        """None: words are no classes."""
        return 0

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of logits [B, T, W] of the next tokens."""
        return nn.functional.cross_entropy(_before(outputs).float(), _next(batch))

    def drawn_loss(self, outputs: Tensor, batch: Batch, draws: Generator) -> Tensor:
        """Return the sum of the blocks' mean cross-entropies at words drawn from the softmax."""
        del batch
        logits = _before(outputs)
        words = logits.detach().softmax(-1).multinomial(1, generator=draws).squeeze(1)
        return nn.functional.cross_entropy(logits, words) * len(outputs)

    def taught(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return a teacher's likeliest words and their logits [B, T, 2 K]: all W would be too many to keep."""
        del batch
        best = outputs.float().topk(min(TOP, outputs.shape[-1]), dim=-1)
        return torch.cat([best.values, best.indices.float()], dim=-1)

    def soft_loss(self, outputs: Tensor, taught: Tensor, batch: Batch, *, temperature: float) -> Tensor:
        """Return T² · KL(softmax(t/T) ‖ softmax(s/T)) over the teacher's likeliest words, a mean over tokens."""
        del batch
        logits, words = taught.float().chunk(2, dim=-1)
        theirs = (_before(logits) / temperature).log_softmax(-1)
        ours = (_before(outputs.float().gather(-1, words.long())) / temperature).log_softmax(-1)
        return temperature**2 * nn.functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)

    def kept(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean log-likelihood [B] of each block's tokens."""
        rows, tokens, _ = outputs.shape
        losses = nn.functional.cross_entropy(_before(outputs).float(), _next(batch), reduction="none")
        return -losses.view(rows, tokens - 1).mean(dim=1)

    def judge(self, kept: Tensor, split: Split) -> Judged:
        """Return the mean loss, each block's log-likelihood [V], and the perplexity."""
        del split
        loss = -float(kept.double().mean())
        return Judged(loss, kept.numpy().astype(np.float32), {"perplexity": float(np.exp(min(loss, 700.0)))})

    def constant(self, split: Split) -> float:
        """Return the log-likelihood of the best prediction that is the same for all tokens: their own shares."""
        return -unigram_entropy(split)

    def constant_loss(self, split: Split) -> float:
        """Return the entropy of the tokens, in nats."""
        return unigram_entropy(split)

    def untrained_loss(self, split: Split) -> float:
        """Return ln W, of the words that there are."""
        return float(np.log(int(_tokens(split).max()) + 1))


def unigram_entropy(split: Split) -> float:
    """Return the entropy of the tokens of all blocks, but the first of each, in nats."""
    shares = np.bincount(_tokens(split).reshape(len(split), -1)[:, 1:].ravel())
    shares = shares[shares > 0] / shares.sum()
    return float(-(shares * np.log(shares)).sum())


def _tokens(split: Split) -> Array:
    """Return the tokens of all blocks, one after the other; a part of a table is read from where it begins."""
    return np.asarray(split.table["input_ids"].combine_chunks().flatten().to_numpy())


def _before(outputs: Tensor) -> Tensor:
    """Return what is predicted at each token but a block's last: [B (T - 1), ...]."""
    return outputs[:, :-1].flatten(0, 1)


def _next(batch: Batch) -> Tensor:
    """Return the tokens that are predicted [B (T - 1)]: all but a block's first."""
    return batch["input_ids"][:, 1:].flatten()
