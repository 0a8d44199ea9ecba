"""Load a folder that `write_checkpoint` wrote, by this package's own modelling file: no remote code runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from pipeline.export.checkpoint.writing import CONFIG, WEIGHTS, class_names
from pipeline.model import modeling_cut
from pipeline.model.anatomy import find_architecture
from pipeline.model.architectures import ARCHITECTURES, row_to_json
from pipeline.model.silence import quiet
from pipeline.model.source import attention_of
from pipeline.study.entry_points import ENCODERS, names_in
from pipeline.study.records import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def load(folder: Path | str) -> PreTrainedModel:
    """Load the network of an exported folder: plain modules, fp32, eval mode, on the CPU. Runs no code of the folder.

    Raises:
        BadInput: no checkpoint is there, it is damaged, or a newer prunefront made it.
    """
    place = Path(folder).expanduser()
    settings = _settings(place)
    kind = str(settings["model_type"]).removeprefix("cut_")
    try:
        name, network_end = class_names(str(settings["architectures"][0]))
    except (KeyError, IndexError, TypeError) as error:
        raise _damaged(place, f"{CONFIG} has no architectures") from error
    config_class, network_class = (getattr(modeling_cut, name + end) for end in ("Config", network_end))
    settings["cut_row"] = row_to_json(find_architecture(kind))  # this package's own; earlier ones wrote none
    with quiet():
        try:
            network, found = network_class.from_pretrained(
                None,
                config=config_class.from_dict(settings),
                state_dict=load_file(place / WEIGHTS),
                dtype=torch.float32,
                attn_implementation=attention_of(network_class),
                output_loading_info=True,
            )
        except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError, OSError) as error:
            raise _damaged(place, _first_line(error)) from error
    for kind_of_fault in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if names := sorted(str(name) for name in found[kind_of_fault]):
            raise _damaged(place, f"{kind_of_fault.replace('_', ' ')}: {', '.join(names[:3])}")
    return cast("PreTrainedModel", network.eval())


def load_tokenizer(folder: Path | str) -> PreTrainedTokenizerFast:
    """Load the fast tokenizer of an exported folder.

    Raises:
        BadInput: no checkpoint is there, or its tokenizer cannot be read.
    """
    from transformers import AutoConfig, AutoTokenizer

    place = Path(folder).expanduser()
    settings = _settings(place)
    dense = AutoConfig.for_model(str(settings["model_type"]).removeprefix("cut_"))
    with quiet():
        try:
            fast = AutoTokenizer.from_pretrained(place, config=dense, trust_remote_code=False)
        except (ValueError, OSError, KeyError) as error:
            raise _damaged(place, f"its tokenizer: {_first_line(error)}") from error
    return cast("PreTrainedTokenizerFast", fast)


def _settings(folder: Path) -> dict[str, Any]:
    """Read config.json of a checkpoint, and check its type and format."""
    try:
        settings: Any = json.loads((folder / CONFIG).read_text())
        if not isinstance(settings, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError) as error:
        there = "cannot be read" if (folder / CONFIG).exists() else "is not there"
        raise BadInput(
            f"{folder / CONFIG} {there}. A checkpoint is a folder with {CONFIG} and {WEIGHTS}. Name "
            "the folder that `prunefront export` wrote."
        ) from error
    kind = str(settings.get("model_type"))
    if not kind.startswith("cut_") or kind.removeprefix("cut_") not in {*ARCHITECTURES, *names_in(ENCODERS)}:
        raise BadInput(
            f"{folder} holds a model of type {kind!r}, which `prunefront export` did not write. Load "
            "it with transformers."
        )
    if int(settings.get("cut_format", 0)) > modeling_cut.FORMAT:
        raise BadInput(
            f"{folder} has format {settings['cut_format']}, and this prunefront knows "
            f"{modeling_cut.FORMAT}. Update it."
        )
    return dict(settings)


def _first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its class if it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _damaged(folder: Path, fact: str) -> BadInput:
    return BadInput(
        f"{folder} is damaged ({fact}). A checkpoint is read whole or not at all. Export it again, "
        "or copy it again."
    )
