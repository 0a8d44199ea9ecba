"""Whether a model was read whole: all weights of its encoder, and the tokenizer that it was trained with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.model.anatomy import find_architecture
from pipeline.study.records import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# Numbers of positions and the like, which older versions of transformers saved beside the weights.
BUFFERS = ("position_ids", "token_type_ids")


def check_tokenizer(name: str, fast: PreTrainedTokenizerBase, *, tokens: int) -> None:
    """Check that a tokenizer gives what batches need, and no number that has no embedding.

    Raises:
        BadInput: it does not.
    """
    if not fast.is_fast:
        raise BadInput(f"{name} has only {type(fast).__name__}. Rows are tokenised by a fast tokenizer.")
    if fast.pad_token_id is None:
        raise BadInput(
            f"The tokenizer of {name} has no padding token. Rows of a batch are padded to one length. "
            "Give it one that the model was trained with (tokenizer.pad_token = ...) and save it "
            "again with save_pretrained."
        )
    last = max(fast.get_vocab().values())
    if last >= tokens:
        raise BadInput(
            f"{name} has embeddings of {tokens} tokens, and its tokenizer counts to {last}. Give the "
            "tokenizer that the model was trained with."
        )


def check_encoder_is_whole(name: str, model: PreTrainedModel, fresh: set[str]) -> None:
    """Check that all weights of the encoder were read; the library would replace missing ones by random numbers.

    Raises:
        BadInput: some were not.
    """
    prefix = f"{model.base_model_prefix}."
    lost = sorted(key for key in fresh if key.startswith(prefix) and ".pooler." not in key)
    if lost:
        raise BadInput(
            f"{name} lacks {len(lost)} weights of its encoder, or has them in other shapes "
            f"({', '.join(lost[:3])} ...). Give the folder of a whole model."
        )


def check_all_is_read(name: str, model: PreTrainedModel, unread: Iterable[str]) -> None:
    """Check that no weights of the encoder were left aside: the network would be another one than was trained.

    Raises:
        BadInput: some were.
    """
    prefix = f"{model.base_model_prefix}."
    parts = {part for part, _ in model.base_model.named_children()}
    left = [key for key in sorted(unread) if key.removeprefix(prefix).split(".")[0] in parts]
    left = [key for key in left if not key.endswith(BUFFERS)]
    if left:
        raise BadInput(
            f"{name} has {len(left)} weights that its network has no place for ({', '.join(left[:3])} "
            "...): more layers than config.json says, adapters, or parts of another class. Load it "
            "with the class that it was trained with, and save it again as a plain encoder."
        )


def check_finite(name: str, weights: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Check that a model's weights are numbers: half precision ends at 65,504, and a run that diverged is saved, too.

    Raises:
        BadInput: some are not.
    """
    odd = [key for key, array in weights.items() if not np.isfinite(array).all()]
    if odd:
        raise BadInput(
            f"{name} has NaN or infinity in {len(odd)} of its tensors ({', '.join(sorted(odd)[:3])}). "
            "A model's weights are finite numbers. Give a checkpoint from before its training "
            "diverged, or one that was saved in bf16 or fp32."
        )


def fit_padding(name: str, config: PreTrainedConfig, fast: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Make the tokenizer's padding token that of the network; return what is to be said of it.

    Raises:
        BadInput: positions are counted from the network's own padding token, which is another one.
    """
    pads, known = fast.pad_token_id, config.pad_token_id
    if pads == known:
        return ()
    if find_architecture(config.model_type).positions_after_padding:
        raise BadInput(
            f"config.json of {name} has the padding token {known}, and its tokenizer pads with {pads} "
            f"({fast.pad_token}). Positions of a {config.model_type} are counted from it. Give the "
            "tokenizer that the model was trained with."
        )
    config.pad_token_id = pads
    if known is None:
        return ()
    return (
        f"The tokenizer pads with token {pads} ({fast.pad_token}), config.json names {known}: the tokenizer's is used.",
    )


def check_tokenizer_file(name: str, content: bytes) -> None:
    """Refuse a tokenizer's JSON file that is not whole: its library would not say which one it is.

    Raises:
        ValueError, KeyError, TypeError: it is not.
    """
    if name.endswith(".json"):
        document = json.loads(content)
        if name == "tokenizer.json":
            document["model"]


def check_names(folder: Path, names: object) -> None:
    """Refuse names that lead elsewhere: they might have files written there."""
    for name in names if isinstance(names, list) else [names]:
        if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
            raise BadInput(
                f"{folder / 'source.json'} names {name!r}. The files of a model's copy are in its "
                "folder. Do not use a store that was changed by a stranger."
            )
