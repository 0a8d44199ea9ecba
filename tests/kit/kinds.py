"""Kinds of tasks with their tiny data."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.task.batches import Split
from pipeline.task.imagefiles import as_text
from pipeline.task.kinds import Classification, Regression
from tests.kit.toy import BAD, FILLER, GOOD, sentences

CLASSES = Classification("accuracy", ("0", "1", "2"))  # of the tiny networks' three outputs
VALUES = Regression("pearson_spearman")


def labelled(labels: np.ndarray) -> Split:
    """Rows of one token with these labels."""
    columns = {"id": [str(row) for row in range(len(labels))], "input_ids": [[1]] * len(labels)}
    return Split(pa.table({**columns, "label": labels}), pad_token_id=0)


MakeRows = Callable[[int, np.random.Generator], list[dict[str, Any]]]


def sentiment(count: int, draws: np.random.Generator) -> list[dict[str, Any]]:
    return [
        {"text": f"{text} {row}", "label": label}
        for row, (text, label) in enumerate(sentences(count, seed=1))
    ]


def valued(count: int, draws: np.random.Generator) -> list[dict[str, Any]]:
    return [
        {"text": f"{text} {row}", "label": label + 0.1 * (row % 3)}
        for row, (text, label) in enumerate(sentences(count, seed=1))
    ]


def labels(count: int, draws: np.random.Generator) -> list[dict[str, Any]]:
    """Both of two labels where both words are there."""
    rows = []
    for row in range(count):
        names = [["good"], ["bad"], ["good", "bad"]][row % 3]
        words = [str(draws.choice({"good": GOOD, "bad": BAD}[name])) for name in names]
        rows.append({"text": " ".join([*words, *map(str, draws.choice(FILLER, 4))]), "labels": names})
    return rows


def tagged(count: int, draws: np.random.Generator) -> list[dict[str, Any]]:
    """One entity of two words in each sentence."""
    rows = []
    for row in range(count):
        kind, words = ("GOOD", GOOD) if row % 2 else ("BAD", BAD)
        before, after = draws.integers(1, 4, 2)
        filler = [str(word) for word in draws.choice(FILLER, before + after)]
        tokens = [*filler[:before], *map(str, draws.choice(words, 2)), *filler[before:]]
        tags = ["O"] * before + [f"B-{kind}", f"I-{kind}"] + ["O"] * after
        rows.append({"tokens": tokens, "ner_tags": tags})
    return rows


def ranked(count: int, draws: np.random.Generator) -> list[dict[str, Any]]:
    """Four passages of a query; the one with a good word is relevant."""
    return [
        {
            "query": f"story {FILLER[row // 4 % len(FILLER)]} {row // 4}",
            "passage": f"{draws.choice(GOOD if row % 4 == row // 4 % 4 else BAD)} {draws.choice(FILLER)}",
            "relevance": int(row % 4 == row // 4 % 4),
        }
        for row in range(count)
    ]


def asked(count: int, draws: np.random.Generator) -> list[dict[str, Any]]:
    """The answer is the one good word of the context; of every fifth question there is none."""
    rows = []
    for row in range(count):
        words = [str(word) for word in draws.choice([*FILLER, *BAD], 8)] + [f"of {row}"]
        place, answer = int(draws.integers(0, 8)), str(draws.choice(GOOD))
        if row % 5:
            words[place] = answer
        context = " ".join(words)
        start = len(" ".join(words[:place])) + (place > 0)
        answers = {"text": [answer], "answer_start": [start]} if row % 5 else {"text": [], "answer_start": []}
        rows.append({"question": f"how was the story {row % 7}", "context": context, "answers": answers})
    return rows


def unlabelled(count: int, draws: np.random.Generator) -> list[dict[str, Any]]:
    return [{"text": f"{text} {row}"} for row, (text, _) in enumerate(sentences(count, seed=2))]


def pictures(count: int, draws: np.random.Generator) -> list[dict[str, Any]]:
    """The left half is bright, or the right one."""
    rows = []
    for row in range(count):
        pixels = draws.integers(0, 90, (8, 8, 3), np.uint8)
        pixels[:, (row % 2) * 4 : (row % 2) * 4 + 4] += 150
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        rows.append({"image": as_text(file.getvalue()), "label": ("left", "right")[row % 2]})
    return rows


def running(count: int, draws: np.random.Generator) -> list[dict[str, Any]]:
    """Words that follow each other in a circle, after a number."""
    circle = (FILLER * 2)[:6] * 4
    return [{"text": " ".join([str(row), *circle[row % 6 : row % 6 + 16]])} for row in range(count)]


TINY: dict[str, MakeRows] = {
    "classification": sentiment,
    "regression": valued,
    "multi-label": labels,
    "tokens": tagged,
    "question-answering": asked,
    "ranking": ranked,
    "embedding": unlabelled,
    "images": pictures,
    "language-model": running,
}


# the models of kinds that the toy model is none of
FROM_NOTHING = {"images": "builtin/tiny-vit", "language-model": "builtin/tiny-gpt2"}


def write_rows(folder: Path, kind: str, *, rows: int = 160) -> Path:
    """Write train.jsonl and test.jsonl of a kind into a folder; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, count) in enumerate((("train", rows), ("test", rows // 4))):
        made = TINY[kind](count, np.random.default_rng(seed))
        lines = [
            json.dumps({**row, **({"text": f"{row['text']} {name}"} if "text" in row else {})})
            for row in made
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder
