"""The built-in corpus as other kinds of tasks: real sentences, and labels that follow from where they were written.

    builtin/docstrings-multi-label         which packages are these one to three sentences from?
    builtin/docstrings-regression          how much of three sentences is from libraries for data?
    builtin/docstrings-tokens              which words are a sentence of pandas, of Ray, of torch?
    builtin/docstrings-question-answering  which of three sentences is about a package? For some questions there is none
    builtin/docstrings-ranking             sentences with a word, those of one package first
    builtin/docstrings-embedding           pairs of sentences with a score: 1 of one package, 0 of two
    builtin/docstrings-language-model      the sentences as running text

Rows follow from the corpus' files alone, without chance: they are the same on every machine.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.task.docstrings import rows_of

Sentence = tuple[str, str]  # text and package
Row = dict[str, str]
DATA_LIBRARIES = ("pandas", "scikit-learn", "scipy")
TAGGED = ("pandas", "ray", "torch")
SHORT = 14  # words of a sentence, where several stand in a row of tags or in a context
WORD = re.compile(r"[a-z]{5,}")
RELEVANT, OTHERS = 2, 4  # passages of a query
LISTS = 400  # queries of train; test has a fifth
NO_ANSWER = 6  # every sixth question has none


def _groups(sentences: list[Sentence], size: int, *, mixed: bool) -> Iterator[list[Sentence]]:
    """Return groups of sentences, in their order; `mixed`: of different packages each."""
    group: list[Sentence] = []
    later: list[Sentence] = []
    for sentence in sentences:
        taken = mixed and any(sentence[1] == package for _, package in group)
        (later if taken else group).append(sentence)
        if len(group) == size:
            yield group
            group, later = later[:1], later[1:]


def _multi_label(sentences: list[Sentence]) -> Iterator[Row]:
    for number, group in enumerate(_groups(sentences, 3, mixed=False)):
        some = group[: number % 3 + 1]
        packages = sorted({package for _, package in some})
        yield {"text_a": " ".join(text for text, _ in some), "label": json.dumps(packages)}


def _regression(sentences: list[Sentence]) -> Iterator[Row]:
    for group in _groups(sentences, 3, mixed=False):
        share = sum(package in DATA_LIBRARIES for _, package in group) / len(group)
        yield {"text_a": " ".join(text for text, _ in group), "label": f"{share:.3f}"}


def _tokens(sentences: list[Sentence]) -> Iterator[Row]:
    short = [each for each in sentences if len(each[0].split()) <= SHORT]
    for group in _groups(short, 2, mixed=True):
        words, tags = [], []
        for text, package in group:
            those = text.split()
            words += those
            tags += (
                [f"B-{package}", *[f"I-{package}"] * (len(those) - 1)]
                if package in TAGGED
                else ["O"] * len(those)
            )
        yield {"text_a": json.dumps(words), "label": json.dumps(tags)}


def _questions(sentences: list[Sentence]) -> Iterator[Row]:
    short = [each for each in sentences if len(each[0].split()) <= SHORT]
    for number, (meant, *group) in enumerate(_groups(short, 4, mixed=True)):
        some = list(group)
        if number % NO_ANSWER:
            some.insert(number % len(group), meant)
        context = " ".join(text for text, _ in some)
        answer = [{"text": meant[0], "answer_start": context.index(meant[0])}] if meant in some else []
        yield {"text_a": f"What is written of {meant[1]}?", "text_b": context, "label": json.dumps(answer)}


def _ranking(sentences: list[Sentence]) -> Iterator[Row]:
    having: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for text, package in sentences:
        for word in dict.fromkeys(WORD.findall(text)):
            having[word][package].append(text)
    lists = 0
    for word, packages in having.items():
        for package, own in packages.items():
            others = [texts[0] for name, texts in packages.items() if name != package]
            if len(own) < RELEVANT or len(others) < OTHERS or lists == LISTS:
                continue
            lists += 1
            for text in [*own[:RELEVANT], *others[:OTHERS]]:
                relevance = str(int(text in own))
                yield {"text_a": f"{package}: {word}", "text_b": text, "label": relevance}


def _embedding(sentences: list[Sentence]) -> Iterator[Row]:
    for number, group in enumerate(_groups(sentences, 4, mixed=False)):
        (first, here), *rest = group
        same = [text for text, package in rest if package == here]
        other = [text for text, package in rest if package != here]
        chosen = (same or other) if number % 2 else (other or same)
        yield {"text_a": first, "text_b": chosen[0], "label": str(int(chosen is same))}


def _language_model(sentences: list[Sentence]) -> Iterator[Row]:
    for text, _ in sentences:
        yield {"text_a": text, "label": "?"}


@dataclass(frozen=True)
class Recipe:
    """How rows are made of sentences, the names of their texts, the task's metric, its tokens of a row, its options."""

    rows: Callable[[list[Sentence]], Iterator[Row]]
    text: tuple[str, ...]
    metric: str
    max_length: int
    options: Mapping[str, str] = field(default_factory=dict)


PREFIX = "builtin/docstrings-"
RECIPES = {
    "multi-label": Recipe(_multi_label, ("text",), "micro_f1", 64, {"threshold": "fitted"}),
    "regression": Recipe(_regression, ("text",), "pearson_spearman", 64),
    "tokens": Recipe(_tokens, ("tokens",), "entity_f1", 48),
    "question-answering": Recipe(_questions, ("question", "context"), "answer_f1", 96),
    "ranking": Recipe(_ranking, ("query", "passage"), "ndcg_10", 48),
    "embedding": Recipe(_embedding, ("sentence1", "sentence2"), "spearman", 48),
    "language-model": Recipe(_language_model, ("text",), "log_likelihood", 64),
}


@dataclass(frozen=True)
class Made:
    """Rows of a kind, made of a part of the corpus: train or test."""

    kind: str
    split: str

    way_out: ClassVar[str] = "Install prunefront again."
    is_here: ClassVar[bool] = True

    def __str__(self) -> str:
        return f"{PREFIX}{self.kind} ({self.split})"

    @property
    def text(self) -> tuple[str, ...]:
        """The names of its texts."""
        return RECIPES[self.kind].text

    def read(self, part: str) -> pa.Table:
        """Make all rows."""
        return self.read_with_remarks(part)[0]

    def read_with_remarks(self, part: str) -> tuple[pa.Table, tuple[str, ...]]:
        """Make all rows; there are no remarks."""
        table = pq.read_table(rows_of(self.split))
        sentences = list(zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True))
        rows = list(RECIPES[self.kind].rows(sentences))
        columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in rows[0]}
        ids = [f"{part}-{number}" for number in range(1, len(rows) + 1)]
        return pa.table({"id": ids, **columns}), ()
