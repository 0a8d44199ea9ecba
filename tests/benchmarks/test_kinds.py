"""The benchmark of kinds cuts rows by whole queries."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa

from pipeline.task.kinds import Ranking
from tests.benchmarks.kinds import cut_rows


def test_rows_are_cut_by_whole_queries_in_their_order() -> None:
    queries = [f"query {row // 3}" for row in range(30)]
    rows = pa.table({"id": list(map(str, range(30))), "text_a": queries, "text_b": ["passage"] * 30})
    found = cut_rows(rows, Ranking("ndcg_10"), most=14, seed=0)
    assert set(Counter(found["text_a"].to_pylist()).values()) == {3}
    assert found.num_rows == 12
    assert found["id"].to_pylist() == sorted(found["id"].to_pylist(), key=int)
    assert found != cut_rows(rows, Ranking("ndcg_10"), most=14, seed=1)
