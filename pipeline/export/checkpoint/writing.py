"""Write a cut network into a folder: weights, configuration, tokenizer, modelling file, the study's record."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.model import modeling_cut
from pipeline.model.anatomy import Anatomy
from pipeline.study.records import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS, CONFIG, RECORD, CODE = "model.safetensors", "config.json", "prunefront.json", "modeling_cut.py"

# The first part of the modelling file's class names, by the dense network's `config.model_type`.
CLASSES = {
    "bert": "CutBert",
    "roberta": "CutRoberta",
    "xlm-roberta": "CutXLMRoberta",
    "distilbert": "CutDistilBert",
    "electra": "CutElectra",
    "camembert": "CutCamembert",
}
AUTO_CLASSES = {
    "AutoConfig": "Config",
    "AutoModel": "Model",
    "AutoModelForSequenceClassification": "ForSequenceClassification",
}
# The key of the number of layers; num_hidden_layers for the others.
LAYER_COUNT = {"distilbert": "n_layers"}
# Properties of the process that wrote it, or of its place.
VOLATILE = ("_name_or_path", "transformers_version", "architectures", "auto_map", "model_type")


def layout(anatomy: Anatomy) -> list[dict[str, int]]:
    """Return the size of each layer: its number in the dense model, heads and neurons kept; 0: block gone."""
    return [
        {"layer": parts.index, "heads": len(parts.heads), "neurons": len(parts.neurons)}
        for parts in anatomy.layers
    ]


def check_writable(model_type: str) -> None:
    """Check that the modelling file has classes for an architecture.

    Raises:
        BadInput: it has none.
    """
    if model_type not in CLASSES:
        raise BadInput(
            f"An exported folder brings the code that builds its network, for {', '.join(CLASSES)}; model_type "
            f"{model_type!r} is another package's, and {CODE} has no class for it. Its studies can be searched and "
            "compared, not exported."
        )


def write_checkpoint(
    folder: Path,
    model: PreTrainedModel,
    anatomy: Anatomy,
    *,
    tokenizer_files: Mapping[str, bytes],
) -> None:
    """Write a network into an empty folder.

    Args:
        folder: see `whole_folder` for one that appears only when it is whole.
        model: a sequence classifier, dense or cut, without hooks or parametrisations.
        anatomy: its own.
        tokenizer_files: their bytes by name.

    Raises:
        ValueError: the model has a hook, or the architecture no class in the modelling file.
    """
    from safetensors.torch import save_file

    _check_plain(model)
    for name, content in tokenizer_files.items():
        if name.endswith(".py"):
            continue  # a tokenizer's own code: whoever loads the folder trusts ours alone
        (folder / name).write_bytes(_for_any_version(name, content))
    (folder / CONFIG).write_text(json.dumps(_configuration(model, anatomy), indent=2, sort_keys=True) + "\n")
    shutil.copyfile(modeling_cut.__file__, folder / CODE)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the network's provenance beside it, as JSON."""
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")


def _configuration(model: PreTrainedModel, anatomy: Anatomy) -> dict[str, Any]:
    """Return config.json: the dense one, with the layout, types of our own and the file of their code.

    With the dense type, transformers would load the folder into the dense network and fill what is missing with
    random numbers, without an error.
    """
    kind = anatomy.architecture
    dense = {
        k: v for k, v in json.loads(model.config.to_json_string(use_diff=False)).items() if k not in VOLATILE
    }
    left = layout(anatomy)
    module = CODE.removesuffix(".py")
    return dense | {
        "model_type": f"cut_{kind}",
        "architectures": [CLASSES[kind] + AUTO_CLASSES["AutoModelForSequenceClassification"]],
        "auto_map": {auto: f"{module}.{CLASSES[kind]}{suffix}" for auto, suffix in AUTO_CLASSES.items()},
        LAYER_COUNT.get(kind, "num_hidden_layers"): len(left),
        "cut_layout": left,
        "cut_format": modeling_cut.FORMAT,
    }


def _check_plain(model: PreTrainedModel) -> None:
    """Check that there are no hooks and parametrisations: a file of weights would lose what they do."""
    for name, module in model.named_modules():
        if module._forward_hooks or module._forward_pre_hooks or "parametrizations" in module._modules:
            raise ValueError(f"A checkpoint holds a plain network; {name or 'the network'} has hooks.")


def _for_any_version(name: str, content: bytes) -> bytes:
    """Return a tokenizer file that transformers 4 reads, too: 5 writes a class and a list that 4 does not know."""
    if name != "tokenizer_config.json":
        return content
    settings = json.loads(content)
    settings.pop("auto_map", None)  # it names code
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(settings.get("extra_special_tokens"), list):
        settings["additional_special_tokens"] = settings.pop("extra_special_tokens")
    return (json.dumps(settings, indent=2) + "\n").encode()
