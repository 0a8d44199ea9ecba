"""Pieces of a page. Whatever comes from outside passes through `text`."""

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
    """A figure on the page, and what it shows in words, for who cannot see it."""

    name: str
    title: str
    figure: go.Figure
    says: str


@dataclass(frozen=True)
class Markup:
    """HTML that is safe as it is."""

    html: str


Block = Picture | Markup


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the page with a heading; `fold` = closed until it is asked for."""

    name: str
    title: str
    blocks: tuple[Block, ...]
    fold: bool = False


def text(value: object) -> str:
    """Anything as text that no browser takes for markup."""
    return escape(str(value), quote=True)


def sentence(line: str) -> str:
    """Text, with what stands between backticks as code."""
    return _CODE.sub(r"<code>\1</code>", text(line))


def paragraphs(*lines: str) -> Markup:
    """Sentences, each a paragraph."""
    return Markup("".join(f"<p>{sentence(line)}</p>" for line in lines if line))


def bullets(lines: Sequence[str]) -> Markup:
    """Sentences as a list."""
    return Markup("<ul>" + "".join(f"<li>{sentence(line)}</li>" for line in lines) + "</ul>")


def table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[object]], *, first_is_markup: bool = False
) -> Markup:
    """A table that scrolls sideways on a narrow screen; columns of numbers stand right.

    `first_is_markup`: the first column is HTML already.
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
        f'<div class="wide" tabindex="0" role="region" aria-label="{text(caption)}"><table><caption>{text(caption)}'
        f"</caption><thead><tr>{cells}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )
