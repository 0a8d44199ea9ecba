"""Files of words and tags, and of questions: CoNLL text and SQuAD's JSON -> rows of lists and objects."""

from __future__ import annotations

import json
from typing import Any

CONLL = (".conll", ".bio", ".iob", ".iob2", ".bioes")
Rows = list[dict[str, Any]]


def read_conll(text: str) -> Rows:
    """Return sentences of a file with a word per line: `tokens`, of the first column, and `tags`, of the last one.

    Columns are separated by white space; a blank line ends a sentence; -DOCSTART- and # lines are none.

    Raises:
        ValueError: a line has a word alone.
    """
    rows: Rows = []
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        parts = line.split("\t") if "\t" in line else line.split()
        if not line.strip() or parts[0] == "-DOCSTART-":
            if words:
                rows.append({"tokens": words, "tags": tags})
            words, tags = [], []
        elif len(parts) > 1:
            words.append(parts[0].strip())
            tags.append(parts[-1].strip())
        elif not line.startswith("#"):
            raise ValueError(f"line {number} has a word and no tag: {line[:60]!r}")
    return rows


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
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is JSON as SQuAD's, but {error!r} is missing") from error
