"""A live view that survives a terminal that changes its width.

rich goes back as many lines as it has drawn. A terminal that gets narrower has wrapped them into more, whose first ones
would stay for good.
"""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import final

from rich.console import Console, ConsoleRenderable, RenderableType
from rich.control import Control
from rich.live import Live
from rich.text import Text

KEPT = 200  # lines above the view: more than a screen has


@final
class ResizingLive(Live):
    """Draws a changed screen anew: the last lines that were printed, and the view below them."""

    def __init__(self, renderable: RenderableType, printed: deque[Text], **options: object) -> None:
        """Begin with `printed`, to which every line that is printed above the view is appended."""
        self._printed, self._width = printed, 0
        super().__init__(renderable, **options)  # type: ignore[arg-type]

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return what is drawn: as rich has it, or the screen cleared, the last lines and the view."""
        found = super().process_renderables(renderables)
        width, before = self.console.width, self._width
        self._width = width
        if not before or width == before or not self.console.is_interactive:
            return found
        view = self.console.render_lines(self.get_renderable(), pad=False)
        _back, *drawn = found
        lines = _last(self._printed, self.console, rows=self.console.height - len(view) - 1)
        return [Control.clear(), Control.home(), *lines, *drawn]


def _last(printed: deque[Text], console: Console, *, rows: int) -> list[Text]:
    """Return the last lines that fit into `rows`, each with its end."""
    found: list[Text] = []
    for line in reversed(printed):
        rows -= max(1, ceil(line.cell_len / console.width))
        if rows < 0:
            break
        found.append(line)
    return found[::-1]
