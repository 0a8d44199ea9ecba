"""The table of schedules in the documentation: rows of what was tried now replace those of before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.every import COLUMNS
from tests.faults.written import FIRST, LAST, PAGE, write_rows

HEAD = "| study | fault | n |\n| --- | --- | --- |\n"


def test_rows_of_the_kinds_tried_are_replaced_and_the_others_stay(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    old = HEAD + "| a | kill | 1 |\n| c | kill | 3 |\n| c | pause | 4 |\n"
    page.write_text(f"before\n{FIRST}{old}{LAST}\nafter\n")
    columns, kinds = ("study", "fault", "n"), ["a", "b", "c"]
    write_rows(page, columns, [["c", "kill", "5"], ["b", "kill", "2"]], kinds=kinds)
    new = HEAD + "| a | kill | 1 |\n| b | kill | 2 |\n| c | kill | 5 |\n"
    assert page.read_text() == f"before\n{FIRST}{new}{LAST}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="a mark is missing"):
        write_rows(page, columns, [], kinds=kinds)


def test_the_page_has_the_table_with_todays_columns() -> None:
    assert f"{FIRST}| {' | '.join(COLUMNS)} |\n" in PAGE.read_text()
