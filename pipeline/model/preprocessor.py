"""What turns rows into a network's inputs, a tokenizer or an image processor: read, checked, and as files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pipeline.model.completeness import check_tokenizer, fit_padding
from pipeline.model.heads import IMAGE_CLASSIFIER, LANGUAGE_MODEL
from pipeline.model.image_inputs import ImageReader, read_processor

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

    Preprocessor = PreTrainedTokenizerBase | ImageReader


def read_preprocessor(
    name: str, folder: Path, config: PreTrainedConfig, network: str, *, alone: bool, trusted: bool
) -> Preprocessor:
    """Read the preprocessor of a folder, as a network with this head needs it.

    Args:
        name: of the model, for messages.
        folder: with its files.
        config: of the network.
        network: a key of `heads.HEADS`.
        alone: whether there is no config.json beside it that the library knows.
        trusted: whether a tokenizer's own code may run.

    Raises:
        BadInput: it does not fit the network.
    """
    if network == IMAGE_CLASSIFIER:
        return read_processor(name, folder, config)
    from transformers import AutoTokenizer

    known = {"config": config} if alone else {}
    fast: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=trusted, **known)
    if (
        network == LANGUAGE_MODEL and fast.pad_token_id is None
    ):  # blocks are whole: nothing is padded in training
        fast.pad_token = fast.eos_token
    check_tokenizer(name, fast, tokens=config.vocab_size)
    return fast


def fit(name: str, config: PreTrainedConfig, preprocessor: Preprocessor) -> tuple[str, ...]:
    """Make the network's configuration that of its preprocessor; return what is to be said of it."""
    return () if isinstance(preprocessor, ImageReader) else fit_padding(name, config, preprocessor)


def key_of(preprocessor: Preprocessor) -> Any:
    """Return what decides on the inputs that it makes, as JSON writes it."""
    if isinstance(preprocessor, ImageReader):
        return preprocessor.key
    return sorted(preprocessor.get_vocab().items())


def files_of(preprocessor: Preprocessor) -> dict[str, bytes]:
    """Return its files by name."""
    whole = preprocessor.processor if isinstance(preprocessor, ImageReader) else preprocessor
    with tempfile.TemporaryDirectory() as temporary:
        cast("Any", whole).save_pretrained(temporary)
        return {path.name: path.read_bytes() for path in sorted(Path(temporary).iterdir()) if path.is_file()}
