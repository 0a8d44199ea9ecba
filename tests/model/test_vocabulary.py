"""Trimmed vocabularies: texts of kept tokens have the same tokens, by other numbers; each kind of tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import transformers
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from pipeline.model.builtin import word_pieces
from pipeline.model.vocabulary import check_same, needed_tokens, trimmed_state
from pipeline.study.records import BadInput

WORDS = [
    "the",
    "bright",
    "river",
    "of",
    "people",
    "and",
    "a",
    "tired",
    "story",
    "every",
    "scene",
    "was",
    "or",
    "how",
    "gentle",
    "graceful",
    "noisy",
    "Größe",
]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def sentences(count: int, *, seed: int, words: list[str] = WORDS) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(words, size=generator.integers(1, 9))) for _ in range(count)]


# other words than the texts that are kept have, out of the same pieces and out of others
CORPUS = sentences(
    400, seed=0, words=[*WORDS, "rivers", "storyline", "xylophone", "unbright", "peopled", "日本"]
)


def word_piece() -> Tokenizer:
    fast = transformers.BertTokenizer(vocab=word_pieces(CORPUS, size=200), do_lower_case=True)
    return fast.backend_tokenizer


def byte_level(*, ignore_merges: bool = False) -> Tokenizer:
    learner = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    learner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learner.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=340, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        ),
    )
    learner.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return learner


def with_byte_fallback() -> Tokenizer:
    """As Gemma's: spaces are letters, unknown characters are bytes, merges made anew from the vocabulary."""
    learner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    learner.normalizer = normalizers.Replace(" ", "▁")
    special = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    plain = [each for each in CORPUS if each.isascii()]
    learner.train_from_iterator(
        plain, trainers.BpeTrainer(vocab_size=360, special_tokens=special, show_progress=False)
    )
    state = json.loads(learner.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in SPECIAL]
    return Tokenizer.from_str(json.dumps(state))


def unigram() -> Tokenizer:
    learner = Tokenizer(models.Unigram())
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    learner.train_from_iterator(
        CORPUS,
        trainers.UnigramTrainer(
            vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", max_piece_length=6, show_progress=False
        ),
    )
    learner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return learner


def whole_words() -> Tokenizer:
    words = {word: number for number, word in enumerate([*SPECIAL, *sorted({*" ".join(CORPUS).split()})])}
    learner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    learner.pre_tokenizer = pre_tokenizers.Whitespace()
    return learner


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "WordPiece": word_piece,
    "byte-level BPE": byte_level,
    "BPE that takes whole words first": lambda: byte_level(ignore_merges=True),
    "BPE with bytes for unknown characters": with_byte_fallback,
    "Unigram": unigram,
    "whole words": whole_words,
}


def general(backend: Tokenizer) -> transformers.PreTrainedTokenizerFast:
    names = dict(
        zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIAL, strict=True)
    )
    if "[PAD]" in backend.get_vocab():
        names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def trimmed(
    fast: transformers.PreTrainedTokenizerFast, kept: np.ndarray
) -> transformers.PreTrainedTokenizerFast:
    return general(Tokenizer.from_str(json.dumps(trimmed_state(fast, kept))))


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_kept_tokens_have_the_same_tokens(kind: str) -> None:
    fast = general(KINDS[kind]())
    texts = sentences(20, seed=1, words=WORDS[:9])
    kept = needed_tokens(fast, texts)
    small = trimmed(fast, kept)
    assert len(small) == len(kept) < len(fast)
    check_same(fast, small, kept, texts)
    new = {int(old): place for place, old in enumerate(kept)}
    same = other = 0
    for text in [*sentences(200, seed=2), *CORPUS, "xy ⊕ 日本 \t q", "", "river" * 40, "<mask> the <s>"]:
        for special in (True, False):
            before = fast(text, add_special_tokens=special)["input_ids"]
            after = small(text, add_special_tokens=special)["input_ids"]
            if {*before} <= new.keys():
                assert after == [new[each] for each in before], text
                same += 1
            else:
                assert max(after, default=0) < len(kept)
                other += 1
    assert same > 40
    assert other > 40, "the texts need no removed token: the test shows nothing"
    pair = [new[each] for each in fast("the river", "a story")["input_ids"]]
    assert small("the river", "a story")["input_ids"] == pair
    assert small.pad_token_id == new[fast.pad_token_id]


def test_tokens_of_the_texts_are_kept_and_what_spells_others() -> None:
    fast = general(byte_level())
    kept = {fast.convert_ids_to_tokens(int(each)) for each in needed_tokens(fast, ["people"])}
    assert {"Ġpeople", "<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ã", "z"} <= kept
    # "Ġpeople" is made by merges, whose products stay; those of other words go
    assert any(each not in (*SPECIAL, "Ġpeople") and len(each) > 1 for each in kept)
    assert "Ġriver" not in kept
    small = trimmed(fast, needed_tokens(fast, ["people"]))
    assert small.decode(small("river 日本")["input_ids"], skip_special_tokens=True).strip() == "river 日本"


def test_the_unknown_token_keeps_its_score() -> None:
    """It is taken from the least likely piece: without that one, unknown characters would be likelier."""
    pieces = [("<unk>", 0.0), ("a", -2.0), ("b", -9.0), ("ab", -30.0), ("▁", -1.0)]
    fast = general(Tokenizer(models.Unigram(pieces, unk_id=0)))
    kept = needed_tokens(fast, ["a"])
    assert "ab" in {fast.convert_ids_to_tokens(int(each)) for each in kept}


def test_tokens_that_a_configuration_names_are_kept_and_added_ones_keep_their_place() -> None:
    backend = whole_words()
    backend.add_tokens([AddedToken("[NEW]", normalized=False), AddedToken("[RARE]", normalized=False)])
    fast = general(backend)
    new, rare = fast.convert_tokens_to_ids(["[NEW]", "[RARE]"])
    named = fast.convert_tokens_to_ids("xylophone")
    kept = needed_tokens(fast, ["the [NEW] story"], always=[named])
    assert kept[-1] == new
    assert named in kept
    assert rare not in kept
    assert kept[:-1].tolist() == sorted(kept[:-1])
    check_same(fast, trimmed(fast, kept), kept, ["the [NEW] story", "xylophone"])


def test_a_tokenizer_that_is_not_understood_is_refused() -> None:
    affixes = Tokenizer(models.BPE({"a": 0, "b</w>": 1}, [], end_of_word_suffix="</w>"))
    with pytest.raises(BadInput, match=r"a BPE with affixes\. .*Leave --trim-vocabulary out"):
        needed_tokens(general(affixes), ["a"])
    fast = general(whole_words())
    kept = needed_tokens(fast, ["the river"])
    with pytest.raises(BadInput, match="'the river' would have other tokens"):
        check_same(fast, trimmed(fast, kept), kept[::-1], ["the river"])
