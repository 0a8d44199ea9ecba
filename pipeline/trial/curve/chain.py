"""A chain: the nested networks of one ranking, trained together on shared weights, each on its part of the batches.

After the last ranking every batch is computed by one network of the chain, drawn evenly ("one"), or a third of it each
by the largest, the smallest and one between ("sandwich", arXiv 1903.05134). Afterwards the whole curve is measured:
each of its networks is a recovered one.

Sources: one network of many for each batch, Cai et al. 2020 (arXiv 1908.09791) and DynaBERT (arXiv 2004.04037); the
sandwich rule, Yu and Huang 2019 (arXiv 1903.05134). Which of the two is better was measured: docs/benchmarks/search.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch

from pipeline.model.anatomy import Anatomy
from pipeline.model.unstructured import Matrices
from pipeline.study.records import Masks, Measurement
from pipeline.trial.curve.allocation import Step
from pipeline.trial.curve.ladder import trained_steps
from pipeline.trial.curve.ranking import WeightRanking
from pipeline.trial.curve.walking import Examine, walk
from pipeline.trial.measure import Evaluation
from pipeline.trial.reconstruction import Reconstruction
from pipeline.trial.training.shared_weights import SharedNetwork, cut_network, zeroed_network

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ONE, SANDWICH = "one", "sandwich"  # networks of a batch


@final
@dataclass(frozen=True, eq=False)
class Chain:
    """The nested steps of a ranking, the first of which removes nothing; some of them are trained.

    `scores` are those of single weights, if those are set to zero, and empty where units go.
    """

    steps: tuple[Step, ...]
    trained: tuple[int, ...]  # places of the networks that are trained, the largest first
    scores: Matrices
    of_a_batch: str
    seed: int

    @classmethod
    def of(
        cls, steps: Sequence[Step], scores: Matrices, *, count: int, end: float, of_a_batch: str, seed: int
    ) -> Chain:
        """Choose the networks that are trained: up to `count`, each with the same share less than the one before."""
        trained = trained_steps([step.compression for step in steps], count=count, end=end)
        return cls(tuple(steps), trained, scores, of_a_batch, seed)

    def networks(self, model: PreTrainedModel, anatomy: Anatomy) -> SharedNetworks:
        """Make the networks that are trained, on the weights of a network that nothing was removed from."""
        steps = [self.steps[place] for place in self.trained]
        if self.scores:
            made = [zeroed_network(model, anatomy, self.scores, step.threshold) for step in steps]
        else:
            made = [cut_network(model, anatomy, step.masks) for step in steps]
        return SharedNetworks(tuple(made), self.of_a_batch, self.seed)

    def walk(
        self,
        model: PreTrainedModel,
        anatomy: Anatomy,
        examine: Examine,
        *,
        reconstruction: Reconstruction | None,
    ) -> Iterator[tuple[Step, Evaluation, Measurement]]:
        """Examine all networks of the curve, each made from the trained weights; the model is not changed."""
        if self.scores:
            return WeightRanking(self.scores, anatomy, reconstruction).walk(model, self.steps, examine)
        refit = None if reconstruction is None else reconstruction.refit
        return walk(model, anatomy, self.steps, examine, refit=refit)

    def state(self) -> dict[str, Any]:
        """Return all of it, as tensors and numbers, for a checkpoint."""
        return {
            "masks": [
                [torch.from_numpy(kept) for kept in (s.masks.heads, s.masks.neurons, s.masks.layers)]
                for s in self.steps
            ],
            "steps": [[step.threshold, step.compression, step.removed] for step in self.steps],
            "trained": list(self.trained),
            "scores": dict(self.scores),
            "of_a_batch": self.of_a_batch,
            "seed": self.seed,
        }

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> Chain:
        """Return the chain that `state` was of."""
        steps = tuple(
            Step(Masks(*(kept.numpy() for kept in masks)), threshold, compression, int(removed))
            for masks, (threshold, compression, removed) in zip(state["masks"], state["steps"], strict=True)
        )
        return cls(steps, tuple(state["trained"]), state["scores"], state["of_a_batch"], state["seed"])


NO_CHAIN = Chain((), (), {}, ONE, 0)


@final
@dataclass(frozen=True, eq=False)
class SharedNetworks:
    """The networks of a chain in training."""

    networks: tuple[SharedNetwork, ...]  # the largest first
    of_a_batch: str
    seed: int

    @property
    def parts(self) -> list[tuple[PreTrainedModel, Anatomy]]:
        """The networks' models, and the anatomy of each."""
        return [(network.model, network.anatomy) for network in self.networks]

    def at(self, place: int) -> list[SharedNetwork]:
        """Return the networks of a batch, by its place in the trial's stream: resumed trials draw the same."""
        count = len(self.networks)
        drawn = np.random.default_rng((self.seed, place))
        if self.of_a_batch == ONE or count < 3:
            return [self.networks[drawn.integers(count)]]
        return [self.networks[0], self.networks[drawn.integers(1, count - 1)], self.networks[-1]]
