"""The built-in models: a small BERT, ViT and GPT-2, trained from nothing; their words are those of the task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.model.folder import BUILTIN, TINY_GPT2, TINY_VIT
from pipeline.model.heads import IMAGE_CLASSIFIER, LANGUAGE_MODEL
from pipeline.model.image_inputs import ImageReader
from pipeline.model.silence import quiet
from pipeline.study.records import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

    from pipeline.model.preprocessor import Preprocessor

BUILTIN_LENGTH = 128  # tokens
BUILTIN_VOCABULARY = 8_000
BUILTIN_CHARACTERS = 1_000  # rarer ones become [UNK]: they would leave no room for words
GPT2_VOCABULARY, END = 2_000, "<|endoftext|>"
SIDES = (8, 16, 32)  # of images, in pixels
BUILTIN_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def built_in(
    name: str, network: str, examples: Sequence[str], head: Mapping[str, Any]
) -> tuple[PreTrainedConfig, Preprocessor]:
    """Make a built-in model's configuration and preprocessor for a task.

    Args:
        name: one of `folder.BUILTINS`.
        network: what stands on it, a key of `heads.HEADS`.
        examples: texts of the training rows, or the longer side of each training image in pixels.
        head: entries of the configuration.

    Raises:
        BadInput: the model has no such head.
    """
    wanted = {IMAGE_CLASSIFIER: TINY_VIT, LANGUAGE_MODEL: TINY_GPT2}.get(network, BUILTIN)
    if name != wanted:
        raise BadInput(
            f"{name} is no network for {network}. {wanted} is, or a model of your own: name it by --model."
        )
    if network == IMAGE_CLASSIFIER:
        return tiny_vit([int(side) for side in examples], head)
    return tiny_gpt2(examples, head) if network == LANGUAGE_MODEL else tiny_bert(examples, head)


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


def tiny_vit(sides: Sequence[int], head: Mapping[str, Any]) -> tuple[PreTrainedConfig, ImageReader]:
    """Make a ViT of 2 layers, 4 heads and 128 neurons each, 64 wide, with 16 patches; and its image processor.

    Args:
        sides: the longer side of each training image in pixels; their median decides between 8, 16 and 32.
        head: entries of the configuration.
    """
    from transformers import ViTConfig

    median = float(np.median(sides)) if len(sides) else SIDES[-1]
    side = next((each for each in SIDES if each >= median), SIDES[-1])
    config = ViTConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        image_size=side,
        patch_size=side // 4,
        num_channels=3,  # transformers.pipeline reads every image so
        **head,
    )
    with quiet():  # that torchvision is not there
        from transformers import ViTImageProcessor

        processor = ViTImageProcessor(size={"height": side, "width": side})
    return config, ImageReader.of(processor, config)


def tiny_gpt2(
    texts: Sequence[str], head: Mapping[str, Any]
) -> tuple[PreTrainedConfig, PreTrainedTokenizerBase]:
    """Make a GPT-2 of 4 layers, 4 heads and 512 neurons each, 128 wide, with pairs of bytes of the task's own texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, PreTrainedTokenizerFast

    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=GPT2_VOCABULARY,
        min_frequency=2,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    made: Any = PreTrainedTokenizerFast  # without types
    fast: PreTrainedTokenizerBase = made(
        tokenizer_object=learner, eos_token=END, pad_token=END, model_max_length=BUILTIN_LENGTH
    )
    config = GPT2Config(
        vocab_size=len(fast),
        n_embd=128,
        n_layer=4,
        n_head=4,
        n_positions=BUILTIN_LENGTH,
        bos_token_id=fast.eos_token_id,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        **head,
    )
    return config, fast
