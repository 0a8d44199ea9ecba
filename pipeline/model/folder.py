"""The folder of a model: which files it has, and what of its config.json changes what a network computes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.study.records import BadInput

BUILTIN, TINY_VIT, TINY_GPT2 = "builtin/tiny-bert", "builtin/tiny-vit", "builtin/tiny-gpt2"
BUILTINS = {
    BUILTIN: "bert",
    TINY_VIT: "vit",
    TINY_GPT2: "gpt2",
}  # and the family of each, as its configuration has it
PROCESSOR = "preprocessor_config.json"  # of images
SHOWN_FILES = 8  # of a folder that is no model
# One of them holds the vocabulary.
VOCABULARY_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
# Of sentence-transformers: its modules and their folders, the encoder first; where old versions put that.
MODULES, OLD_ENCODER = "modules.json", "0_Transformer"
# What is fetched of a hub repository: configuration, weights, tokenizer; no other formats of the weights.
HUB_FILES = (
    "config.json",
    "adapter_config.json",
    "adapter_model.safetensors",
    MODULES,
    "1_Pooling/config.json",
    "0_*/*.json",
    "0_*/*.txt",
    "0_*/*.model",
    "0_*/model*.safetensors",
    "prunefront.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "preprocessor_config.json",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "*.model",
    "*.py",
)
ADAPTER = "adapter_config.json"
POINTER = b"version https://git-lfs"
# Switches that change the form of a network's outputs, or how they are computed; never what they are.
SWITCHES = {
    "return_dict": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "torchscript": False,
    "gradient_checkpointing": False,
}
# Entries that change what a network computes, with the value that this program's networks have.
FIXED = {
    "quantization_config": (None, "Give the model as it was before it was quantised."),
    "position_embedding_type": ("absolute", "Give a model whose positions are absolute."),
    "is_decoder": (False, "Give an encoder."),
    "add_cross_attention": (False, "Give an encoder without cross-attention."),
    "is_encoder_decoder": (
        False,
        "Its decoder reads the encoder by cross-attention, and no row describes how both are cut (Whisper, T5, BART). "
        "Give an encoder, or a decoder, alone.",
    ),
}
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")


def find_folder(name: str) -> tuple[Path, str | None]:
    """Return the model's folder, and the commit if it came from the hub (or from the hub's cache).

    Raises:
        BadInput: there is no such folder.
        OSError, ValueError: the hub does not have it, or cannot be reached.
    """
    from huggingface_hub import snapshot_download

    folder = as_folder(name)
    if folder is not None and folder.is_dir():
        return folder, None
    if folder is None or folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise BadInput(f"There is no folder {folder or name}. A model is a hub name, a folder or {BUILTIN}.")
    snapshot = Path(snapshot_download(name, allow_patterns=list(HUB_FILES)))
    return snapshot, snapshot.name  # the cache names a snapshot by its commit


def encoder_folder(folder: Path) -> Path:
    """Return the folder of the encoder: of a sentence-transformers folder that of its first module, else itself.

    Raises:
        BadInput: the first module is no transformer, or its folder is not there.
    """
    if not any(folder.glob("*.safetensors")) and (folder / OLD_ENCODER).is_dir():
        return folder / OLD_ENCODER
    if not (folder / MODULES).is_file():
        return folder
    modules = json.loads((folder / MODULES).read_text(encoding="utf-8-sig"))
    first = modules[0] if isinstance(modules, list) and modules else {}
    kind, path = str(first.get("type", "?")), Path(str(first.get("path", "")))
    if not kind.endswith("Transformer") or path.is_absolute() or ".." in path.parts:
        raise BadInput(
            f"{folder / MODULES} has {kind} in {path}. A sentence-transformers folder begins with an "
            "encoder. Give the folder of a transformer."
        )
    return folder / path


def as_folder(name: str) -> Path | None:
    """Return the folder that a name may mean; None if it is that of a user who does not exist."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return None


