"""The built-in model: a small BERT, trained from nothing, with a vocabulary of the task's own words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

BUILTIN_LENGTH = 128  # tokens
BUILTIN_VOCABULARY = 8_000
BUILTIN_CHARACTERS = 1_000  # rarer ones become [UNK]: they would leave no room for words
BUILTIN_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def tiny_bert(
    texts: Sequence[str], head: Mapping[str, Any]
) -> tuple[PreTrainedConfig, PreTrainedTokenizerBase]:
    """Make a BERT of 2 layers, 4 heads and 256 neurons each, 128 wide: a search takes two minutes on two cores."""
    from transformers import BertConfig, BertTokenizer

    vocabulary = word_pieces(texts, size=BUILTIN_VOCABULARY)
    fast = BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=BUILTIN_LENGTH)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=BUILTIN_LENGTH,
        attention_probs_dropout_prob=0.0,  # learns faster, and keeps PyTorch's fused attention on a CPU
        pad_token_id=vocabulary["[PAD]"],
        **head,
    )
    return config, fast


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
