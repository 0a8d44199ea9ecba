"""Tokenised rows in Arrow files, keyed by all that determines them: the next study maps them without a copy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.task.rows import write_table

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WORTH_ROWS = 20_000  # fewer are tokenised in less than two seconds


def kept(path: Path, make: Callable[[], pa.Table]) -> pa.Table:
    """Return the table in a file; if it is missing or torn, make and write it, whole or not at all."""
    with suppress(OSError, pa.ArrowInvalid), pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()
    table = make()
    with suppress(OSError):  # a store that cannot be written is read all the same
        write_table(path, table)
    return table


def tokens_folder(cache: Path, *, task_fingerprint: str, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Return the folder of a task's rows as a tokenizer encodes them."""
    made_by = ["rows that are cut are counted", task_fingerprint, *_key(tokenizer)]
    return cache / "tokens" / hashlib.sha256(json.dumps(made_by).encode()).hexdigest()[:16]


def _key(tokenizer: Any) -> list[Any]:
    """Return what decides on tokens, or pixels: an image processor has a key of its own."""
    if hasattr(tokenizer, "key"):
        return [tokenizer.key]
    names, kind = sorted(tokenizer.model_input_names), type(tokenizer).__name__
    return [tokenizer.backend_tokenizer.to_str(), tokenizer.model_max_length, names, kind]
