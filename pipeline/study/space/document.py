"""A TOML text -> its tables, or a message with file and line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pipeline.study.records import BadInput


def read_document(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        BadInput: the file cannot be read, or is not TOML (the message has file and line).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise BadInput(
            f"{path} cannot be read: {cause}. A search space is a TOML file. Check its name."
        ) from error
    return parse_document(text, str(path))


def parse_document(text: str, file: str) -> dict[str, Any]:
    """Return the tables of a TOML text; `file` is its name in messages.

    Raises:
        BadInput: the text is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{file} is no TOML: {error}. Correct that line (https://toml.io).") from error
