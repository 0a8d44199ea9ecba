"""Tables that fit a terminal: what matters least is left out, long names are shortened, numbers are never cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table

from pipeline.cli.output import out

GAP = 2  # blanks between columns
LEAST_NAME = 12  # cells that a shortened name keeps


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its head.
        rank: 0 stays always; of the others the highest is left out first.
        right: whether its cells are numbers, on the right.
        shortens: whether a long cell may lose its middle.
        dim: whether it is printed dim.
    """

    name: str
    rank: int = 0
    right: bool = True
    shortens: bool = False
    dim: bool = False


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table as wide as the terminal at most, and name the columns that do not fit.

    In a pipe it is as wide as it has to be.
    """
    widths = [max(map(cell_len, (column.name, *cells))) for column, cells in _with_cells(columns, rows)]
    room = out.width if out.is_terminal else sum(widths) + GAP * len(widths)
    shown = fitting(columns, widths, room)
    out.width = max(out.width, room)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    for column, width in shown:
        table.add_column(
            shortened(column.name, width),
            justify="right" if column.right else "left",
            style="dim" if column.dim else None,
            no_wrap=True,
        )
    places = [(columns.index(column), width) for column, width in shown]
    for row in rows:
        table.add_row(*(shortened(row[place], width) for place, width in places))
    out.print(table)
    names = {column.name for column, _ in shown}
    if missing := [column.name for column in columns if column.name not in names]:
        out.print(f"Not in {out.width} columns: {', '.join(missing)}. --json has all.", style="dim")


def fitting(columns: Sequence[Column], widths: Sequence[int], room: int) -> list[tuple[Column, int]]:
    """Return the columns that fit with their widths.

    Columns are left out by rank, from the right, before a name of rank 0 loses its middle: it says what a row is about.
    Names of other ranks are shortened, as far as LEAST_NAME, before a column goes. Those of rank 0 stay, however wide.
    """
    left = list(zip(columns, widths, strict=True))
    while left:
        last = max(range(len(left)), key=lambda place: (left[place][0].rank, place))
        most = left[last][0].rank
        names = [
            place for place, (column, _) in enumerate(left) if column.shortens and (column.rank or not most)
        ]
        over = sum(width for _, width in left) + GAP * (len(left) - 1) - room
        slack = sum(max(left[place][1] - LEAST_NAME, 0) for place in names)
        if over <= slack or not most:
            return _with_shortened_names(left, names, min(max(over, 0), slack))
        del left[last]
    return []


def _with_shortened_names(
    left: Sequence[tuple[Column, int]], names: Sequence[int], over: int
) -> list[tuple[Column, int]]:
    """Take `over` cells from the widest of the columns at the places `names`, cell by cell."""
    widths = [width for _, width in left]
    for _ in range(over):
        widths[max(names, key=lambda place: widths[place])] -= 1
    return [(column, width) for (column, _), width in zip(left, widths, strict=True)]


def shortened(text: str, width: int) -> str:
    """Return a text of at most `width` cells: a longer one loses its middle."""
    if cell_len(text) <= width:
        return text
    tail = (width - 1) // 2
    head = width - 1 - tail
    while cell_len(text[:head]) + 1 + cell_len(text[len(text) - tail :]) > width and head + tail > 0:
        head, tail = (head - 1, tail) if head > tail else (head, tail - 1)  # wide characters
    return f"{text[:head]}…{text[len(text) - tail :] if tail else ''}"


def _with_cells(
    columns: Sequence[Column], rows: Sequence[Sequence[str]]
) -> list[tuple[Column, tuple[str, ...]]]:
    return [(column, tuple(row[place] for row in rows)) for place, column in enumerate(columns)]
