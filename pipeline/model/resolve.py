"""Resolve a model's name to a ModelSource: a hub name, a folder, or the built-in model."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.model.anatomy import find_architecture, read_anatomy
from pipeline.model.folder import (
    BUILTIN,
    check_files,
    check_sizes,
    find_folder,
    overrides,
    read_config,
    readable,
)
from pipeline.model.head import HeadMatch, match_head, output_names
from pipeline.model.source import NO_HEAD, ModelSource, Weights, quiet
from pipeline.study.records import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

BUILTIN_LENGTH = 128  # tokens
BUILTIN_VOCABULARY = 8_000
BUILTIN_CHARACTERS = 1_000  # rarer ones become [UNK]: they would leave no room for words
BUILTIN_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

# Numbers of positions and the like, which older versions of transformers saved beside the weights.
BUFFERS = ("position_ids", "token_type_ids")

# Written by the library that saved a configuration; no properties of the network.
VOLATILE_CONFIG = ("transformers_version", "_name_or_path")


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
    with readable(name):
        folder, _ = find_folder(name)
        check_files(folder)
        config = read_config(folder)
        with quiet():
            found = AutoConfig.from_pretrained(folder, trust_remote_code=False, **overrides(config))
            find_architecture(found.model_type)


def classes_of(name: str) -> tuple[str, ...]:
    """Return the classes that a model's own head knows, in the order of its outputs.

    Raises:
        BadInput: it is the built-in model, which has none, or its configuration cannot be read.
    """
    if name == BUILTIN:
        raise BadInput(
            f"Rows without labels are read by a network that is fine-tuned already; {BUILTIN} is not. Give a "
            "fine-tuned model by --model."
        )
    _check_builtin(name)
    with readable(name):
        folder, _ = find_folder(name)
        return tuple(output_names(read_config(folder)))


def _check_builtin(name: str) -> None:
    if name.startswith("builtin/"):
        raise BadInput(f"The only built-in model is {BUILTIN}; {name} does not exist.")


def _pretrained(name: str, head: Mapping[str, Any], *, trust_remote_code: bool) -> ModelSource:
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    with readable(name):
        folder, commit = find_folder(name)
        check_files(folder)
        own = read_config(folder)
        with quiet():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **head, **overrides(own))
            find_architecture(config.model_type)
            check_sizes(name, config)
            model, info = AutoModelForSequenceClassification.from_pretrained(
                folder,
                config=config,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # the head of another task
                dtype=torch.float32,
                attn_implementation="sdpa",
                trust_remote_code=False,
            )
            fast = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
        read_anatomy(model)
        _check_tokenizer(name, fast, tokens=config.vocab_size)
    missing, other = {*info["missing_keys"]}, {key for key, *_ in info["mismatched_keys"]}
    _check_encoder_is_whole(name, model, missing | other)
    _check_all_is_read(name, model, info["unexpected_keys"])
    weights = {
        key: tensor.numpy() for key, tensor in model.state_dict().items() if key not in missing | other
    }
    remarks: tuple[str, ...] = ()
    layer, match = _output_layer(model), NO_HEAD
    if f"{layer}.weight" not in missing:
        match = match_head(own, list(head["label2id"]), regression=head["problem_type"] == "regression")
        remarks = _fit_head(weights, layer, match)
        match = _of_whole_network(match, missing | other)
    return _source(name, model.config, weights, fast, commit=commit, remarks=remarks, head=match)


def _output_layer(model: PreTrainedModel) -> str:
    """Return the name of the linear map that gives a classifier's outputs."""
    outside = [
        str(name)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and not name.startswith(f"{model.base_model_prefix}.")
    ]
    return outside[-1]


def _fit_head(weights: Weights, layer: str, match: HeadMatch) -> tuple[str, ...]:
    """Bring the outputs of a model's head into the task's order, or take them away; return what is to be said of it."""
    for name in (f"{layer}.weight", f"{layer}.bias"):
        if match.order is None:
            weights.pop(name, None)
        elif name in weights:
            weights[name] = weights[name][list(match.order)]
    if match.order is None:
        return (f"The model's own head is not used, it starts anew: {match.reason}.",)
    return (f"The model's own head is used: {match.reason}.",) if match.reason else ()


def _of_whole_network(match: HeadMatch, fresh: set[str]) -> HeadMatch:
    """Return the match, or why there is none: a head that lacks what lies below it predicts nothing."""
    if match.order is None or not fresh:
        return match
    return HeadMatch(None, f"its head lacks some of its weights ({', '.join(sorted(fresh)[:3])})")


def _check_tokenizer(name: str, fast: PreTrainedTokenizerBase, *, tokens: int) -> None:
    if not fast.is_fast:
        raise BadInput(f"Rows are tokenised by a fast tokenizer; {name} has only {type(fast).__name__}.")
    if fast.pad_token_id is None:
        raise BadInput(
            f"Rows of a batch are padded to one length; the tokenizer of {name} has no padding token. Give it one that "
            "the model was trained with (tokenizer.pad_token = ...) and save it again with save_pretrained."
        )
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


def _check_all_is_read(name: str, model: PreTrainedModel, unread: Iterable[str]) -> None:
    """Check that no weights of the encoder were left aside: the network would be another one than was trained."""
    prefix = f"{model.base_model_prefix}."
    parts = {part for part, _ in model.base_model.named_children()}
    left = [key for key in sorted(unread) if key.removeprefix(prefix).split(".")[0] in parts]
    left = [key for key in left if not key.endswith(BUFFERS)]
    if left:
        raise BadInput(
            f"All weights of a model's encoder are read; {name} has {len(left)} that its network has no place for "
            f"({', '.join(left[:3])} ...): more layers than config.json says, adapters, or parts of another class. "
            "Load it with the class that it was trained with, and save it again as a plain encoder."
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
    remarks: tuple[str, ...] = (),
    head: HeadMatch = NO_HEAD,
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
    return ModelSource(name, fingerprint, settings, weights, files, remarks, head)
