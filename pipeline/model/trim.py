"""Trim the vocabulary of a model: its tokenizer, its embedding table, the numbers in its configuration."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from pipeline.model.anatomy import find_architecture
from pipeline.model.earlier_cut import network_class
from pipeline.model.heads import LANGUAGE_MODEL
from pipeline.model.silence import quiet
from pipeline.model.source import ModelSource, build, read_config, tokenizer
from pipeline.model.vocabulary import IntArray, check_same, needed_tokens, trimmed_state
from pipeline.study.records import BadInput, OriginalSize

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

TOKEN = "_token_id"  # how entries of a configuration end that name a token
CHECKED_TEXTS = 2_000  # that are encoded by both tokenizers
FOUR_BYTES_MB = 4e-6  # of a parameter in fp32


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens of a trimmed vocabulary: `kept` [n] are their old numbers in the order of the new ones."""

    kept: IntArray
    before: int  # tokens, rows of the table
    width: int  # of a row

    @property
    def parameters(self) -> int:
        """Parameters of the rows that go."""
        return (self.before - len(self.kept)) * self.width

    @property
    def remark(self) -> str:
        """What a user should know of it."""
        return (
            f"The vocabulary is trimmed to {len(self.kept):,} of {self.before:,} tokens: {self.parameters:,} "
            f"parameters of the embedding table ({self.parameters * FOUR_BYTES_MB:.1f} MB) are gone. Texts without "
            "removed tokens are read as before."
        )


def trim_source(source: ModelSource, texts: Sequence[str]) -> tuple[ModelSource, Vocabulary]:
    """Return a model with the tokens alone that texts need, as another model.

    Raises:
        BadInput: the tokenizer is of a kind that cannot be trimmed, or words are predicted by another table.
    """
    fast = tokenizer(source)
    kept = needed_tokens(fast, texts, _named(source))
    _check_padding(source, kept)
    table = _table(source)
    known = source.weights.get(table)
    before, width = _shape(source) if known is None else known.shape
    own = [name for name, array in source.weights.items() if name != table and array.shape == (before, width)]
    if source.network == LANGUAGE_MODEL and own:
        raise BadInput(
            f"The words that a language model reads are trimmed with those that it predicts, where one table has both; "
            f"{source.name} has {own[0]} beside {table}. Leave --trim-vocabulary out."
        )
    vocabulary = Vocabulary(kept, before, width)
    files = tokenizer_files(fast, kept)
    weights = dict(source.weights)
    if known is not None:
        weights[table] = np.ascontiguousarray(known[kept])
    digest = hashlib.sha256(source.fingerprint.encode() + kept.tobytes()).hexdigest()
    commit = source.fingerprint.partition("@")[2]
    trimmed = replace(
        source,
        fingerprint=digest + (f"@{commit}" if commit else ""),
        config=_config(source.config, kept),
        weights=weights,
        tokenizer_files=files,
        remarks=(*source.remarks, vocabulary.remark),
        original=_original(source, vocabulary),
    )
    check_same(fast, tokenizer(trimmed), kept, texts[:CHECKED_TEXTS])
    return trimmed, vocabulary


def trim_network(model: PreTrainedModel, vocabulary: Vocabulary) -> None:
    """Take the rows of removed tokens out of a network's table, in place."""
    table: Any = model.get_input_embeddings()
    rows = table.weight.detach()[torch.from_numpy(vocabulary.kept).to(table.weight.device)]
    settings = _config(json.loads(model.config.to_json_string(use_diff=False)), vocabulary.kept)
    narrow = nn.Embedding(
        rows.shape[0], rows.shape[1], padding_idx=settings.get("pad_token_id"), device="meta"
    )
    narrow.weight = nn.Parameter(rows, requires_grad=table.weight.requires_grad)
    model.set_input_embeddings(narrow.train(table.training))
    for key in (key for key in settings if key.endswith(TOKEN) or key == "vocab_size"):
        setattr(model.config, key, settings[key])


def _original(source: ModelSource, vocabulary: Vocabulary) -> OriginalSize:
    earlier = source.original
    if earlier is not None:
        tokens = earlier.tokens or vocabulary.before
        return replace(earlier, tokens=tokens, trimmed=earlier.trimmed + vocabulary.parameters)
    _, anatomy = build(source, seed=0)
    costs = anatomy.costs
    return OriginalSize(costs.model, costs.encoder, tokens=vocabulary.before, trimmed=vocabulary.parameters)


def _named(source: ModelSource) -> list[int]:
    """Return the tokens that a configuration names, and those before a padding token that must not move."""
    values = [value for key, value in source.config.items() if key.endswith(TOKEN)]
    flat = [each for value in values for each in (value if isinstance(value, list) else [value])]
    fixed = find_architecture(source.config["model_type"]).positions_after_padding
    before = range(source.config["pad_token_id"]) if fixed else ()
    return [*before, *(each for each in flat if isinstance(each, int) and each >= 0)]


def _config(config: Mapping[str, Any], kept: IntArray) -> dict[str, Any]:
    """Return a configuration with the new numbers of its tokens."""
    new = {int(old): place for place, old in enumerate(kept)}

    def renumbered(value: Any) -> Any:
        if isinstance(value, list):
            return [renumbered(each) for each in value]
        return new.get(value) if isinstance(value, int) and value >= 0 else value

    changed = {key: renumbered(value) for key, value in config.items() if key.endswith(TOKEN)}
    return {**config, **changed, "vocab_size": len(kept)}


def _check_padding(source: ModelSource, kept: IntArray) -> None:
    """Refuse to move a padding token that positions are counted from."""
    pads = source.config.get("pad_token_id")
    if (
        find_architecture(source.config["model_type"]).positions_after_padding
        and kept.tolist().index(pads) != pads
    ):
        raise BadInput(
            f"Positions of a {source.config['model_type']} are counted from its padding token, which a trimmed "
            f"vocabulary would have to move from {pads}. Leave --trim-vocabulary out."
        )


def _table(source: ModelSource) -> str:
    """Return the name of the embedding table's weights."""
    model = _on_meta(source)
    table = model.get_input_embeddings().weight
    return next(str(name) for name, parameter in model.named_parameters() if parameter is table)


def _shape(source: ModelSource) -> tuple[int, int]:
    rows, width = _on_meta(source).get_input_embeddings().weight.shape
    return rows, width


def _on_meta(source: ModelSource) -> Any:
    config = read_config(source)
    with torch.device("meta"), quiet():
        return network_class(config, source.network)(config)


def tokenizer_files(fast: PreTrainedTokenizerFast, kept: IntArray) -> dict[str, bytes]:
    """Return the files of the trimmed tokenizer, which is of the library's general class."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast as General

    general: Any = General  # without types
    backend = Tokenizer.from_str(json.dumps(trimmed_state(fast, kept)))
    trimmed = general(
        tokenizer_object=backend,
        model_max_length=fast.model_max_length,
        padding_side=fast.padding_side,
        truncation_side=fast.truncation_side,
        model_input_names=fast.model_input_names,
        clean_up_tokenization_spaces=fast.clean_up_tokenization_spaces,
        **fast.special_tokens_map,
    )
    with tempfile.TemporaryDirectory() as folder:
        trimmed.save_pretrained(folder)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.is_file()}
