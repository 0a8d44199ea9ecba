"""The head that a model brings: whether it knows a task's classes, in which order; and whether it gives values."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from pipeline.model.heads import Head
from pipeline.study.classes import class_key
from pipeline.study.output_scale import OutputScale

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SHOWN = 5  # names of classes in a message
UNNAMED = "label_"  # LABEL_0, LABEL_1 …: what transformers writes where the classes have no names


@dataclass(frozen=True)
class HeadMatch:
    """How a model's head fits a task.

    `order`: the head's output for each class of the task, in the task's order; for a regression (0,). None if the head
    does not fit: `reason` then says why, as a clause ("its head has 5 outputs, the task has 2"). Of a head that fits,
    `reason` is "" or what was taken for granted ("its outputs have no names and are taken in the task's order").
    """

    order: tuple[int, ...] | None
    reason: str = ""

    @property
    def permuted(self) -> bool:
        """Whether the head's order is another one than the task's."""
        return self.order is not None and self.order != tuple(range(len(self.order)))


def match_head(config: Mapping[str, Any], head: Head) -> HeadMatch:
    """Match the outputs of a model's head to a task's classes by name.

    Names are equal if they are one class as labels (0 and 0.0, white space), or differ in case alone. An output that
    has no name, LABEL_k, is class k of numbered classes.

    Args:
        config: the model's own config.json: `id2label`, `num_labels` and `problem_type` are read.
        head: that the task needs; its names are the task's classes, in its order.
    """
    names, class_names = output_names(config), head.names
    several = config.get("problem_type") == "multi_label_classification"
    if several and head.problem_type != "multi_label_classification":
        return HeadMatch(None, "its head gives any number of labels to a row")
    if not several and head.problem_type == "multi_label_classification":
        return HeadMatch(None, "its head gives one class to a row")
    if not class_names:
        return HeadMatch(tuple(range(len(names))))
    if head.problem_type == "regression" or len(class_names) == 1:
        if len(names) != 1:
            what = "a regression" if head.problem_type == "regression" else "the task"
            return HeadMatch(None, f"its head has {_count(names).split()[0]} outputs, {what} has 1")
        return HeadMatch((0,))
    if len(names) != len(class_names):
        return HeadMatch(None, f"its head has {_count(names)}, the task has {len(class_names)} classes")
    if config.get("problem_type") == "regression":
        return HeadMatch(None, "its head predicts values")
    for key in (class_key, _loose_key):
        outputs, classes = [key(name) for name in names], [key(name) for name in class_names]
        if len({*outputs}) == len(outputs) and {*outputs} == {*classes}:
            return HeadMatch(tuple(outputs.index(each) for each in classes))
    numbers = [_number(name) for name in names]
    if numbers == [str(number) for number in range(len(names))]:
        classes = [class_key(name) for name in class_names]
        if {*numbers} == {*classes}:
            return HeadMatch(tuple(int(each) for each in classes))
        return HeadMatch(
            tuple(range(len(names))), "its head's outputs have no names and are taken in the task's order"
        )
    return HeadMatch(
        None, f"its head knows the classes {_listed(names)}, the task has {_listed(class_names)}"
    )


def output_layer(model: PreTrainedModel) -> str:
    """Return the name of the linear map that gives a classifier's outputs."""
    outside = [
        str(name)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not name.startswith(f"{model.base_model_prefix}.")
    ]
    return outside[-1]


def fit_head(
    weights: MutableMapping[str, Any], layer: str, match: HeadMatch, scale: OutputScale
) -> tuple[str, ...]:
    """Bring a model's head into the task's order and scale, or take it away; return what is to be said of it.

    Args:
        weights: of the network, by name; changed in place.
        layer: the name of the head's last one.
        match: how the head fits the task.
        scale: what turns the outputs that a task's networks learn into the values that this one gives.
    """
    weight, bias = names = f"{layer}.weight", f"{layer}.bias"
    for name in names:
        if match.order is None:
            weights.pop(name, None)
        elif name in weights:
            weights[name] = weights[name][list(match.order)]
    if match.order is not None and not scale.plain:
        own = scale if bias in weights else scale.without_shift()
        weights[weight] = weights[weight] / np.float32(own.scale)
        if bias in weights:
            weights[bias] = (weights[bias] - np.float32(own.shift)) / np.float32(own.scale)
    if match.order is None:
        return (f"The model's own head is not used, it starts anew: {match.reason}.",)
    return (f"The model's own head is used: {match.reason}.",) if match.reason else ()


@torch.no_grad()
def give_values(model: PreTrainedModel, scale: OutputScale) -> None:
    """Let a network give values instead of outputs: its last layer, in place, holds the scale.

    Raises:
        ValueError: the scale has a shift, and the last layer has no bias.
    """
    if scale.plain:
        return
    layer = cast("nn.Linear", model.get_submodule(output_layer(model)))
    layer.weight.mul_(scale.scale)
    if layer.bias is not None:
        layer.bias.mul_(scale.scale).add_(scale.shift)
    elif scale.shift:
        raise ValueError(
            f"A scale has no shift where {output_layer(model)} has no bias; this one has {scale.shift}."
        )


def of_whole_network(match: HeadMatch, fresh: set[str]) -> HeadMatch:
    """Return the match, or why there is none: a head that lacks what lies below it predicts nothing."""
    if match.order is None or not fresh:
        return match
    return HeadMatch(None, f"its head lacks some of its weights ({', '.join(sorted(fresh)[:3])})")


def output_names(config: Mapping[str, Any]) -> list[str]:
    """Return the names of a head's outputs in their order; transformers' own where config.json has none."""
    named = config.get("id2label")
    if isinstance(named, Mapping) and named:
        try:
            return [str(name) for _, name in sorted(named.items(), key=lambda item: int(item[0]))]
        except ValueError:  # no numbers: the order is not known
            return [str(name) for name in named.values()]
    count = config.get("num_labels", config.get("_num_labels", 2))
    return [f"LABEL_{number}" for number in range(count if isinstance(count, int) else 2)]


def _loose_key(name: str) -> str:
    return class_key(name).casefold()


def _number(name: str) -> str:
    return name.lower().removeprefix(UNNAMED) if name.lower().startswith(UNNAMED) else ""


def _count(names: Sequence[str]) -> str:
    return "1 output" if len(names) == 1 else f"{len(names)} outputs"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
