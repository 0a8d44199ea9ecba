"""Where the files of spaces are: packaged ones, and those of methods that other packages bring."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.study.entry_points import METHODS, file_beside, names_in
from pipeline.study.records import BadInput
from pipeline.study.space.document import read_document
from pipeline.study.space.spacefile import Table, nearest

SHARED = "shared"
DISTILL = "distill"  # the folder of what distillations need
SHOW = "show"  # an attribute of a key in a method's file: the column of its value in tables

Shown = str | bool  # a column's name; or True: a column of the key's own name, where networks differ in it


def known_methods() -> list[str]:
    """Return the names of all methods: of the packaged ones, and of those that other packages bring."""
    return sorted({*packaged_methods(), *names_in(METHODS)})


def packaged_methods() -> list[str]:
    """Return the methods that have a packaged file."""
    return sorted(path.stem for path in folder().glob("*.toml") if path.stem != SHARED)


def method_file(method: str) -> Path:
    """Return the file of a method's space. A packaged method's name cannot be taken by another package.

    Raises:
        BadInput: no such method, or its package brings no file.
    """
    if method in packaged_methods():
        return folder() / f"{method}.toml"
    path = file_beside(METHODS, method, f"{method}.toml")
    if path is None:
        raise BadInput(f"There is no file of {method!r} in search_spaces. {nearest(method, known_methods())}")
    if not path.is_file():
        raise BadInput(
            f"{path} is not there. A method of another package has its space beside its module. Write "
            "it, and ship it with the package."
        )
    return path


def shared_file() -> Path:
    """Return the file of the keys that all methods have."""
    return folder() / f"{SHARED}.toml"


def known_distillations() -> list[str]:
    """Return the names of all distillations: of those that have a file."""
    return sorted(path.stem for path in (folder() / DISTILL).glob("*.toml"))


def distill_file(distillation: str) -> Path:
    """Return the file of the keys of a distillation."""
    return folder() / DISTILL / f"{distillation}.toml"


def read_keys(path: Path) -> dict[str, Any]:
    """Return the tables of a packaged file, without their `show` attributes.

    Raises:
        BadInput: the file cannot be read, or a `show` is neither a text nor true.
    """
    document, _ = _split(read_document(path), path)
    return document


def shown_keys(method: str) -> dict[str, Shown]:
    """Return which keys of a method tables show, and how, in the order of its file.

    Of a method whose package is not installed here, none: results of its studies can still be read.
    """
    try:
        path = method_file(method)
    except BadInput:
        return {}
    _, shown = _split(read_document(path), path)
    return shown


def _split(document: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], dict[str, Shown]]:
    """Split tables into what a space knows, and what only tables of results need: studies do not store it."""
    keys: dict[str, Any] = {}
    shown: dict[str, Shown] = {}
    for name, items in document.items():
        keys[name] = items
        if isinstance(items, dict) and SHOW in items:
            keys[name] = {attribute: value for attribute, value in items.items() if attribute != SHOW}
            value = items[SHOW]
            if value is not True and not (isinstance(value, str) and value):
                way_out = f'Write {SHOW} = true, or {SHOW} = "name".'
                rule = f"{SHOW!r} is true or the name of a column"
                raise Table(path.name, name, items).refuse(rule, f"{SHOW} = {value!r}", way_out)
            shown[name] = value
    return keys, shown


def folder() -> Path:
    """Return the folder of the packaged files: inside an installed package, beside it in a source checkout."""
    inside = Path(__file__).resolve().parents[2] / "search_spaces"
    return inside if inside.is_dir() else inside.parent.parent / "search_spaces"
