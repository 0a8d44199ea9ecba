"""Extractive question answering: the answer is a span of the context, or there is none (SQuAD 1.1 and 2.0).

A long context is read in windows that overlap; a question's answer is the best span of all of its windows. Answers are
compared as SQuAD's official script does (Rajpurkar et al., arXiv 1606.05250; 2.0: arXiv 1806.03822).
Shapes: B windows of a batch, T tokens, V questions.
"""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Generator, Tensor, nn

from pipeline.task.batches import Batch, Split
from pipeline.task.carve import text_key
from pipeline.task.kinds.base import Description, Judged, Kind
from pipeline.task.kinds.classification import entropy
from pipeline.task.kinds.tables import row_number, with_label
from pipeline.task.tokens import CUT, LIMIT
from pipeline.task.usual import Usual

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

STRIDE = 3  # a window shares this part of its tokens with the next: 128 of 384 in the published settings
QUESTION = 2  # a question has at most this part of a row's tokens
LONGEST_ANSWER = 30  # tokens (run_squad's max_answer_length)
BEST = 20  # starts and ends that are tried (run_squad's n_best_size)
NOWHERE = -1e9  # logit of padding
FIXED = 50  # most frequent answers that are tried as the constant one
ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)

Array = npt.NDArray[Any]  # of numbers


