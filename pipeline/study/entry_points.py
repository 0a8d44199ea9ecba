"""Methods and encoders of other packages, found by their entry points. Nothing of them is imported here.

A package names what it brings in its pyproject.toml:

    [project.entry-points."prunefront.methods"]
    my-method = "my_package.my_method:MyMethod"    # its space: my-method.toml, beside my_method.py

    [project.entry-points."prunefront.encoders"]
    my-encoder = "my_package.my_encoder:ARCHITECTURE"    # like pipeline.model.architectures, by config.model_type
"""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.study.records import BadInput

METHODS, ENCODERS = "prunefront.methods", "prunefront.encoders"


def names_in(group: str) -> list[str]:
    """Return the names that installed packages bring in a group, sorted."""
    return sorted({entry.name for entry in _entries(group, tuple(sys.path))})


def load_entry(group: str, name: str) -> Any:
    """Import and return what a package brings under a name; None if no package does.

    Raises:
        BadInput: two packages bring the name, or the import fails.
    """
    entry = _find(group, name)
    if entry is None:
        return None
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise _not_importable(group, entry, error) from error


def file_beside(group: str, name: str, file: str) -> Path | None:
    """Return a file's path in the folder of the module that an entry point names; None if no package has the name.

    The module is found, not imported (but the packages that it lies in are).

    Raises:
        BadInput: two packages bring the name, or the module is not there.
    """
    entry = _find(group, name)
    if entry is None:
        return None
    try:
        spec = find_spec(entry.module)
    except ImportError as error:
        raise _not_importable(group, entry, error) from error
    if spec is None or spec.origin is None:
        raise _not_importable(group, entry, ImportError(f"there is no file of {entry.module}"))
    return Path(spec.origin).with_name(file)


def _find(group: str, name: str) -> EntryPoint | None:
    found = {entry.value: entry for entry in _entries(group, tuple(sys.path)) if entry.name == name}
    if len(found) > 1:
        raise BadInput(
            f"{name!r} in {group} is brought as {' and as '.join(sorted(found))}. Uninstall one of "
            "the packages."
        )
    return next(iter(found.values()), None)


@cache
def _entries(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Read the entry points once per search path: that takes tens of milliseconds."""
    del path
    return tuple(entry_points(group=group))


def _not_importable(group: str, entry: EntryPoint, error: Exception) -> BadInput:
    return BadInput(
        f"The entry point {entry.name} = {entry.value!r} in {group} cannot be imported: {error}. "
        "Install its package again, or uninstall it."
    )
