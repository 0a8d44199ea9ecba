"""The usual names of columns, by which they are found in a file."""

from __future__ import annotations

from typing import NamedTuple

TEXTS = (
    "text",
    "sentence",
    "review",
    "content",
    "body",
    "document",
    "comment",
    "message",
    "tweet",
    "title",
    "question",
)
PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("question", "sentence"),
    ("question", "passage"),
)
LABELS = (
    "label", "labels", "class", "category", "topic", "sentiment", "intent", "target", "tag", "rating", "stars",
    "gold_label",
)  # fmt: skip


class Usual(NamedTuple):
    """The usual names of a kind's columns, by which they are found: one text, a pair, the label."""

    texts: tuple[str, ...] = TEXTS
    pairs: tuple[tuple[str, str], ...] = PAIRS
    labels: tuple[str, ...] = LABELS
