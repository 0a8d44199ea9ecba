"""The live view on a terminal that gets narrower, and wraps what it shows as terminals do."""

from __future__ import annotations

import io
import re
from collections import deque

import pytest
from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.cli.resizing import ResizingLive

TOKEN = re.compile(r"\x1b\[(\??\d*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")
HEAD = "study toy · 2:05 left · this line is as long as sixty columns"


class Screen:
    """Rows of a terminal, as far as rich uses them; row 0 is the first that was ever written."""

    def __init__(self) -> None:
        self.rows, self.row, self.top = [""], 0, 0

    def feed(self, written: str) -> None:
        for number, letter, back, line, text in TOKEN.findall(written):
            if back:
                continue  # every line is written whole, or erased before
            if line:
                self.row += 1
            elif letter == "A":
                self.row = max(self.top, self.row - int(number or 1))
            elif letter == "K":
                self.rows[self.row] = ""
            elif letter == "J":
                self.rows[self.top :] = [""]
                self.row = self.top
            elif letter == "H":
                self.row = self.top
            elif text:
                self.rows[self.row] += text
            self.rows += [""] * (self.row + 1 - len(self.rows))

    def narrow(self, width: int) -> None:
        """Wrap the rows; the cursor stays at its text."""
        wrapped: list[str] = []
        for number, row in enumerate(self.rows):
            wrapped += [row[at : at + width] for at in range(0, max(1, len(row.rstrip())), width)]
            if number == self.row:
                self.row = len(wrapped) - 1
        self.rows = wrapped


def shown(*, resizing: bool) -> str:
    """What is on the screen after a search's view of 64 columns became one of 30."""
    file, screen = io.StringIO(), Screen()
    console = Console(file=file, force_terminal=True, width=64, height=20, color_system=None)
    printed: deque[Text] = deque()
    options = {"console": console, "auto_refresh": False, "transient": True}
    live = ResizingLive(Text(HEAD), printed, **options) if resizing else Live(Text(HEAD), **options)  # type: ignore[arg-type]

    def drawn() -> None:
        screen.feed(file.getvalue())
        file.seek(0)
        file.truncate()

    with live:
        line = Text("0:07  trial 0   0.8000 at 50.0 %")
        console.print(line, soft_wrap=True)
        printed.append(line)
        live.refresh()
        drawn()
        assert "\n".join(screen.rows).count("study toy") == 1
        console.width = 30
        screen.narrow(30)
        live.refresh()
        live.refresh()
        drawn()
        return "\n".join(screen.rows)


def test_no_ghosts_stay_and_no_line_is_lost() -> None:
    found = shown(resizing=True)
    assert found.count("study toy") == 1
    assert found.count("trial 0") == 1


def test_without_it_ghosts_stay() -> None:
    assert shown(resizing=False).count("study toy") > 1


@pytest.mark.parametrize("height", [3, 6])
def test_a_low_terminal_gets_the_last_lines(height: int) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=64, height=height, color_system=None)
    printed = deque(Text(f"line {number}") for number in range(9))
    with ResizingLive(Text("view"), printed, console=console, auto_refresh=False) as live:
        live.refresh()
        file.truncate(0)
        console.width = 40
        live.refresh()
    lines = re.findall(r"line \d", file.getvalue())
    assert lines == [f"line {number}" for number in range(9 - (height - 2), 9)]
