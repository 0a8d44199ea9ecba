"""Tables that fit: what is left out, what is shortened, and that numbers are whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pipeline.cli.columns import GAP, LEAST_NAME, Column, fitting, shortened

NAME, SIZE, TIME, SETTING = Column("task", shortens=True), Column("MB"), Column("ms", 3), Column("lr", 9)


def test_the_highest_rank_goes_first_and_names_that_stay_are_whole_until_nothing_else_can_go() -> None:
    columns, widths = (NAME, SIZE, TIME, SETTING), (20, 5, 5, 5)
    assert fitting(columns, widths, 41) == [(NAME, 20), (SIZE, 5), (TIME, 5), (SETTING, 5)]
    assert fitting(columns, widths, 40) == [(NAME, 20), (SIZE, 5), (TIME, 5)]
    assert fitting(columns, widths, 33) == [(NAME, 20), (SIZE, 5)]
    assert fitting(columns, widths, 20) == [(NAME, 13), (SIZE, 5)]
    assert fitting(columns, widths, 5) == [(NAME, LEAST_NAME), (SIZE, 5)]  # rank 0 stays


def test_a_name_that_may_go_is_shortened_before_a_column_goes() -> None:
    model, columns = Column("model", 5, shortens=True), (SIZE, TIME)
    assert fitting((*columns, model), (5, 5, 20), 30) == [(SIZE, 5), (TIME, 5), (model, 16)]
    assert fitting((*columns, model), (5, 5, 20), 26) == [(SIZE, 5), (TIME, 5), (model, LEAST_NAME)]
    assert fitting((*columns, model), (5, 5, 20), 25) == [(SIZE, 5), (TIME, 5)]


def test_of_one_rank_the_last_goes_first() -> None:
    first, last = Column("penalty", 9), Column("bound", 9)
    assert fitting((SIZE, first, last), (5, 7, 5), 15) == [(SIZE, 5), (first, 7)]


def test_a_name_loses_its_middle() -> None:
    assert shortened("builtin/docstrings", 12) == "builti…rings"
    assert shortened("short", 12) == "short"
    assert shortened("日本語の長い名前です", 9) == "日本…です"


@given(st.text(min_size=1, max_size=40), st.integers(3, 30))
def test_a_shortened_text_fits(text: str, width: int) -> None:
    assert cell_len(shortened(text, width)) <= width


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9), st.booleans()), min_size=1, max_size=9),
    st.integers(1, 150),
)
def test_columns_fit_or_only_those_that_stay_are_left(made: list[tuple[int, int, bool]], room: int) -> None:
    columns = [Column(str(place), rank, shortens=name) for place, (_, rank, name) in enumerate(made)]
    shown = fitting(columns, [width for width, _, _ in made], room)
    total = sum(width for _, width in shown) + GAP * (len(shown) - 1)
    assert total <= room or all(column.rank == 0 for column, _ in shown)
    assert {column.name for column in columns if column.rank == 0} <= {column.name for column, _ in shown}
    for column, width in shown:
        whole = made[int(column.name)][0]
        assert width == whole or (column.shortens and width >= LEAST_NAME)
