"""Tokenizers with fewer tokens. A text that needs none of the removed ones is encoded as before, by other numbers.

Why that holds, for any set of kept tokens that has those of the text:

* WordPiece takes the longest piece that fits; of fewer pieces the same one is the longest.
* Unigram takes the most likely segmentation; that one is still there, and no other has become likelier. Only the
  unknown token's score is taken from the vocabulary, from its least likely piece: this one is kept.
* BPE makes the first merge of its list that applies. All merges that led to a kept token are kept with their pieces.

Beside the tokens of given texts are kept: special tokens, bytes, and the single characters that kept tokens and ASCII
consist of, so that other words are spelled where they can be.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.study.records import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

IntArray = npt.NDArray[np.int64]
State = dict[str, Any]  # tokenizer.json

KINDS = ("WordPiece", "BPE", "Unigram", "WordLevel")
TEXTS_AT_ONCE = 1_000


def needed_tokens(
    fast: PreTrainedTokenizerFast, texts: Sequence[str], always: Iterable[int] = ()
) -> IntArray:
    """Return the numbers of the tokens to keep, in the order of their new numbers.

    Args:
        fast: the tokenizer.
        texts: whose tokens are kept; they are encoded whole.
        always: further numbers to keep, of those that a configuration names.

    Raises:
        BadInput: the tokenizer is of a kind that cannot be rewritten.
    """
    state = _state(fast)
    pieces = _pieces(state)
    added = {token["content"]: token["id"] for token in state["added_tokens"]}
    number = pieces | added
    piece_of = {each: piece for piece, each in number.items()}
    in_model = {*pieces.values()}
    found = {each for each in always if each in piece_of} | {*fast.all_special_ids}
    found |= {token["id"] for token in state["added_tokens"] if token["special"]}
    found |= {each for row in _encoded(fast, texts) for each in row}
    found |= {number[piece] for piece in _unknown(state) if piece in number}
    characters = {*string.printable} - {*string.whitespace}
    characters |= {each for kept in found & in_model for each in piece_of[kept]}
    found |= {number[piece] for piece in _spelling(state, characters, number) if piece in number}
    if state["model"]["type"] == "BPE":
        found |= {number[piece] for piece in _made_by_merges(state, [piece_of[each] for each in found])}
    return np.array(sorted(found, key=lambda each: (each not in in_model, each)), dtype=np.int64)


def trimmed_state(fast: PreTrainedTokenizerFast, kept: IntArray) -> State:
    """Return tokenizer.json with the tokens `kept` alone, whose places there are their new numbers."""
    state = _state(fast)
    model, new = state["model"], {int(old): place for place, old in enumerate(kept)}
    pieces = {piece: new[old] for piece, old in _pieces(state).items() if old in new}
    if model["type"] == "Unigram":
        model["vocab"] = [entry for old, entry in enumerate(model["vocab"]) if old in new]
        if model.get("unk_id") is not None:
            model["unk_id"] = new[model["unk_id"]]
    else:
        model["vocab"] = dict(sorted(pieces.items(), key=lambda item: item[1]))
    if model["type"] == "BPE":
        pairs = [(pair, _pair(pair)) for pair in model["merges"]]
        model["merges"] = [pair for pair, (a, b) in pairs if a in pieces and b in pieces and a + b in pieces]
    state["added_tokens"] = [
        token | {"id": new[token["id"]]} for token in state["added_tokens"] if token["id"] in new
    ]
    state["added_tokens"].sort(key=lambda token: token["id"])
    state["post_processor"] = _renumbered(state["post_processor"], new)
    state["padding"] = state["truncation"] = None
    return state


def check_same(
    fast: PreTrainedTokenizerFast,
    trimmed: PreTrainedTokenizerFast,
    kept: IntArray,
    texts: Sequence[str],
) -> None:
    """Check that texts of kept tokens have the same tokens in both.

    Raises:
        BadInput: they have not: the tokenizer does something that is not known here.
    """
    for text, before, after in zip(texts, _encoded(fast, texts), _encoded(trimmed, texts), strict=True):
        if [int(kept[each]) for each in after] != before:
            raise BadInput(
                f"The vocabulary of {type(fast).__name__} cannot be trimmed: {text[:60]!r} would have other "
                "tokens than before. Leave --trim-vocabulary out."
            )
    pair = [texts[0], texts[0]] if texts else ["", ""]
    before, after = (each(*pair)["input_ids"] for each in (fast, trimmed))
    if [int(kept[each]) for each in after] != before:
        raise BadInput(
            f"The vocabulary of {type(fast).__name__} cannot be trimmed: the special tokens around a text would be "
            "others than before. Leave --trim-vocabulary out."
        )


def _state(fast: PreTrainedTokenizerFast) -> State:
    state: State = json.loads(fast.backend_tokenizer.to_str())
    model = state["model"]
    affixes = model["type"] == "BPE" and (
        model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
    )
    if model["type"] not in KINDS or affixes:
        raise BadInput(
            f"This tokenizer is a {model['type']}{' with affixes' if affixes else ''}. Vocabularies "
            f"of {', '.join(KINDS)} are trimmed. Leave --trim-vocabulary out."
        )
    return state


def _pieces(state: State) -> dict[str, int]:
    """Return the numbers of the model's pieces, without added tokens beside them."""
    vocabulary = state["model"]["vocab"]
    if state["model"]["type"] == "Unigram":
        return {piece: number for number, (piece, _) in enumerate(vocabulary)}
    return dict(vocabulary)


