"""Symbolic links in a store: one that leads out of it is refused.

What is written or removed below such a link would be another folder's: a trial's `weights` that leads to another user's
home would be cleared there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.study.records import BadInput


def check_links(root: Path, folder: Path) -> None:
    """Refuse links out of the store: of `folder`, of all that is below it, and of what is directly in `root`.

    Raises:
        BadInput: there is one; the message names it.
    """
    for link in (str(folder), *_links(root, deep=False), *_links(folder, deep=True)):
        try:
            target = Path(link).resolve()
        except (OSError, RuntimeError):  # a link to itself
            target = Path()
        if not target.is_relative_to(root):
            raise BadInput(
                f"{link} is a symbolic link to {target}, outside of {root}. A store's files are in "
                "it. Put a copy in its place, or remove the link; a whole store may be linked to, "
                "and --store may name any folder."
            )


def _links(folder: Path, *, deep: bool) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_symlink():
            yield entry.path
        elif deep and entry.is_dir(follow_symlinks=False):
            yield from _links(Path(entry.path), deep=True)
