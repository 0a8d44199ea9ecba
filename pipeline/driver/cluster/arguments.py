"""The command line that a search is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.driver.search.option import options_of
from pipeline.driver.search.request import Search
from pipeline.study.store import place_text


def arguments(request: Search) -> list[str]:
    """Return `search` and the options that differ from their defaults."""
    found, defaults = ["search"], Search(no_training=request.no_training)
    for option in options_of(Search):
        value = getattr(request, option.name)
        if value == (option.default if option.name == "no_training" else getattr(defaults, option.name)):
            continue
        if value is True:
            found.append(option.flag)
        elif isinstance(value, tuple):
            found += [part for item in value for part in (option.flag, _text(item))]
        else:
            found += [option.flag, _text(value)]
    return found


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.15g}"
    return place_text(value) if isinstance(value, Path) else str(value)