def check_files(folder: Path, *, images: bool | None = None) -> None:
    """Refuse what the library would read in another way than it is meant.

    Args:
        folder: of a model.
        images: whether it reads images; None: that is not known yet.

    Raises:
        BadInput: pickles (they are run), a missing vocabulary (it is taken for an empty one), an adapter (it is passed
            over), pointers of git LFS.
    """
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:SHOWN_FILES]) or "nothing"
    if (folder / ADAPTER).exists():
        raise BadInput(
            f"{folder} holds an adapter (PEFT, LoRA: {ADAPTER}) beside a model, which would be passed "
            "over. A model is one whole network. Merge it with peft's merge_and_unload and save the "
            "result with save_pretrained; or put one of the two into a folder of its own."
        )
    if not any(folder.glob("*.safetensors")):
        raise BadInput(
            f"{folder} has no safetensors: it holds {found}. Other formats can run code. If you trust "
            "it, load it with transformers and save it again with save_pretrained."
        )
    if images and not (folder / PROCESSOR).is_file():
        raise BadInput(
            f"{folder} has no image processor ({PROCESSOR}): it holds {found}. Save it beside the "
            "weights with the processor's save_pretrained."
        )
    if not images and not has_vocabulary(folder) and (images is False or not (folder / PROCESSOR).is_file()):
        raise BadInput(
            f"{folder} has no tokenizer ({', '.join(VOCABULARY_FILES)}): it holds {found}. Save it "
            "beside the weights with the tokenizer's save_pretrained."
        )
    pointers = [path.name for path in sorted(folder.iterdir()) if _is_pointer(path)]
    if pointers:
        raise BadInput(
            f"{', '.join(pointers[:SHOWN_FILES])} in {folder} are pointers of git LFS. Fetch the "
            "content with `git lfs pull`, or download the model with the hub's client."
        )


def _is_pointer(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json as it is.

    Raises:
        BadInput: it has entries that change what a network computes in a way that is not kept here.
        OSError, ValueError: it cannot be read.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8-sig"))
    if not isinstance(config, dict):
        raise ValueError("config.json is no JSON object.")
    for key, (plain, way_out) in FIXED.items():
        if config.get(key) and config[key] != plain:
            raise BadInput(
                f"config.json of {folder} has {key} = {json.dumps(config[key])[:80]}. A model is a "
                f"plain encoder with its own weights. {way_out}"
            )
    return config


def overrides(config: dict[str, Any]) -> dict[str, Any]:
    """Return new values for the switches in a config.json that would change the form of a network's outputs."""
    import torch

    changed: dict[str, Any] = {
        key: plain for key, plain in SWITCHES.items() if config.get(key, plain) != plain
    }
    for key in ("dtype", "torch_dtype"):
        if key in config and not isinstance(getattr(torch, str(config[key]), None), torch.dtype):
            changed["dtype"] = torch.float32
    return changed


def check_sizes(name: str, config: Any) -> None:
    """Refuse a network without layers, heads or words.

    Raises:
        BadInput: a size of the configuration is no positive number.
    """
    for key in SIZES:
        size = getattr(config, key, 1)
        if not isinstance(size, int) or size < 1:
            raise BadInput(
                f"{name} has {key} = {size!r}. An encoder has layers, heads and words. Correct config.json."
            )


def has_vocabulary(folder: Path) -> bool:
    """Return whether a folder holds a tokenizer's vocabulary."""
    return any(path for pattern in VOCABULARY_FILES for path in folder.glob(pattern))


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter without its model."""
    return (folder / ADAPTER).is_file() and not (folder / "config.json").is_file()


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn the library's errors on a model that cannot be read into one message; they are of any kind."""
    try:
        yield
    except (BadInput, MemoryError):
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
        fact = lines[0] if lines else ""
        if not isinstance(error, OSError | ValueError):  # a KeyError's text is a key alone
            fact = f"{type(error).__name__}: {fact}"
        raise BadInput(
            f"{name} cannot be read: {fact.rstrip('.')}. A model is a hub name, a folder with "
            f"config.json, safetensors and tokenizer, or {BUILTIN}. Check the name, its files and the "
            "network, or give a local folder."
        ) from error
