"""A model with fewer tokens: rows without removed ones have the same logits; sizes are counted from before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from pipeline.model.builtin import word_pieces
from pipeline.model.folder import BUILTIN, TINY_GPT2
from pipeline.model.heads import LANGUAGE_MODEL, Head
from pipeline.model.resolve import resolve_model
from pipeline.model.source import build, read_source, tokenizer, write_source
from pipeline.model.trim import trim_network, trim_source
from pipeline.study.records import BadInput

WORDS = ["the bright river of people and a tired story", "every scene of the story was bright or tired"]
MORE = ["noisy crowds, bitter winters", "graceful xylophones in the rain"]


def tokenizer_of(kind: str, pieces: list[str]) -> Any:
    """The kind that such a model comes with, of 100 tokens."""
    if kind in ("bert", "distilbert", "electra"):
        return transformers.BertTokenizer(
            vocab=word_pieces([*WORDS, *MORE] * 4, size=100), do_lower_case=True
        )
    letters = sorted({*"".join([*WORDS, *MORE])} - {" "})
    if kind == "roberta":
        head = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", *letters, "th", "Ġth", "Ġthe"]
        merges = [("t", "h"), ("Ġ", "th"), ("Ġth", "e")]
        return transformers.RobertaTokenizer(vocab={piece: i for i, piece in enumerate(head)}, merges=merges)
    entries = [
        ("<s>", 0.0),
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁", -3.0),
        ("▁the", -2.0),
        ("xy", -2.5),
    ]
    entries += [*((letter, -4.0) for letter in letters), ("<mask>", 0.0)]
    name = {"xlm-roberta": "XLMRobertaTokenizer", "camembert": "CamembertTokenizer"}[kind]
    return getattr(transformers, name)(vocab=entries)


def source_of(kind: str, make_model: Any, folder: Path) -> Any:
    model, _ = make_model(kind)
    model.save_pretrained(folder)
    tokenizer_of(kind, WORDS).save_pretrained(folder)
    return resolve_model(str(folder), head=Head(("a", "b", "c")), train_texts=[])


def test_rows_of_kept_tokens_have_the_same_logits(architecture: str, make_model: Any, tmp_path: Path) -> None:
    source = source_of(architecture, make_model, tmp_path / "model")
    small, vocabulary = trim_source(source, WORDS)
    model, anatomy = build(source, seed=0)
    narrow, parts = build(small, seed=0)
    before, after = tokenizer(source), tokenizer(small)
    how = {"padding": True, "truncation": True, "max_length": 30, "return_tensors": "pt"}
    old, new = (each(WORDS, ["a story", "river"], **how) for each in (before, after))
    assert new.keys() == old.keys()
    assert vocabulary.kept[new["input_ids"].numpy()].tolist() == old["input_ids"].tolist()
    with torch.no_grad():
        logits = model(**old).logits
        torch.testing.assert_close(narrow(**new).logits, logits, rtol=0, atol=0)
        trim_network(model, vocabulary)
        torch.testing.assert_close(model(**new).logits, logits, rtol=0, atol=0)
        narrow(**after(MORE, **how))  # in other pieces, but it is read
    rows = narrow.get_input_embeddings().weight.shape
    assert rows == (len(vocabulary.kept), vocabulary.width)
    assert len(vocabulary.kept) < vocabulary.before
    gone = vocabulary.before - len(vocabulary.kept)
    assert parts.costs.model == anatomy.costs.model
    assert sum(p.numel() for p in narrow.parameters()) == anatomy.costs.model - gone * rows[1]
    assert parts.costs.encoder == anatomy.costs.encoder
    assert small.fingerprint != source.fingerprint
    assert narrow.config.pad_token_id == after.pad_token_id
    assert small.remarks[-1].startswith(
        f"The vocabulary is trimmed to {len(vocabulary.kept)} of {vocabulary.before} tokens"
    )
    write_source(small, tmp_path / "copy")
    copy = read_source(tmp_path / "copy")
    assert (copy.original, copy.fingerprint) == (small.original, small.fingerprint)
    assert copy.original is not None
    assert copy.original.trimmed == gone * rows[1]


def test_a_model_from_nothing_is_trimmed_too() -> None:
    texts = [*WORDS, *MORE] * 3
    source = resolve_model(BUILTIN, head=Head(("a", "b")), train_texts=texts)
    small, vocabulary = trim_source(source, WORDS)
    model, _ = build(small, seed=0)
    assert model.config.vocab_size == len(vocabulary.kept) < vocabulary.before


def test_the_real_minilm(minilm: Path) -> None:
    source = resolve_model(str(minilm), head=Head(("a", "b")), train_texts=[])
    small, vocabulary = trim_source(source, WORDS)
    assert (vocabulary.before, vocabulary.width) == (30_522, 384)
    old, new = tokenizer(source), tokenizer(small)
    tokens = old.convert_ids_to_tokens(vocabulary.kept.tolist())
    assert {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "river", "##e", "~"} <= {*tokens}
    assert len(tokens) < 250
    assert new.convert_ids_to_tokens(range(len(tokens))) == tokens
    assert new.model_max_length == old.model_max_length
    table = "bert.embeddings.word_embeddings.weight"
    np.testing.assert_array_equal(small.weights[table], source.weights[table][vocabulary.kept])
    assert small.nbytes == source.nbytes - 4 * (30_522 - len(tokens)) * 384


def test_a_trimmed_model_is_trimmed_again_from_where_it_began(tmp_path: Path, make_model: Any) -> None:
    source = source_of("bert", make_model, tmp_path / "model")
    first, _ = trim_source(source, [*WORDS, *MORE])
    second, vocabulary = trim_source(first, WORDS)
    assert second.original is not None
    assert first.original is not None
    assert second.original.parameters == first.original.parameters
    assert second.original.tokens == 100
    assert second.original.trimmed == (100 - len(vocabulary.kept)) * vocabulary.width


@pytest.mark.parametrize("kind", ["roberta", "camembert"])
def test_positions_are_counted_from_the_same_padding_token(
    kind: str, make_model: Any, tmp_path: Path
) -> None:
    small, _ = trim_source(source_of(kind, make_model, tmp_path / "model"), WORDS)
    assert small.config["pad_token_id"] == 1


def test_words_that_are_predicted_by_a_table_of_their_own_are_not_trimmed() -> None:
    source = resolve_model(TINY_GPT2, head=Head((), LANGUAGE_MODEL, None), train_texts=WORDS * 3)
    small, vocabulary = trim_source(source, WORDS[:1])
    assert len(vocabulary.kept) < vocabulary.before
    assert build(small, seed=0)[0].lm_head.weight.shape[0] == len(vocabulary.kept)  # one table has both
    table = np.zeros((vocabulary.before, vocabulary.width), np.float32)
    untied = replace(source, weights={"transformer.wte.weight": table, "lm_head.weight": table})
    with pytest.raises(BadInput, match=r"has lm_head.weight beside transformer.wte.weight"):
        trim_source(untied, WORDS[:1])
