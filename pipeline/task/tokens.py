"""Rows of text -> rows of token ids, in Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROWS_AT_ONCE = 10_000  # bounds what stands in memory as Python lists


def encode(rows: pa.Table, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> pa.Table:
    """Encode the rows' texts, truncated to `max_length` tokens or to what the model can take.

    `rows` has the columns id, text_a, text_b (of pairs) and label; returned are id, input_ids (list<int32>),
    token_type_ids (list<int8>) if the tokenizer gives them, and label, each in one chunk.
    """
    length = min(max_length, tokenizer.model_max_length)
    starts = range(0, rows.num_rows, ROWS_AT_ONCE)
    parts = [_encode(rows.slice(start, ROWS_AT_ONCE), tokenizer, length) for start in starts]
    return pa.concat_tables(parts).combine_chunks()


def _encode(rows: pa.Table, tokenizer: PreTrainedTokenizerBase, length: int) -> pa.Table:
    texts = [rows[name].to_pylist() for name in rows.column_names if name.startswith("text_")]
    encoding = tokenizer(*texts, truncation=True, max_length=length, return_attention_mask=False)
    columns = {"id": rows["id"], "input_ids": pa.array(encoding["input_ids"], pa.list_(pa.int32()))}
    if "token_type_ids" in encoding:
        columns["token_type_ids"] = pa.array(encoding["token_type_ids"], pa.list_(pa.int8()))
    return pa.table({**columns, "label": rows["label"]})
