"""Whether a study's dense network is the user's own: a model whose head knows the task is not trained first."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.driver.search.request import OWN, PRETRAINED, Search
from pipeline.model.head import HeadMatch
from pipeline.model.source import ModelSource
from pipeline.study.records import BadInput, StudySpec


def starts_from_own(request: Search, source: ModelSource, *, begun: StudySpec | None) -> bool:
    """Return whether the model is the dense network as it came, and trials start from it.

    That is the default of a model whose head knows the task's classes. A study that has begun stays as it is.

    Raises:
        BadInput: the request needs such a head, and the model's is another one.
    """
    if begun is not None and request.start is None and not request.no_training:
        return begun.own
    fits = source.head.order is not None
    if not fits and (request.no_training or request.start == OWN):
        raise BadInput(_refusal(request, source.head.reason))
    return fits and request.start in (None, OWN)


def remarks_of(request: Search, source: ModelSource, class_names: Sequence[str]) -> tuple[str, ...]:
    """Return what is to be said of a study whose dense network is the user's own."""
    what = (
        "it is the dense network of the study, and no step of training is made."
        if request.no_training
        else "it is the dense network of the study as it came; it is not trained first, and trials start from it."
    )
    order = f" Its outputs are put into the task's order: {', '.join(class_names)}." * source.head.permuted
    return (f"The model is fine-tuned for this task: {what}{order}",)


def check_learned(metric: float, constant: float, source: ModelSource, *, metric_name: str) -> None:
    """Refuse an own network that predicts no better than a constant.

    Raises:
        BadInput: it does not.
    """
    if metric > constant:
        return
    raise BadInput(
        f"{source.name} is no better than a constant prediction: {metric_name} on validation is {metric:.4f}, that of "
        f"the best constant {constant:.4f}. A network of your own is one fine-tuned for the task. "
        f"{_order(source.head)}Give the network that was trained on this task, or --start {PRETRAINED}: a dense "
        "network is then trained first."
    )


def _order(head: HeadMatch) -> str:
    if not head.reason:
        return ""
    return "Its outputs have no names (LABEL_0 …): are they in the task's order? Name them in id2label of its config. "


def _refusal(request: Search, reason: str) -> str:
    """Return why a model's head is not taken, and the ways out."""
    named = (
        "If its classes are the task's by other names, write the task's names into id2label of its config.json, in "
        "the order of its outputs. "
    )
    if request.no_training:
        return (
            f"Without training a search cuts a network that is fine-tuned for the task; {request.model} is not: "
            f"{reason}. {named * ('knows' in reason)}Give a fine-tuned model, or leave --no-training out."
        )
    return (
        f"--start {OWN} is for a model that is fine-tuned for the task; {request.model} is not: {reason}. "
        f"{named * ('knows' in reason)}Give a fine-tuned model, or leave --start out."
    )
