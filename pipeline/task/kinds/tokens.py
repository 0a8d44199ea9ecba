"""Tagged words: named entities and the like, in BIO or BIOES.

A word's tag is learned and predicted at its first piece. Shapes: B rows, T tokens, W words of the longest row, C tags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self, final

import numpy as np
import pyarrow as pa
from torch import Generator, Tensor, nn

from pipeline.study import metrics
from pipeline.study.records import Array
from pipeline.study.summed_metrics import ABSENT, OUTSIDE, PREFIXES, entity_counts, ratio, tag_code
from pipeline.task.batches import NO_LABEL, Batch, Split
from pipeline.task.kinds.base import Description, Judged, Kind
from pipeline.task.kinds.classification import entropy, soft_targets
from pipeline.task.kinds.tables import listed, row_number, with_label
from pipeline.task.tokens import CUT, LIMIT
from pipeline.task.usual import Usual

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@final
@dataclass(frozen=True)
class Tokens(Kind):
    """One tag per word; the loss is the cross-entropy, a mean over words."""

    name: ClassVar[str] = "tokens"
    metrics: ClassVar[tuple[str, ...]] = ("entity_f1",)
    network: ClassVar[str] = "token-classification"
    nested: ClassVar[bool] = True
    usual: ClassVar[Usual] = Usual(
        texts=("tokens", "words"), pairs=(), labels=("ner_tags", "tags", "labels", "ner", "label")
    )

    @classmethod
    def learn(cls, rows: pa.Table, described: Description) -> Self:
        """Return the tags that the rows have: O, then each type's in the order B, I, E, S.

        Raises:
            ValueError: a row has as many words as tags not, or a tag is none of BIO or BIOES.
        """
        seen = {tag for tags in _tags(rows) for tag in tags} - {"O"}
        types = tuple(sorted({tag.partition("-")[2] for tag in seen}))
        if not types:
            raise ValueError("its words have no tag but O")
        return cls(described.metric, ("O", *sorted(seen, key=lambda tag: tag_code(tag, types))))

    @property
    def types(self) -> tuple[str, ...]:
        """The types of entities, by name."""
        return tuple(sorted({name.partition("-")[2] for name in self.class_names} - {""}))

    def numbered(self, rows: pa.Table) -> pa.Table:
        """Return the rows with tag numbers, a list per row.

        Raises:
            ValueError: a row has a tag that train has not.
        """
        place = {name: number for number, name in enumerate(self.class_names)}
        found = []
        for row, tags in enumerate(_tags(rows)):
            unknown = [tag for tag in tags if tag not in place]
            if unknown:
                raise ValueError(
                    f"row {row_number(rows, row)} has the tag {unknown[0]!r}, which train has not "
                    f"({', '.join(self.class_names[:20])})"
                )
            found.append([place[tag] for tag in tags])
        return with_label(rows, pa.array(found, pa.list_(pa.int64())))

    def encode(self, rows: pa.Table, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> pa.Table:
        """Return tokens, the label of each (of first pieces of words), the word that it begins, and all words' tags."""
        length = min(max_length, tokenizer.model_max_length)
        texts = [listed(text) for text in rows["text_a"].to_pylist()]
        encoding = tokenizer(
            [" ".join(words) for words in texts],
            truncation=True, max_length=length, return_offsets_mapping=True, return_attention_mask=False,
        )  # fmt: skip
        begun, labels = [], []
        for words, tags, offsets in zip(
            texts, rows["label"].to_pylist(), encoding["offset_mapping"], strict=True
        ):
            word_of = _first_pieces(words, offsets)
            begun.append(word_of)
            labels.append([NO_LABEL if word < 0 else tags[word] for word in word_of])
        columns = {"id": rows["id"], "input_ids": pa.array(encoding["input_ids"], pa.list_(pa.int32()))}
        if "token_type_ids" in encoding:
            columns["token_type_ids"] = pa.array(encoding["token_type_ids"], pa.list_(pa.int8()))
        columns["label"] = pa.array(labels, pa.list_(pa.int64()))
        columns["word"] = pa.array(begun, pa.list_(pa.int32()))
        columns["tags"] = rows["label"].cast(pa.list_(pa.int16()))
        cut = sum(bool(row.overflowing) for row in encoding.encodings or ())
        found: pa.Table = pa.table(columns).combine_chunks()
        return found.replace_schema_metadata({CUT: str(cut), LIMIT: str(length)})

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy over words; 0 without any."""
        labels = batch["labels"].flatten()
        summed = nn.functional.cross_entropy(outputs.float().flatten(0, 1), labels, reduction="sum")
        return summed / (labels != NO_LABEL).sum().clamp(min=1)

    def weight(self, batch: Batch) -> float:
        """Return the number of words."""
        return float((batch["labels"] != NO_LABEL).sum())

    def drawn_loss(self, outputs: Tensor, batch: Batch, draws: Generator) -> Tensor:
        """Return the sum over words of the cross-entropy at tags drawn from the softmax."""
        words = outputs[batch["labels"] != NO_LABEL]
        labels = words.detach().softmax(-1).multinomial(1, generator=draws).squeeze(1)
        return nn.functional.cross_entropy(words, labels, reduction="sum")

    def soft_loss(self, outputs: Tensor, taught: Tensor, batch: Batch, *, temperature: float) -> Tensor:
        """Return T² · KL(softmax(t/T) ‖ softmax(s/T)), a mean over words; 0 without any."""
        return soft_targets(outputs, taught, temperature=temperature, where=batch["labels"] != NO_LABEL)

    def judge(self, kept: Tensor, split: Split) -> Judged:
        """Return the mean loss over words, tags [V, W] as `labels`, and F1 by type; words that were cut off are O."""
        every = split.collate(np.arange(len(split)))["labels"]
        loss = nn.functional.cross_entropy(kept[:, : every.shape[1]].flatten(0, 1), every.flatten())
        best = kept.argmax(-1).numpy()
        truth = self.labels(split)
        found = np.where(truth == ABSENT, ABSENT, OUTSIDE).astype(np.int16)
        codes = self._codes()
        for row, words in enumerate(split.table["word"].to_pylist()):
            for token, word in enumerate(words):
                if word >= 0:
                    found[row, word] = codes[best[row, token]]
        return Judged(float(loss), found, self._by_type(truth, found))

    def labels(self, split: Split) -> Array:
        """Return tags as `tag_code` numbers them [V, W], -1 after a row's last word, int16."""
        tags, codes = split.table["tags"].to_pylist(), self._codes()
        found = np.full((len(tags), max(map(len, tags))), ABSENT, np.int16)
        for row, each in enumerate(tags):
            found[row, : len(each)] = codes[each]
        return found

    def constant(self, split: Split) -> float:
        """Return the metric of no entity at all: 0."""
        truth = self.labels(split)
        return metrics.evaluate(self.metric, truth, np.minimum(truth, OUTSIDE))["metric"]

    def constant_loss(self, split: Split) -> float:
        """Return the entropy of the tags, in nats."""
        return entropy(_learned(split))

    def untrained_loss(self, split: Split) -> float:
        """Return ln C."""
        del split
        return float(np.log(len(self.class_names)))

    def _codes(self) -> Array:
        return np.array([tag_code(name, self.types) for name in self.class_names], np.int16)

    def _by_type(self, truth: Array, found: Array) -> dict[str, float]:
        scores = {}
        for number, name in enumerate(self.types, start=1):
            hits, predicted, there = entity_counts(truth, found, kind=number).sum(axis=0)
            scores[f"f1/{name}"] = float(ratio(np.array(2 * hits), np.array(predicted + there)))
        return scores


