"""Small task files of any shape, and a tokenizer of whole words for them."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pipeline.task.loading import Task, load_task

HEADER = 'name = "toy"\nmetric = "{metric}"\ntext = [{text}]\nlabel = "label"\n{more}\n'
FILES = '[files]\ntrain = "train.tsv"\ntest = "test.tsv"\n{files}'


def write_task(
    folder: Path,
    rows: list[tuple[str, ...]],
    *,
    metric: str = "accuracy",
    more: str = "",
    files: str = "",
    test: list[tuple[str, ...]] | None = None,
) -> Path:
    """A task file with rows of (text, ..., label)."""
    text = ["a", "b"][: len(rows[0]) - 1]
    for name, part in (("train.tsv", rows), ("test.tsv", test or rows)):
        lines = ["\t".join(row) for row in [(*text, "label"), *part]]
        (folder / name).write_text("\n".join(lines) + "\n")
    path = folder / "task.toml"
    columns = ", ".join(f'"{name}"' for name in text)
    path.write_text(HEADER.format(metric=metric, text=columns, more=more) + FILES.format(files=files))
    return path


def load(path: Path) -> Task:
    return load_task(str(path), cache=path.parent / "cache")


def sentences(count: int) -> list[tuple[str, ...]]:
    return [(f"sentence number {row}", str(row % 3)) for row in range(count)]


def make_tokenizer(pad: str | None = "[PAD]") -> PreTrainedTokenizerFast:
    words = {"[PAD]": 0, "[UNK]": 1, "sentence": 2, "number": 3, **{str(row): 4 + row for row in range(2000)}}
    backend = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=pad, unk_token="[UNK]")
