"""Distillation of hidden states: Sun et al. 2019 (patient knowledge distillation, arXiv 1908.09355).

Beside the labels and the dense network's outputs, a network learns to have, above each layer that it still has, the
dense network's hidden states: CoFi (arXiv 2204.00408, eq. 4) and DynaBERT (arXiv 2004.04037, section 2.2) learn the
same beside their soft targets, and gain most where much is cut.

    |h / |h| - t / |t||^2, a mean over rows and layers that are left; h, t: mean states of a row's real tokens

Shapes: R training rows, B rows of a batch, T tokens, d features, L layers of the dense network.

Deviations, each with its reason.
* States are the means over a row's real tokens, not those of its first token: so they are a few numbers for each row,
  asked once, and no step runs the dense network; and in a decoder the first token attends to nothing but itself.
* A layer learns from its own place in the dense network, since a cut network's layers keep their places; there is no
  map to learn between states of one width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, ClassVar, final

import torch
from torch import Tensor, nn

from pipeline.model.anatomy import Anatomy, encoder_layers
from pipeline.task.batches import Batch
from pipeline.trial.distillation.base import Distillation, DistillationInputs, on_device
from pipeline.trial.distillation.states import mean_state

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@final
@dataclass
class Layers(Distillation):
    """Soft targets, and hidden states above each layer."""

    states: ClassVar[bool] = True

    hidden_weight: float  # of the distance of states; it is added to the loss
    _taught: Tensor = field(default_factory=lambda: torch.empty(0), init=False, repr=False)  # [R, L, d]
    _caught: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False)  # by layer [B, T, d]

    def takes_snapshots(self) -> bool:
        """Return False."""
        return False

    def bind(self, inputs: DistillationInputs) -> None:
        """Move outputs and states to the device.

        Raises:
            ValueError: the states are not among the teacher's.
        """
        super().bind(inputs)
        if inputs.teacher.layers is None:
            raise ValueError("Hidden states that are learned from are among the teacher's; they are not.")
        self._taught = on_device(inputs.teacher.layers, inputs.device)

    def watch(self, model: PreTrainedModel, anatomy: Anatomy) -> AbstractContextManager[None]:
        """Keep the states above each layer of each forward pass with gradients until its loss, inside the context."""
        return self._watch(model, anatomy)

    @contextmanager
    def _watch(self, model: PreTrainedModel, anatomy: Anatomy) -> Iterator[None]:
        def keep(number: int, _layer: nn.Module, _args: object, output: Tensor | tuple[Tensor, ...]) -> None:
            if torch.is_grad_enabled():
                self._caught[number] = output if isinstance(output, Tensor) else output[0]

        with ExitStack() as hooks:
            layers = encoder_layers(model, anatomy.architecture)
            for layer, part in zip(layers, anatomy.layers, strict=True):
                hooks.callback(layer.register_forward_hook(partial(keep, part.index)).remove)
            yield
            self._caught.clear()

    def loss(self, task_loss: Tensor, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the sum of the losses on labels and soft targets, and of the weighted distance of states."""
        total = super().loss(task_loss, outputs, batch)
        caught, self._caught = (
            self._caught,
            {},
        )  # of this pass alone: chains run other networks in the next one
        if not caught:  # no layer is left
            return total
        own = torch.stack([mean_state(state, batch) for state in caught.values()], dim=1)
        taught = self._taught[batch["rows"]][:, list(caught)].float()
        return total + self.hidden_weight * (own - taught).square().sum(-1).mean()
