"""Rows that stand in two parts of a task: what is learned of them is not what is measured."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import pyarrow as pa

from pipeline.task.carve import text_key
from pipeline.task.kinds.tables import TEXT_COLUMNS

RowKey = tuple[str, object]


def row_keys(rows: pa.Table) -> list[RowKey]:
    """Return the text and label of every row; case, white space and the order of a pair make no difference."""
    texts = [rows[name].to_pylist() for name in TEXT_COLUMNS if name in rows.column_names]
    labels = (tuple(each) if isinstance(each, list) else each for each in rows["label"].to_pylist())
    return [(text_key(*row[:-1]), row[-1]) for row in zip(*texts, labels, strict=True)]


def shared_rows(parts: Mapping[str, list[RowKey]]) -> dict[str, int]:
    """Return how many rows of a part are in an earlier one, too, where there are any: {"validation+train": 3}."""
    found = {}
    for (first, keys), (second, others) in combinations(parts.items(), 2):
        known = set(keys)
        count = sum(key in known for key in others)
        if count:
            found[f"{second}+{first}"] = count
    return found


def overlap_remarks(shared: Mapping[str, int], counts: Mapping[str, int]) -> tuple[str, ...]:
    """Return a sentence on each pair of parts that share rows; `counts` are the rows of the parts."""
    sentences = []
    for pair, count in shared.items():
        part, other = pair.split("+")
        whole = f"All {count:,}" if count == counts[part] else f"{count:,} of the {counts[part]:,}"
        are = f"{part} rows is also a {other} row" if count == 1 else f"{part} rows are also {other} rows"
        sentences.append(f"{whole} {are} (text and label): scores on them are too good.")
    return tuple(sentences)
