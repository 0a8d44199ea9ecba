"""What is asked of a search -> the command line that asks for it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from pipeline.driver.execute import Resources
from pipeline.driver.search import Search
from pipeline.study.store import place_text


def arguments(wanted: Search) -> list[str]:
    """`search` and its options, those left out that are as usual."""
    return ["search", *_options(wanted, Search()), *_options(wanted.resources, Resources())]


def _options(asked: Any, usual: Any) -> list[str]:
    """The fields of a dataclass that differ, each as the option of its name."""
    found: list[str] = []
    for field in fields(asked):
        value = getattr(asked, field.name)
        if value == getattr(usual, field.name) or isinstance(value, Resources):
            continue
        option = f"--{field.name.replace('_', '-')}"
        if value is True:
            found.append(option)
        elif isinstance(value, tuple):
            found += [part for item in value for part in (option, _text(item))]
        else:
            found += [option, _text(value)]
    return found


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.15g}"
    return place_text(value) if isinstance(value, Path) else str(value)