def _learned(split: Split) -> Array:
    """Return the tag numbers of all first pieces."""
    flat = split.table["label"].combine_chunks().flatten().to_numpy()
    return np.asarray(flat[flat != NO_LABEL])


def _tags(rows: pa.Table) -> list[list[str]]:
    """Return the tags of each row.

    Raises:
        ValueError: a row has another number of words than of tags, no words, or a tag that is none.
    """
    found = []
    for row, (text, label) in enumerate(
        zip(*(rows[name].to_pylist() for name in ("text_a", "label")), strict=True)
    ):
        words, tags = listed(text), listed(label)
        place = f"row {row_number(rows, row)}"
        if len(words) != len(tags) or not words:
            raise ValueError(f"{place} has {len(words)} words and {len(tags)} tags; each word has one tag")
        if not all(word.strip() for word in words):
            raise ValueError(f"{place} has an empty word")
        for tag in tags:
            if tag != "O" and (tag[:1] not in tuple(PREFIXES) or tag[1:2] != "-" or not tag[2:]):
                raise ValueError(
                    f"{place} has the tag {tag!r}; tags are O, B-TYPE, I-TYPE (and E-TYPE, S-TYPE)"
                )
        found.append(tags)
    return found


def _first_pieces(words: list[str], offsets: list[tuple[int, int]]) -> list[int]:
    """Return, of each token, the word that begins with it, or -1; `offsets` are in the words joined by spaces."""
    starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
    found, seen = [], set()
    for start, end in offsets:
        word = int(np.searchsorted(starts, end - 1, side="right")) - 1 if end > start else -1
        found.append(-1 if word in seen else word)
        seen.add(word)
    return found
