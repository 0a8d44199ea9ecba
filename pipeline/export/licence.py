"""The licence of a base model, read from its card."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from pipeline.model.folder import BUILTINS

_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(\n|\Z)", re.DOTALL)
_IDENTIFIER = re.compile(r"[\w.-]{1,100}")
SECONDS = 5.0  # timeout of the hub


def licence_of(model: str) -> str | None:
    """Return the identifier in the model's card (apache-2.0 …); None if it has none, or cannot be read.

    Args:
        model: a study's model: a hub name, a folder, or the built-in one, which has no weights from elsewhere.
    """
    if model in BUILTINS:
        return None
    folder = Path(model).expanduser()
    if folder.is_dir():
        card = folder / "README.md"
        return in_card(card.read_text(encoding="utf-8-sig", errors="replace")) if card.is_file() else None
    return _on_hub(model)


def in_card(text: str) -> str | None:
    """Return the licence in the head of a model card."""
    head = _FRONT_MATTER.match(text)
    try:
        entries = yaml.safe_load(head[1]) if head else None
    except yaml.YAMLError:  # a card is written by hand
        return None
    return _identifier(entries.get("license")) if isinstance(entries, dict) else None


def _on_hub(model: str) -> str | None:
    from huggingface_hub import model_info

    try:
        card = model_info(model, timeout=SECONDS).card_data
    except (
        Exception
    ):  # offline, gone, gated, a renamed model: the hub's client has many exceptions for "not known"
        return None
    return None if card is None else _identifier(card.get("license"))


def _identifier(licence: Any) -> str | None:
    """Return an entry that is one identifier, also as a list of one; None of any other."""
    if isinstance(licence, list) and len(licence) == 1:
        (licence,) = licence
    return licence if isinstance(licence, str) and _IDENTIFIER.fullmatch(licence) else None
