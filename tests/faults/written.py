"""The table of `python -m tests.faults.every --write`, in the documentation: rows of the kinds that were tried now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "robustness.md"
FIRST, LAST = "<!-- schedules -->\n", "<!-- end of schedules -->"


def write_rows(
    page: Path, columns: Sequence[str], rows: Sequence[Sequence[str]], *, kinds: Sequence[str]
) -> None:
    """Replace the rows of the kinds that `rows` has, between the page's two marks; the others stay.

    Args:
        page: has the two marks.
        columns: the table's head; the first is the kind.
        rows: as many cells each.
        kinds: all of them, in the table's order.

    Raises:
        ValueError: the page has no such marks.
    """
    before, there, after = _parts(page.read_text())
    tried = {row[0] for row in rows}
    kept = [row for row in map(_cells, there.splitlines()[2:]) if row[0] not in tried]
    ordered = sorted([*kept, *rows], key=lambda row: kinds.index(row[0]))  # stable: faults keep their order
    lines = [_line(columns), _line(["---"] * len(columns)), *map(_line, ordered)]
    page.write_text(before + FIRST + "\n".join(lines) + "\n" + LAST + after)


def _parts(text: str) -> tuple[str, str, str]:
    before, first, rest = text.partition(FIRST)
    there, last, after = rest.partition(LAST)
    if not (first and last):
        raise ValueError(
            f"The table of schedules stands between {FIRST.strip()} and {LAST}; a mark is missing."
        )
    return before, there, after


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
