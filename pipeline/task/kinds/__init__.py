"""The kinds of tasks, one file each: see `base` for the interface, docs/add-a-kind.md for how one is added."""

from pipeline.study.metrics import METRICS
from pipeline.study.nearest import did_you_mean
from pipeline.study.records import BadInput
from pipeline.task.kinds.base import Description, Judged, Kind
from pipeline.task.kinds.by_outputs import BY_OUTPUTS
from pipeline.task.kinds.classification import Classification
from pipeline.task.kinds.embedding import Embedding
from pipeline.task.kinds.images import Images
from pipeline.task.kinds.language_model import LanguageModel
from pipeline.task.kinds.multi_label import MultiLabel
from pipeline.task.kinds.question_answering import QuestionAnswering
from pipeline.task.kinds.ranking import Ranking
from pipeline.task.kinds.regression import Regression
from pipeline.task.kinds.tokens import Tokens

KINDS: dict[str, type[Kind]] = {
    kind.name: kind
    for kind in (
        Classification,
        Regression,
        MultiLabel,
        Tokens,
        QuestionAnswering,
        Ranking,
        Embedding,
        Images,
        LanguageModel,
    )
}


def scored_by(name: str | None, metric: str | None, *, of: str) -> tuple[type[Kind], str]:
    """Return a kind of task and its metric, by their names; what is not given follows from the other.

    Args:
        name: of the kind; None: the one that the metric belongs to, or classification.
        metric: None for the kind's first.
        of: the task, for messages.

    Raises:
        BadInput: there is no such kind, no such metric, or they do not belong together.
    """
    if name is not None and name not in KINDS:
        raise BadInput(
            f"There is no kind of task {name!r}.{did_you_mean(name, KINDS)} A kind is one of {', '.join(KINDS)}."
        )
    if metric is not None and metric not in METRICS:
        raise BadInput(f"{of} has the metric {metric!r}. It is one of {', '.join(METRICS)}.")
    if name is None:
        name = next((each.name for each in KINDS.values() if metric in each.metrics), Classification.name)
    kind = KINDS[name]
    if metric is not None and metric not in kind.metrics:
        raise BadInput(
            f"{of} has the metric {metric!r}. A task of the kind {name} is scored by one of "
            f"{', '.join(kind.metrics)}."
        )
    return kind, metric or kind.metrics[0]


__all__ = [
    "BY_OUTPUTS",
    "KINDS",
    "Classification",
    "Description",
    "Embedding",
    "Images",
    "Judged",
    "Kind",
    "LanguageModel",
    "MultiLabel",
    "QuestionAnswering",
    "Ranking",
    "Regression",
    "Tokens",
    "scored_by",
]
