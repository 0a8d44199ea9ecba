"""The benchmark of kinds cuts rows by whole queries."""

from __future__ import annotations

from collections import Counter

from tests.benchmarks.kinds import cut_lines


def test_rows_are_cut_by_whole_queries_in_their_order() -> None:
    queries = [f"query {row // 3}" for row in range(30)]
    lines = [f"{query}, passage {row}" for row, query in enumerate(queries)]
    found = cut_lines(lines, queries, most=14, seed=0)
    assert set(Counter(line.partition(",")[0] for line in found).values()) == {3}
    assert len(found) == 12
    assert found == sorted(found, key=lines.index)
    assert found != cut_lines(lines, queries, most=14, seed=1)
