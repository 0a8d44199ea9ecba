"""Files of words and tags, and of questions: CoNLL text and SQuAD's JSON -> rows of lists and objects."""

from __future__ import annotations

import json
import re
from typing import Any

LINE_END = re.compile(r"\r\n|\n|\r")  # other characters at which Python ends a line may be words
REMARK = re.compile(r"#( |$)")  # not a hashtag
CONLL = (".conll", ".bio", ".iob", ".iob2", ".bioes")
Rows = list[dict[str, Any]]


def read_conll(text: str) -> Rows:
    """Return sentences of a file with a word per line: `tokens`, of the first column, and `tags`, of the last one.

    Columns are separated by tabs, or else by spaces; other white space is part of a word (U+00A0 within a number). A
    blank line ends a sentence; -DOCSTART- lines are none, nor are lines that begin with # and a space, unless they
    have the columns of the others: "# text = ..." is a remark, "# SYM B-NP O" is a word.

    Raises:
        ValueError: a line has a word alone.
    """
    lines = [_columns(line) for line in LINE_END.split(text)]
    width = next((len(parts) for parts in lines if parts and not parts[0].startswith(("#", "-DOCSTART-"))), 0)
    rows: Rows = []
    words: list[str] = []
    tags: list[str] = []
    for number, parts in enumerate([*lines, []], start=1):
        if not parts or parts[0] == "-DOCSTART-":
            if words:
                rows.append({"tokens": words, "tags": tags})
            words, tags = [], []
        elif len(parts) > 1 and not (REMARK.match(parts[0]) and len(parts) != width):
            words.append(parts[0])
            tags.append(parts[-1])
        elif not parts[0].startswith("#"):
            raise ValueError(f"line {number} has a word and no tag: {parts[0][:60]!r}")
    return rows


def _columns(line: str) -> list[str]:
    """Return a line's columns; none of a blank line."""
    if not line.strip():
        return []
    return [part.strip() for part in line.split("\t")] if "\t" in line else [p for p in line.split(" ") if p]


def read_objects(text: str) -> Rows:
    """Return the rows of a JSON document: SQuAD's (data, paragraphs, qas), or a list of objects.

    Raises:
        ValueError: it is neither.
    """
    found = json.loads(text)
    if isinstance(found, dict) and isinstance(found.get("data"), list):
        found = found["data"]
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError("it is JSON, but no list of objects, and not SQuAD's (data, paragraphs, qas)")
    if not any("paragraphs" in each for each in found):
        return found
    try:
        return [
            {
                "id": question.get("id"),
                "question": question["question"],
                "context": paragraph["context"],
                "answers": question.get("answers", []),
            }
            for article in found
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except KeyError as error:
        raise ValueError(f"it is JSON as SQuAD's, but {error} is missing") from error
    except TypeError as error:
        raise ValueError(f"it is JSON as SQuAD's, but a part is of another type ({error})") from error
