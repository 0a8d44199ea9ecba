"""What README and docs/ show: fenced blocks with their language, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
FENCE = re.compile(r"^```(\w*)$")
SHELL = ("bash", "console")


def pages() -> list[Path]:
    """Return the pages that a reader meets, README first."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    return [*top, *sorted((ROOT / "docs").rglob("*.md"))]


@dataclass(frozen=True)
class Block:
    """One fenced block. `reason` is why it is not run, from the comment above it; empty if it is run."""

    page: Path
    line: int
    language: str
    text: str
    reason: str

    @property
    def place(self) -> str:
        """Return page and line, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> list[list[str]]:
        """Return a shell block's commands as words: lines joined, comments, prompts and pipes left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        found = [shlex.split(line.partition(" | ")[0], comments=True) for line in lines]
        return [words for words in found if words]


def blocks(page: Path) -> Iterator[Block]:
    """Give the fenced blocks of a page, in order."""
    language, start, reason, held = "", 0, "", []
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        fence = FENCE.match(line)
        if start == 0 and fence:
            language, start, held = fence[1], number, []
        elif start and line == "```":
            yield Block(page, start, language, "\n".join(held) + "\n", reason)
            start, reason = 0, ""
        elif start:
            held.append(line)
        elif line.strip():
            marker = NOT_RUN.fullmatch(line.strip())
            reason = marker[1] if marker else ""


def all_blocks(*languages: str) -> list[Block]:
    """Return the blocks of all pages in these languages."""
    return [block for page in pages() for block in blocks(page) if block.language in languages]