@final
@dataclass(frozen=True)
class QuestionAnswering(Kind):
    """A span per question; the loss is the mean cross-entropy of its start and its end."""

    name: ClassVar[str] = "question-answering"
    metrics: ClassVar[tuple[str, ...]] = ("answer_f1",)
    network: ClassVar[str] = "question-answering"
    nested: ClassVar[bool] = True
    usual: ClassVar[Usual] = Usual(texts=(), pairs=(("question", "context"),), labels=("answers", "answer"))

    no_answer: bool = False  # whether some questions have none

    @classmethod
    def learn(cls, rows: pa.Table, described: Description) -> Self:
        """Return whether some questions have no answer.

        Raises:
            ValueError: a row is no pair, or an answer is not in its context.
        """
        if "text_b" not in rows.column_names:
            raise ValueError("it has one text per row; question answering has a question and a context")
        return cls(described.metric, (), any(not answers for answers in _answers(rows)))

    def numbered(self, rows: pa.Table) -> pa.Table:
        """Return the rows with their answers as JSON: [[text, first character], ...]."""
        found = [json.dumps(answers, ensure_ascii=False) for answers in _answers(rows)]
        return with_label(rows, pa.array(found, pa.string()))

    @classmethod
    def keys(cls, rows: pa.Table) -> list[str]:
        """Return the context [R]: its questions are never parted."""
        return [text_key(context or "") for context in rows["text_b"].to_pylist()]

    def encode(self, rows: pa.Table, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> pa.Table:
        """Return windows: tokens, the label (start, end), `unit` the question, and of each token its characters."""
        length = min(max_length, tokenizer.model_max_length)
        contexts = rows["text_b"].to_pylist()
        encoding = tokenizer(
            _short(rows["text_a"].to_pylist(), tokenizer, length // QUESTION), contexts,
            truncation="only_second", max_length=length, stride=length // (QUESTION * STRIDE),
            return_overflowing_tokens=True, return_offsets_mapping=True, return_attention_mask=False,
        )  # fmt: skip
        units = encoding["overflow_to_sample_mapping"]
        answers = [json.loads(each) for each in rows["label"].to_pylist()]
        spans, firsts, lasts = [], [], []
        for window, unit in enumerate(units):
            of_context = [part == 1 for part in encoding.encodings[window].sequence_ids]
            offsets = encoding["offset_mapping"][window]
            starts = [start if there else -1 for (start, _), there in zip(offsets, of_context, strict=True)]
            ends = [end if there else -1 for (_, end), there in zip(offsets, of_context, strict=True)]
            spans.append(_span(answers[unit], starts, ends))
            firsts.append(starts)
            lasts.append(ends)
        columns = {
            "id": rows["id"].take(pa.array(units)),
            "input_ids": pa.array(encoding["input_ids"], pa.list_(pa.int32())),
            "label": pa.array(spans, pa.list_(pa.int64(), 2)),
            "unit": pa.array(units, pa.int32()),
            "start": pa.array(firsts, pa.list_(pa.int32())),
            "end": pa.array(lasts, pa.list_(pa.int32())),
            "context": rows["text_b"].combine_chunks().dictionary_encode().take(pa.array(units)),
            "answers": rows["label"].take(pa.array(units)),
        }
        if "token_type_ids" in encoding:
            columns["token_type_ids"] = pa.array(encoding["token_type_ids"], pa.list_(pa.int8()))
        found: pa.Table = pa.table(columns).combine_chunks()
        return found.replace_schema_metadata({CUT: "0", LIMIT: str(length)})

    @property
    def output_names(self) -> tuple[str, ...]:
        """None: starts and ends."""
        return ()

    def outputs(self, found: Any, batch: Batch) -> Tensor:
        """Return the logits of starts and ends [B, T, 2]; those of padding are far below all."""
        logits = torch.stack([found.start_logits, found.end_logits], dim=-1).float()
        return logits.masked_fill(batch["attention_mask"][..., None] == 0, NOWHERE)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of starts and ends; a window without the answer points to its first token."""
        return nn.functional.cross_entropy(outputs, batch["labels"])

    def drawn_loss(self, outputs: Tensor, batch: Batch, draws: Generator) -> Tensor:
        """Return the sum of the windows' losses at starts and ends drawn from their softmax."""
        del batch
        shares = outputs.detach().softmax(dim=1).transpose(1, 2).flatten(0, 1)
        labels = shares.multinomial(1, generator=draws).view(len(outputs), 2)
        return nn.functional.cross_entropy(outputs, labels, reduction="sum") / 2

    def soft_loss(self, outputs: Tensor, taught: Tensor, batch: Batch, *, temperature: float) -> Tensor:
        """Return T² · KL over positions, a mean over windows, starts and ends."""
        real = batch["attention_mask"][..., None] != 0
        ours, theirs = (
            (each.float() / temperature).masked_fill(~real, NOWHERE).log_softmax(dim=1)
            for each in (outputs, taught)
        )
        found = nn.functional.kl_div(ours, theirs, reduction="sum", log_target=True)
        return temperature**2 * found / (2 * len(outputs))

    def judge(self, kept: Tensor, split: Split) -> Judged:
        """Return the mean loss, and F1 and exact match of each question [V, 2], float32."""
        real = np.arange(kept.shape[1]) < split.lengths[:, None]
        logits = kept.masked_fill(~torch.from_numpy(real)[..., None], NOWHERE)
        loss = nn.functional.cross_entropy(logits, torch.tensor(split.labels))
        texts, golds = self.answers_of(logits, split), _golds(split)
        return Judged(
            float(loss), np.array([_best(*each) for each in zip(texts, golds, strict=True)], np.float32)
        )

    def answers_of(self, logits: Tensor, split: Split) -> list[str]:
        """Return the answer to each question [V]; "" for none."""
        found: dict[int, tuple[float, str]] = {}
        none: dict[int, float] = {}
        columns = (split.table[name].to_pylist() for name in ("unit", "start", "end", "context"))
        for window, (unit, first, last, context) in enumerate(zip(*columns, strict=True)):
            starts, ends = logits[window].numpy().T
            nothing = float(starts[0] + ends[0])
            none[unit] = min(none.get(unit, nothing), nothing)
            score, start, end = _best_span(starts, ends, np.array(first))
            if unit not in found or score > found[unit][0]:
                found[unit] = score, context[first[start] : last[end]] if end >= 0 else ""
        return [
            "" if self.no_answer and none[unit] > found[unit][0] else found[unit][1] for unit in sorted(found)
        ]

    def labels(self, split: Split) -> Array:
        """Return whether each question [V] has an answer."""
        return np.array([any(golds) for golds in _golds(split)], np.int64)

    def ids(self, split: Split) -> list[str]:
        """Return the id of each question [V]."""
        _, first = np.unique(split.table["unit"].to_numpy(), return_index=True)
        return [split.ids[row] for row in first]

    def constant(self, split: Split) -> float:
        """Return the F1 of the best fixed answer: of the most frequent ones, and of none."""
        golds = _golds(split)
        often = [text for text, _ in Counter(gold for each in golds for gold in each).most_common(FIXED)]
        return max(float(np.mean([_best(text, each)[0] for each in golds])) for text in ["", *often])

    def constant_loss(self, split: Split) -> float:
        """Return the mean entropy of starts and ends, as positions, in nats."""
        return (entropy(split.labels[:, 0]) + entropy(split.labels[:, 1])) / 2

    def untrained_loss(self, split: Split) -> float:
        """Return the mean logarithm of a window's length."""
        return float(np.log(split.lengths).mean())


def normalised(text: str) -> str:
    """Return a text as SQuAD's script compares it: lower case, no punctuation, articles and needless white space."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def answer_f1(answer: str, gold: str) -> float:
    """Return the F1 of an answer's words; of none and none 1, of none and some 0."""
    ours, theirs = normalised(answer).split(), normalised(gold).split()
    if not ours or not theirs:
        return float(ours == theirs)
    hits = (Counter(ours) & Counter(theirs)).total()
    return 2 * hits / (len(ours) + len(theirs))


def _best(answer: str, golds: list[str]) -> tuple[float, float]:
    """Return the best F1 and exact match over a question's answers."""
    exact = max(normalised(answer) == normalised(gold) for gold in golds)
    return max(answer_f1(answer, gold) for gold in golds), float(exact)


def _golds(split: Split) -> list[list[str]]:
    """Return the answers to each question [V]: those with words, or one empty text."""
    _, first = np.unique(split.table["unit"].to_numpy(), return_index=True)
    texts = [[text for text, _ in json.loads(split.table["answers"][int(row)].as_py())] for row in first]
    return [[text for text in each if normalised(text)] or [""] for each in texts]


def _best_span(starts: Array, ends: Array, first: Array) -> tuple[float, int, int]:
    """Return score, start and end of a window's best span inside the context; (-inf, 0, -1) if there is none."""
    inside = first >= 0
    count = len(first)
    starts, ends = (np.where(inside, each[:count], NOWHERE) for each in (starts, ends))
    tried = [np.argsort(-each, kind="stable")[:BEST] for each in (starts, ends)]
    score = starts[tried[0]][:, None] + ends[tried[1]]
    length = tried[1] - tried[0][:, None] + 1
    allowed = (length > 0) & (length <= LONGEST_ANSWER) & inside[tried[0]][:, None] & inside[tried[1]]
    if not allowed.any():
        return float("-inf"), 0, -1
    start, end = np.unravel_index(np.where(allowed, score, -np.inf).argmax(), score.shape)
    return float(score[start, end]), int(tried[0][start]), int(tried[1][end])


def _span(answers: list[list[Any]], starts: list[int], ends: list[int]) -> list[int]:
    """Return the first and last token of the first answer in a window; (0, 0) if it is not whole in it."""
    if not answers:
        return [0, 0]
    text, begin = answers[0]
    finish = begin + len(text)
    inside = [token for token, start in enumerate(starts) if start >= 0]
    first = [token for token in inside if starts[token] <= begin < ends[token]]
    last = [token for token in inside if starts[token] < finish <= ends[token]]
    return [first[0], last[-1]] if first and last else [0, 0]


def _short(questions: list[str], tokenizer: PreTrainedTokenizerBase, length: int) -> list[str]:
    """Return the questions, those of too many tokens cut."""
    questions = [question.strip() for question in questions]
    encoding = tokenizer(questions, add_special_tokens=False, return_offsets_mapping=True)
    ends = [each[length - 1][1] if len(each) > length else None for each in encoding["offset_mapping"]]
    return [question[:end] for question, end in zip(questions, ends, strict=True)]


def _answers(rows: pa.Table) -> list[list[tuple[str, int]]]:
    """Return the answers of each row: text and first character.

    Raises:
        ValueError: a row's answers are of another form, or one is not in its context.
    """
    found = []
    for row, (context, label) in enumerate(
        zip(rows["text_b"].to_pylist(), rows["label"].to_pylist(), strict=True)
    ):
        place, each = f"row {row_number(rows, row)}", []
        plain = label in context and label != "[]"  # such as "[1]", which is no JSON of answers
        for text, start in [(label, -1)] if plain else _pairs(label, place):
            begin = start if context[start : start + len(text)] == text and start >= 0 else context.find(text)
            if begin < 0:
                raise ValueError(f"{place} has the answer {text[:60]!r}, which is not in its context")
            each.append((text, begin))
        found.append(each)
    return found


def _pairs(label: str, place: str) -> list[tuple[str, int]]:
    """Return texts and starts of SQuAD's two forms: {"text": [], "answer_start": []}, [{"text", "answer_start"}]."""
    if not label.startswith(("[", "{")):
        return [(label, -1)]
    try:
        if isinstance(answers := json.loads(label), dict):
            answers = [
                {"text": text, "answer_start": start}
                for text, start in zip(
                    answers["text"], answers.get("answer_start") or [-1] * len(answers["text"]), strict=True
                )
            ]
        return [
            (each, -1)
            if isinstance(each, str)
            else (str(each["text"]), int(each.get("answer_start", -1)))
            if isinstance(each, dict)
            else (str(each[0]), int(each[1]))
            for each in answers
        ]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{place} has answers of another form than SQuAD's (text, answer_start)") from error
