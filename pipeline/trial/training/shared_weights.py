"""Networks that share the weights of a larger one: each is a smaller copy, and what it learns is learned by the larger.

    the larger's weights -> the copy's;   forward and backward pass of the copy;   its gradients -> the larger's

A copy that was cut is as fast as any cut network; one whose single weights are zero has the larger one's shape. The
gradient is the one that the larger network has under masks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

from pipeline.model.anatomy import Anatomy, encoder_layers
from pipeline.model.copies import copied
from pipeline.model.surgery import cut
from pipeline.model.unstructured import Matrices, matrices, zero
from pipeline.study.records import Masks

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class _Slice:
    """A parameter that holds some rows and columns of a larger one."""

    small: nn.Parameter
    large: nn.Parameter
    places: tuple[Tensor, ...]  # in each dimension

    def take(self) -> None:
        values: Tensor = self.large
        for dimension, kept in enumerate(self.places):
            if len(kept) < self.large.shape[dimension]:
                values = values.index_select(dimension, kept)
        self.small.copy_(values)

    def give(self, gradient: Tensor) -> Tensor:
        for dimension, kept in enumerate(self.places):
            size = self.large.shape[dimension]
            if len(kept) < size:
                shape = (*gradient.shape[:dimension], size, *gradient.shape[dimension + 1 :])
                gradient = gradient.new_zeros(shape).index_copy_(dimension, kept, gradient)
        return gradient


@dataclass(frozen=True, eq=False)
class _Masked:
    """A parameter some of whose entries are zero."""

    small: nn.Parameter
    large: nn.Parameter
    mask: Tensor

    def take(self) -> None:
        torch.mul(self.large, self.mask, out=self.small)

    def give(self, gradient: Tensor) -> Tensor:
        return gradient * self.mask


@final
@dataclass(frozen=True, eq=False)
class SharedNetwork:
    """A network that is trained in place of the larger one that it is a part of, a pass at a time."""

    model: PreTrainedModel
    anatomy: Anatomy  # its own
    links: tuple[_Slice | _Masked, ...]

    @contextmanager
    def sharing(self) -> Iterator[PreTrainedModel]:
        """Give the copy, with the weights of the larger network as they are; its gradients are added on leaving."""
        with torch.no_grad():
            for link in self.links:
                link.take()
        yield self.model
        with torch.no_grad():
            for link in self.links:
                gradient, link.small.grad = link.small.grad, None
                if gradient is not None:
                    given = link.give(gradient)
                    link.large.grad = given if link.large.grad is None else link.large.grad.add_(given)


def cut_network(model: PreTrainedModel, anatomy: Anatomy, masks: Masks) -> SharedNetwork:
    """Make a cut copy that shares the network's weights.

    Parameters that the cut leaves whole are the network's own. Which entries of the others stay is found by cutting a
    copy whose parameters hold their entries' numbers: so it is true of every architecture that can be cut.
    """
    inside = list(encoder_layers(model, anatomy.architecture).parameters())
    smaller, its = copied(model, anatomy, own=())
    its = cut(smaller, its, masks)
    numbered, own = copied(model, anatomy, own=inside)
    first = 0
    owners: list[tuple[int, nn.Parameter]] = []  # the first number, and whose it is
    copies = list(encoder_layers(numbered, anatomy.architecture).parameters())
    for parameter, its_copy in zip(inside, copies, strict=True):
        numbers = torch.arange(first, first + parameter.numel(), dtype=torch.float64, device=parameter.device)
        its_copy.data = numbers.view_as(parameter)  # float64 holds whole numbers up to 2^53
        owners.append((first, parameter))
        first += parameter.numel()
    cut(numbered, own, masks)
    known = {id(parameter) for parameter in model.parameters()}
    links = tuple(
        _slice(small, numbers.detach().long(), owners)
        for small, numbers in zip(smaller.parameters(), numbered.parameters(), strict=True)
        if id(small) not in known
    )
    return SharedNetwork(smaller, its, links)


def zeroed_network(
    model: PreTrainedModel, anatomy: Anatomy, scores: Matrices, threshold: float
) -> SharedNetwork:
    """Make a copy that shares the network's weights, without single weights whose score is the threshold or less."""
    large = matrices(anatomy)
    smaller, its = copied(model, anatomy, own=large.values())
    small = matrices(its)
    masks = {name: torch.ones_like(weight) for name, weight in large.items()}
    with torch.no_grad():
        zero(masks, scores, threshold)
    links = tuple(_Masked(_parameter(small[name]), _parameter(large[name]), masks[name]) for name in large)
    return SharedNetwork(smaller, its, links)


def _slice(small: nn.Parameter, numbers: Tensor, owners: list[tuple[int, nn.Parameter]]) -> _Slice:
    """Find of which parameter, and in which rows and columns, a parameter with these numbers is a part."""
    first, large = max(
        (owner for owner in owners if owner[0] <= int(numbers.flatten()[0])), key=lambda owner: owner[0]
    )
    places = torch.unravel_index(numbers - first, large.shape)
    along = []
    for dimension, each in enumerate(places):
        index = [0] * numbers.ndim
        index[dimension] = slice(None)  # type: ignore[call-overload]
        along.append(each[tuple(index)].contiguous())
    return _Slice(small, large, tuple(along))


def _parameter(weight: Tensor) -> nn.Parameter:
    if not isinstance(weight, nn.Parameter):
        raise TypeError("The matrices of a network are its parameters.")
    return weight
