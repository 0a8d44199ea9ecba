"""Interactive figures as pages that need no network.

`plotly-basic.min.js` is npm's `plotly.js-basic-dist-min` as it is published (MIT, its licence is the file beside it):
the part of plotly that draws lines, marks and bars, which is all that this room draws. It is a quarter of the script
inside Python's plotly package, and its version must be that script's (tests/fronts/figures/test_pages.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go

SCRIPT = Path(__file__).with_name("plotly-basic.min.js")
# plotly 4 has a button that sends a chart's data to its makers' server: not from here
CONFIG = {"displaylogo": False, "responsive": True, "showSendToCloud": False, "plotlyServerURL": ""}


@cache
def plotly_script() -> str:
    """Return the script that draws figures in a browser: JavaScript, 1.2 MB."""
    return SCRIPT.read_text(encoding="utf-8")


def as_html(figures: Sequence[go.Figure]) -> str:
    """Return a page with the figures one below the other and with plotly's script (1.2 MB); it needs no network."""
    parts = [figure.to_html(full_html=False, include_plotlyjs=False, config=CONFIG) for figure in figures]
    head = f'<head><meta charset="utf-8"><title>prunefront</title><script>{plotly_script()}</script></head>'
    return f"<!doctype html><html>{head}<body>{''.join(parts)}</body></html>"
