"""The files beside an embedding network that make its folder one of sentence-transformers."""

from __future__ import annotations

import json
from pathlib import Path

MODULES = (("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Normalize", "Normalize"))
MODES = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}


def write_sentence_files(folder: Path, *, pooling: str, width: int, max_length: int) -> None:
    """Write modules.json, the pooling's and the transformer's settings.

    Args:
        folder: with the network.
        pooling: mean or cls.
        width: of an embedding.
        max_length: tokens of a text.
    """
    modules = [
        {"idx": int(number), "name": number, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, path, kind in MODULES
    ]
    (folder / "modules.json").write_text(json.dumps(modules, indent=2) + "\n")
    settings: dict[str, object] = {name: mode == pooling for mode, name in MODES.items()}
    pooled = folder / "1_Pooling"
    pooled.mkdir()
    (pooled / "config.json").write_text(
        json.dumps({"word_embedding_dimension": width, **settings}, indent=2) + "\n"
    )
    (folder / "2_Normalize").mkdir()
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": max_length, "do_lower_case": False}, indent=2) + "\n"
    )
