"""How a sentence-transformers folder makes one embedding of a text's tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.study.records import BadInput

MODULES = "modules.json"
POOLING = "sentence_pooling"  # of config.json
MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
KNOWN = ("Transformer", "Pooling", "Normalize")


def pooling_of(folder: Path) -> dict[str, str]:
    """Return the entry of config.json for a folder's pooling: mean or cls; none of a folder that says nothing.

    Raises:
        BadInput: it pools in another way, or has modules after the pooling that change embeddings.
    """
    path = folder / MODULES
    if not path.is_file():
        return {}
    modules = json.loads(path.read_text(encoding="utf-8-sig"))
    other = [str(each["type"]) for each in modules if not str(each["type"]).endswith(KNOWN)]
    found = [each for each in modules if str(each["type"]).endswith("Pooling")]
    settings: dict[str, Any] = {}
    if found:
        settings = json.loads((folder / str(found[0]["path"]) / "config.json").read_text())
    modes = [name for name, on in settings.items() if name.startswith("pooling_mode_") and on is True]
    if "pooling_mode" in settings:  # of newer versions
        modes = [f"pooling_mode_{settings['pooling_mode']}_tokens".replace("cls_tokens", "cls_token")]
    if other or len(modes) != 1 or modes[0] not in MODES:
        raise BadInput(
            f"{path} has {', '.join([*other, *modes]) or 'no pooling'}. An embedding is the mean of a "
            "text's tokens, or the first one's. Give another model."
        )
    return {POOLING: MODES[modes[0]]}
