"""What stands on an encoder, by the kind of task: the library's classes of it, and the pipeline that runs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.model.classes import classifier_name
from pipeline.model.modeling_cut import library_class
from pipeline.study.output_scale import AS_IT_IS, OutputScale
from pipeline.study.records import BadInput

CLASSIFIER, IMAGE_CLASSIFIER, LANGUAGE_MODEL = "sequence-classification", "image-classification", "causal-lm"
SPANS = "question-answering"


class Stock(NamedTuple):
    """The library's names for networks with one head."""

    end: str  # of its classes: BertForSequenceClassification
    mapping: str  # of configurations to these classes
    pipeline: str  # the task of `transformers.pipeline` that runs them
    layer: bool = True  # whether a linear map gives the outputs
    named: bool = True  # whether its outputs are classes, which have names
    outputs: tuple[str, ...] = ("logits",)  # their names in what the library returns, and in model.onnx

    @property
    def auto(self) -> str:
        """The library's class that loads any of them."""
        return f"AutoModel{self.end.removeprefix('Model')}"


# By `Kind.network`.
HEADS: dict[str, Stock] = {
    CLASSIFIER: Stock(
        "ForSequenceClassification", "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING", "text-classification"
    ),
    IMAGE_CLASSIFIER: Stock(
        "ForImageClassification", "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING", "image-classification"
    ),
    LANGUAGE_MODEL: Stock("ForCausalLM", "MODEL_FOR_CAUSAL_LM_MAPPING", "text-generation", named=False),
    "token-classification": Stock(
        "ForTokenClassification", "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING", "token-classification"
    ),
    SPANS: Stock(
        "ForQuestionAnswering",
        "MODEL_FOR_QUESTION_ANSWERING_MAPPING",
        "question-answering",
        outputs=("start_logits", "end_logits"),
    ),
    "embedding": Stock(
        "Model", "MODEL_MAPPING", "feature-extraction", layer=False, outputs=("last_hidden_state",)
    ),
}


@dataclass(frozen=True)
class Head:
    """The head that a task needs: which network, what its outputs are called, and what turns them into values.

    `names` are those of the outputs, in their order; none where the head always has the same outputs.
    """

    names: tuple[str, ...]
    network: str = CLASSIFIER
    problem_type: str | None = "single_label_classification"
    entries: Mapping[str, Any] = field(default_factory=dict)  # of config.json, beside these
    scale: OutputScale = AS_IT_IS

    @property
    def settings(self) -> dict[str, Any]:
        """The head's entries of config.json."""
        found: dict[str, Any] = {**self.entries}
        if self.names:
            found["id2label"] = dict(enumerate(self.names))
            found["label2id"] = {label: number for number, label in enumerate(self.names)}
        return found | {"problem_type": self.problem_type}


def network_of(config: Any, network: str) -> Any:
    """Return the class of a configuration's network with a head: the library's, or ours where a row has its own head.

    Raises:
        BadInput: there is none.
    """
    import transformers

    classes = getattr(transformers, HEADS[network].mapping)
    if type(config) in classes:
        return classes[type(config)]
    own = classifier_name(config.model_type)
    if own is not None and own.endswith(HEADS[network].end):
        return library_class(own)
    raise BadInput(
        f"The library has no {HEADS[network].end} for model_type {config.model_type!r}, and the task "
        "needs one. Give another model."
    )