def _encoded(fast: PreTrainedTokenizerFast, texts: Sequence[str]) -> Iterable[list[int]]:
    """Yield the token numbers of each text, whole and without special tokens around it."""
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        yield from fast(
            [*texts[start : start + TEXTS_AT_ONCE]],
            add_special_tokens=False,
            return_attention_mask=False,
            verbose=False,
        )["input_ids"]


def _unknown(state: State) -> list[str]:
    """Return the piece of what no other stands for, and that which its score is taken from."""
    model = state["model"]
    if model["type"] != "Unigram":
        return [model["unk_token"]] if model.get("unk_token") else []
    least = min(model["vocab"], key=lambda entry: entry[1])[0]
    return [least] + ([] if model.get("unk_id") is None else [model["vocab"][model["unk_id"]][0]])


def _spelling(state: State, characters: Iterable[str], there: dict[str, int]) -> set[str]:
    """Return the pieces that spell: single characters, bytes."""
    model = state["model"]
    found = {
        prefix + each for each in characters for prefix in ("", model.get("continuing_subword_prefix") or "")
    }
    if model.get("byte_fallback"):
        found |= {f"<0x{byte:02X}>" for byte in range(256)}
    if '"ByteLevel"' in json.dumps([state["pre_tokenizer"], state["normalizer"]]):
        from tokenizers.pre_tokenizers import ByteLevel

        found |= {*ByteLevel.alphabet()}
    return found & there.keys()


def _made_by_merges(state: State, pieces: Iterable[str]) -> set[str]:
    """Return all pieces from which BPE makes these, step by step, and their merges' products."""
    known = _pieces(state)
    rank: dict[tuple[str, str], int] = {}
    for place, pair in enumerate(state["model"]["merges"]):
        rank.setdefault(_pair(pair), place)
    found: set[str] = set()
    for piece in pieces:
        parts = [*piece]
        while len(parts) > 1:
            found |= {part for part in parts if part in known}
            ranks = [rank.get(pair, len(rank) + 1) for pair in pairwise(parts)]
            first = int(np.argmin(ranks))
            if ranks[first] > len(rank):
                break  # it is no product of merges: an added token
            parts[first : first + 2] = ["".join(parts[first : first + 2])]
    return found


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def _renumbered(processor: Any, new: dict[int, int]) -> Any:
    """Return a post-processor, or a sequence of them, with the new numbers of its special tokens."""
    if processor is None:
        return None
    if processor["type"] == "Sequence":
        return processor | {"processors": [_renumbered(each, new) for each in processor["processors"]]}
    if processor["type"] == "TemplateProcessing":
        special = {
            name: token | {"ids": [new[old] for old in token["ids"]]}
            for name, token in processor["special_tokens"].items()
        }
        return processor | {"special_tokens": special}
    ends = {name: processor[name] for name in ("sep", "cls") if name in processor}
    return processor | {name: [token, new[old]] for name, (token, old) in ends.items()}
