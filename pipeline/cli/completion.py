"""What a shell offers after Tab: names of studies and of methods, and the values of an option that has few."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

from pipeline.study.space import known_methods
from pipeline.study.store import DEFAULT_STORE


def complete_study(context: typer.Context, incomplete: str) -> list[str]:
    """Return the store's studies that begin so; the folder is only listed."""
    store = Path(str(context.params.get("store") or DEFAULT_STORE))
    try:
        names = sorted(each.name for each in (store / "studies").iterdir() if each.is_dir())
    except OSError:  # no store here, or a bucket
        return []
    return [name for name in names if name.startswith(incomplete)]


def complete_method(incomplete: str) -> list[str]:
    """Return the methods that begin so."""
    return [name for name in known_methods() if name.startswith(incomplete)]


def complete_choice(choices: tuple[str, ...]) -> Callable[[str], list[str]]:
    """Return what offers those of an option's choices that begin so."""

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete
