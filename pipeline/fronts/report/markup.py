"""Pieces of a page. All text from outside is escaped by `text`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go

_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure on the page, and its description for screen readers."""

    name: str
    title: str
    figure: go.Figure
    description: str


@dataclass(frozen=True)
class Markup:
    """HTML that is safe as it is."""

    html: str


Block = Picture | Markup


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the page with a heading; `fold` = closed until it is opened, `lead` stands beside its heading."""

    name: str
    title: str
    blocks: tuple[Block, ...]
    fold: bool = False
    lead: str = ""


def text(value: object) -> str:
    """Return a value as text, escaped for HTML."""
    return escape(str(value), quote=True)


def sentence(line: str) -> str:
    """Return a line as text, its parts between backticks as code."""
    return _CODE.sub(r"<code>\1</code>", text(line))


def paragraphs(*lines: str) -> Markup:
    """Return sentences, each as a paragraph."""
    return Markup("".join(f"<p>{sentence(line)}</p>" for line in lines if line))


def bullets(lines: Sequence[str]) -> Markup:
    """Return sentences as a list."""
    return Markup("<ul>" + "".join(f"<li>{sentence(line)}</li>" for line in lines) + "</ul>")


def table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[object]], *, first_is_markup: bool = False
) -> Markup:
    """Return a table that scrolls sideways on a narrow screen.

    Args:
        caption: above the table.
        head: names of the columns.
        rows: of cells.
        first_is_markup: the first column is HTML already.
    """
    cells = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    body = []
    for row in rows:
        first, *others = row
        begin = str(first) if first_is_markup else text(first)
        body.append(
            f'<tr><th scope="row">{begin}</th>'
            + "".join(f"<td>{text(value)}</td>" for value in others)
            + "</tr>"
        )
    return Markup(
        f'<p class="caption">{text(caption)}</p>'  # outside of what scrolls
        f'<div class="wide" tabindex="0" role="region" aria-label="{text(caption)}"><table>'
        f"<thead><tr>{cells}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )
