"""Resolve a model's name to a ModelSource: a hub name, a folder, or the built-in model."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.model.anatomy import find_architecture, read_anatomy
from pipeline.model.source import ModelSource, Weights, quiet
from pipeline.study.records import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

BUILTIN = "builtin/tiny-bert"
BUILTIN_LENGTH = 128  # tokens
BUILTIN_VOCABULARY = 8_000
BUILTIN_CHARACTERS = 1_000  # rarer ones become [UNK]: they would leave no room for words
BUILTIN_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

SHOWN_FILES = 8  # of a folder that is no model

# Written by the library that saved a configuration; no properties of the network.
VOLATILE_CONFIG = ("transformers_version", "_name_or_path")
# One of them holds the vocabulary.
VOCABULARY_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
# What is fetched of a hub repository: configuration, weights, tokenizer; no other formats of the weights.
HUB_FILES = (
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "*.model",
    "*.py",
)


def resolve_model(
    name: str,
    *,
    outputs: int,
    class_names: Sequence[str],
    regression: bool,
    train_texts: Sequence[str],
    trust_remote_code: bool = False,
) -> ModelSource:
    """Read a model from the hub or a folder, or make the built-in one. Called by the driver, once.

    Args:
        name: a hub name, a folder, or `builtin/tiny-bert`.
        outputs: classes, or 1 for a regression.
        class_names: one per class; not read for a regression.
        regression: whether the label is a value.
        train_texts: what the built-in model's WordPiece vocabulary is learned from.
        trust_remote_code: for the tokenizer; the network's code is always the library's own, since a cut
            needs to know it.

    Raises:
        BadInput: if the model is missing, unreachable, of an unknown architecture, or has no safetensors.
    """
    if not regression and len(class_names) != outputs:
        raise ValueError(f"{outputs} outputs have {outputs} class names; given are {list(class_names)}.")
    names = ["value"] if regression else list(class_names)
    head = {
        "id2label": dict(enumerate(names)),
        "label2id": {label: number for number, label in enumerate(names)},
        "problem_type": "regression" if regression else "single_label_classification",
    }
    if name == BUILTIN:
        return _tiny_bert(train_texts, head)
    _check_builtin(name)
    return _pretrained(name, head, trust_remote_code=trust_remote_code)


def check_model(name: str) -> None:
    """Check a model's name, files and architecture as `resolve_model` does.

    Raises:
        BadInput: as `resolve_model`.
    """
    from transformers import AutoConfig

    if name == BUILTIN:
        return
    _check_builtin(name)
    with _readable(name):
        folder, _ = _folder(name)
        _check_files(folder)
        with quiet():
            find_architecture(AutoConfig.from_pretrained(folder).model_type)


def _check_builtin(name: str) -> None:
    if name.startswith("builtin/"):
        raise BadInput(f"The only built-in model is {BUILTIN}; {name} does not exist.")


def _pretrained(name: str, head: Mapping[str, Any], *, trust_remote_code: bool) -> ModelSource:
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    with _readable(name):
        folder, commit = _folder(name)
        _check_files(folder)
        with quiet():
            config = AutoConfig.from_pretrained(folder, **head)
            find_architecture(config.model_type)
            model, info = AutoModelForSequenceClassification.from_pretrained(
                folder,
                config=config,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # the head of another task
                dtype=torch.float32,
            )
            fast = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    _check_tokenizer(name, fast, tokens=config.vocab_size)
    read_anatomy(model)
    fresh = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    _check_encoder_is_whole(name, model, fresh)
    weights = {key: tensor.numpy() for key, tensor in model.state_dict().items() if key not in fresh}
    return _source(name, model.config, weights, fast, commit=commit)


def _folder(name: str) -> tuple[Path, str | None]:
    """Return the model's folder, and the commit if it came from the hub (or from the hub's cache)."""
    from huggingface_hub import snapshot_download

    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder, None
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise BadInput(f"A model is a hub name, a folder or {BUILTIN}; there is no folder {folder}.")
    snapshot = Path(snapshot_download(name, allow_patterns=list(HUB_FILES)))
    return snapshot, snapshot.name  # the cache names a snapshot by its commit


def _check_files(folder: Path) -> None:
    """Refuse pickles and a missing vocabulary: the library would run the one and take the other for an empty one."""
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:SHOWN_FILES]) or "nothing"
    if not any(folder.glob("*.safetensors")):
        raise BadInput(
            f"Weights are read from safetensors only, since other formats can run code; {folder} holds "
            f"{found}. If you trust it, load it with transformers and save it again with save_pretrained."
        )
    if not any(path for pattern in VOCABULARY_FILES for path in folder.glob(pattern)):
        raise BadInput(
            f"A model brings its tokenizer ({', '.join(VOCABULARY_FILES)}); {folder} holds {found}. Save it "
            "beside the weights with the tokenizer's save_pretrained."
        )


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turn the library's errors on a model that cannot be read into one message."""
    from safetensors import SafetensorError

    try:
        yield
    except BadInput:
        raise
    except (OSError, ValueError, SafetensorError) as error:
        fact = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise BadInput(
            f"A model is a hub name, a folder with config.json, safetensors and tokenizer, or {BUILTIN}; "
            f"{name} cannot be read: {fact} Check the name and the network, or give a local folder."
        ) from error


def _check_tokenizer(name: str, fast: PreTrainedTokenizerBase, *, tokens: int) -> None:
    if not fast.is_fast:
        raise BadInput(f"Rows are tokenised by a fast tokenizer; {name} has only {type(fast).__name__}.")
    last = max(fast.get_vocab().values())
    if last >= tokens:
        raise BadInput(
            f"Every token has an embedding; {name} has {tokens} of them and its tokenizer counts to {last}. "
            "Give the tokenizer that the model was trained with."
        )


def _check_encoder_is_whole(name: str, model: PreTrainedModel, fresh: set[str]) -> None:
    """Check that all weights of the encoder were read; the library would replace missing ones by random numbers."""
    prefix = f"{model.base_model_prefix}."
    lost = sorted(key for key in fresh if key.startswith(prefix) and ".pooler." not in key)
    if lost:
        raise BadInput(
            f"A pretrained model brings all weights of its encoder; {name} lacks {len(lost)} of them or has "
            f"them in other shapes ({', '.join(lost[:3])} ...). Give the folder of a whole model."
        )


def _tiny_bert(texts: Sequence[str], head: Mapping[str, Any]) -> ModelSource:
    """Make a BERT of 4 layers, 4 heads and 512 neurons each, 128 wide: a search takes minutes on two cores."""
    from transformers import BertConfig, BertTokenizer

    vocabulary = word_pieces(texts, size=BUILTIN_VOCABULARY)
    fast = BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=BUILTIN_LENGTH)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=BUILTIN_LENGTH,
        attention_probs_dropout_prob=0.0,  # learns faster, and keeps PyTorch's fused attention on a CPU
        pad_token_id=vocabulary["[PAD]"],
        **head,
    )
    return _source(BUILTIN, config, {}, fast, commit=None)


def word_pieces(texts: Sequence[str], *, size: int) -> dict[str, int]:
    """Learn a lower-case WordPiece vocabulary, token -> number: the same for the same texts, in every process.

    The library's trainer numbers continuing characters in the random order of a hash map, and breaks ties
    between pairs by those numbers. Here they are fixed before it starts.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer = normalizers.BertNormalizer(lowercase=True)
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    counts = Counter(c for text in texts for c in learner.normalizer.normalize_str(text) if not c.isspace())
    common = sorted(counts, key=lambda c: (-counts[c], c))[:BUILTIN_CHARACTERS]
    characters = sorted(common)
    fixed = [*BUILTIN_SPECIAL, *characters, *(f"##{c}" for c in characters)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=2, special_tokens=fixed, limit_alphabet=0, show_progress=False
    )
    learner.train_from_iterator(texts, trainer)
    return dict(sorted(learner.get_vocab().items(), key=lambda item: item[1]))


def _source(
    name: str,
    config: PreTrainedConfig,
    weights: Weights,
    fast: PreTrainedTokenizerBase,
    *,
    commit: str | None,
) -> ModelSource:
    settings = json.loads(config.to_json_string())
    settings = {key: value for key, value in settings.items() if key not in VOLATILE_CONFIG}
    digest = hashlib.sha256()
    digest.update(json.dumps([settings, sorted(fast.get_vocab().items())], sort_keys=True).encode())
    for key, array in sorted(weights.items()):
        digest.update(f"{key} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    with tempfile.TemporaryDirectory() as temporary:
        fast.save_pretrained(temporary)
        files = {path.name: path.read_bytes() for path in sorted(Path(temporary).iterdir()) if path.is_file()}
    fingerprint = digest.hexdigest() + (f"@{commit}" if commit else "")
    return ModelSource(name, fingerprint, settings, weights, files)
