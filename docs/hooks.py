"""What the site does to pages that GitHub shows as they are."""

from __future__ import annotations

import posixpath
import re

# A link in Markdown to a path: not to an address, and not to a heading of the same page.
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: object, **_: object) -> str:
    """Turn links to files outside docs/ into plain text: the site holds docs/ alone."""
    here = posixpath.dirname(page.file.src_uri)  # type: ignore[attr-defined]

    def inside(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(here, match[2]))
        return match[1] if target.startswith("..") else match[0]

    return LINK.sub(inside, markdown)


def on_page_content(html: str, **_: object) -> str:
    """Keep a number and its sign on one line."""
    return re.sub(r"(\d) ([%×])", "\\1\u00a0\\2", html)
