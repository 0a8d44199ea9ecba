"""The class of a family's classifier: the library's, of texts or of images, or one with a head of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.model.anatomy import find_architecture
from pipeline.model.modeling_cut import IMAGES, library_class
from pipeline.study.records import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def classifier_name(model_type: str) -> str | None:
    """Return the name of the class of a `config.model_type`; None if there is none."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
        MODEL_MAPPING_NAMES,
    )

    for names in (
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    ):
        if model_type in names:
            return str(names[model_type])
    if model_type in MODEL_MAPPING_NAMES and find_architecture(model_type).own_head:
        return f"{str(MODEL_MAPPING_NAMES[model_type]).removesuffix('Model')}{IMAGES}"
    return None


def classifier(config: PreTrainedConfig) -> Any:
    """Return the class of a configuration's classifier: the library's, one that a package registered, or ours.

    Raises:
        BadInput: there is none.
    """
    from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    for classes in (MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING):
        if type(config) in classes:
            return classes[type(config)]
    name = classifier_name(config.model_type)
    if name is None:
        raise BadInput(
            f"There is no classifier for model_type {config.model_type!r}, in transformers or "
            "registered with it by a package."
        )
    return library_class(name)
