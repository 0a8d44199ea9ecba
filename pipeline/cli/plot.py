"""A small plot in characters: eight dots to a character, in braille."""

from __future__ import annotations

from collections.abc import Sequence

BLANK = 0x2800
# Which bit of a braille character is the dot in column 0 or 1, row 0 (top) to 3 (Unicode 15, block 2800).
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
LEVEL = "╌"


def braille(
    points: Sequence[tuple[float, float]],
    *,
    columns: int,
    rows: int,
    x: tuple[float, float],
    y: tuple[float, float],
    level: float | None = None,
) -> list[str]:
    """Return the lines, from the top, of a plot of points (x, y) in `columns` × `rows` characters.

    Args:
        points: those outside of the bounds are left out.
        columns: of characters; each is two dots wide.
        rows: of characters; each is four dots high.
        x: values of the first and the last column of dots.
        y: values of the lowest and the highest row of dots.
        level: a height that is marked by a line, where no points are.
    """
    cells = [[0] * columns for _ in range(rows)]
    for across, up in points:
        column, row = _place(across, x, 2 * columns), _place(up, y, 4 * rows)
        if column is not None and row is not None:
            row = 4 * rows - 1 - row
            cells[row // 4][column // 2] |= DOTS[column % 2][row % 4]
    height = None if level is None else _place(level, y, 4 * rows)
    marked = None if height is None else rows - 1 - height // 4
    return [
        "".join(chr(BLANK + cell) if cell else (LEVEL if number == marked else " ") for cell in line)
        for number, line in enumerate(cells)
    ]


def _place(value: float, bounds: tuple[float, float], dots: int) -> int | None:
    """Return the nearest of `dots` dots; None out of bounds, and for NaN."""
    low, high = bounds
    if not low <= value <= high:
        return None
    return round((value - low) / (high - low) * (dots - 1)) if high > low else dots - 1
