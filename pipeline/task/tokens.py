"""Rows of text -> rows of token ids, in Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROWS_AT_ONCE = 10_000  # bounds what stands in memory as Python lists
CUT, LIMIT = b"cut", b"limit"  # metadata of encoded rows: how many were cut, and at how many tokens


def encode(rows: pa.Table, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> pa.Table:
    """Encode the rows' texts, truncated to `max_length` tokens or to what the model can take.

    `rows` has the columns id, text_a, text_b (of pairs) and label; returned are id, input_ids (list<int32>),
    token_type_ids (list<int8>) if the tokenizer gives them, and label, each in one chunk. The schema's metadata hold
    how many rows were cut, and at how many tokens.
    """
    length = min(max_length, tokenizer.model_max_length)
    starts = range(0, rows.num_rows, ROWS_AT_ONCE)
    parts = [_encode(rows.slice(start, ROWS_AT_ONCE), tokenizer, length) for start in starts]
    cut = sum(count for _, count in parts)
    table: pa.Table = pa.concat_tables([part for part, _ in parts]).combine_chunks()
    tokens: pa.Table = table.replace_schema_metadata({CUT: str(cut), LIMIT: str(length)})
    return tokens


def share_of(part: int, whole: int) -> str:
    """Return a share in words: at least "1 %" of some, never "100 %" of not all."""
    percent = round(100 * part / whole)
    return f"{max(percent, 1) if part == whole else min(max(percent, 1), 99)} %"


def _encode(rows: pa.Table, tokenizer: PreTrainedTokenizerBase, length: int) -> tuple[pa.Table, int]:
    """Return encoded rows, and how many of them were cut."""
    texts = [rows[name].to_pylist() for name in rows.column_names if name.startswith("text_")]
    encoding = tokenizer(*texts, truncation=True, max_length=length, return_attention_mask=False)
    columns = {"id": rows["id"], "input_ids": pa.array(encoding["input_ids"], pa.list_(pa.int32()))}
    if "token_type_ids" in encoding:
        columns["token_type_ids"] = pa.array(encoding["token_type_ids"], pa.list_(pa.int8()))
    cut = sum(bool(row.overflowing) for row in encoding.encodings or ())
    return pa.table({**columns, "label": rows["label"]}), cut
