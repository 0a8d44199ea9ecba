"""Write a cut network into a folder: weights, configuration, tokenizer, modelling file, the study's record."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.model import cut_blocks, modeling_cut
from pipeline.model.anatomy import Anatomy, find_architecture
from pipeline.model.architectures import row_to_json
from pipeline.model.heads import network_of
from pipeline.model.source import ModelSource, read_config, weights_of
from pipeline.study.records import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS, CONFIG, RECORD, CODE = "model.safetensors", "config.json", "prunefront.json", "modeling_cut.py"

# Properties of the process that wrote it, or of its place.
VOLATILE = ("_name_or_path", "transformers_version", "architectures", "auto_map", "model_type")
BACKBONE = ("stage_names", "out_features", "out_indices")  # names of all layers, which no classifier reads


def layout(anatomy: Anatomy) -> list[dict[str, int]]:
    """Return the size of each layer: its number in the dense model, heads and neurons kept; 0: block gone."""
    return [
        {"layer": parts.index, "heads": len(parts.heads), "neurons": len(parts.neurons)}
        for parts in anatomy.layers
    ]


def class_names(network: str) -> tuple[str, str]:
    """Return the modelling file's first part of class names, the library's with Cut before it, and the network's end.

    Args:
        network: the name of its class, the library's or the modelling file's.

    Raises:
        BadInput: the library has no such class.
    """
    dense = network.removeprefix("Cut")
    ends = (end for end in modeling_cut.AUTO_CLASSES if end != "Config" and dense.endswith(end))
    end = next(ends, None)
    if end is None or modeling_cut.library_class(dense) is None:
        raise BadInput(
            f"The class of {dense} is another package's, and an exported folder builds its network "
            "from transformers' own. Its studies can be searched and compared, not exported."
        )
    return f"Cut{dense.removesuffix(end)}", end


def check_writable(source: ModelSource) -> None:
    """Check that the modelling file has classes for a model's network.

    Raises:
        BadInput: it has none.
    """
    class_names(network_of(read_config(source), source.network).__name__)


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

    check_no_hooks(model)
    write_tokenizer(folder, tokenizer_files)
    (folder / CONFIG).write_text(json.dumps(_configuration(model, anatomy), indent=2, sort_keys=True) + "\n")
    for module in (modeling_cut, cut_blocks):
        shutil.copyfile(str(module.__file__), folder / Path(str(module.__file__)).name)
    weights = {name: tensor.cpu().contiguous() for name, tensor in weights_of(model).items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def write_tokenizer(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a tokenizer's files, but for its own code: the folder has no code but ours."""
    for name, content in files.items():
        if not name.endswith(".py"):
            (folder / name).write_bytes(_for_any_version(name, content))


def add_entries(folder: Path, entries: Mapping[str, float]) -> None:
    """Add entries to config.json that say how outputs are read: a threshold."""
    config = folder / CONFIG
    changed = json.loads(config.read_text()) | dict(entries)
    config.write_text(json.dumps(changed, indent=2, sort_keys=True) + "\n")


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the network's provenance beside it, as JSON."""
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")


def _configuration(model: PreTrainedModel, anatomy: Anatomy) -> dict[str, Any]:
    """Return config.json: the dense one, with the layout, types of our own and the file of their code.

    With the dense type, transformers would load the folder into the dense network and fill what is missing with
    random numbers, without an error.
    """
    config, where = model.config, find_architecture(anatomy.architecture)
    dense = {
        k: v
        for k, v in json.loads(config.to_json_string(use_diff=False)).items()
        if k not in (*VOLATILE, *BACKBONE)
    }
    left: list[dict[str, Any]] = [*layout(anatomy)]
    if where.head_table is not None:
        for entry, parts in zip(left, anatomy.layers, strict=True):
            some = 0 < len(parts.heads) < anatomy.heads_per_layer
            entry |= {"kept_heads": parts.heads.tolist()} if some else {}
    count = type(config).attribute_map.get("num_hidden_layers", "num_hidden_layers")
    depth: dict[str, Any] = {count: len(left)}
    if (
        dense.get("layer_types") == []
    ):  # the library reads no such list; one that is not there stands for none
        depth = {count: 1, "layer_types": ["full_attention"]}
    (name, network), module = class_names(type(model).__name__), CODE.removesuffix(".py")
    ends = ("Config", "Model", network)
    return (
        dense
        | depth
        | {
            "model_type": f"cut_{anatomy.architecture}",
            "architectures": [name + network],
            "auto_map": {modeling_cut.AUTO_CLASSES[end]: f"{module}.{name}{end}" for end in ends},
            "cut_row": row_to_json(where),
            "cut_layers": anatomy.dense_layers,
            "cut_layout": left,
            "cut_format": modeling_cut.FORMAT,
        }
    )


def check_no_hooks(model: PreTrainedModel) -> None:
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
