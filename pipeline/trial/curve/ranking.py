"""Rankings: the parts of one network in the order of their removal, and the smaller networks that this gives.

Units are cut out, single weights are set to zero. Removals are nested either way, and a threshold says how far they
go: a record holds thresholds, and the scores of single weights are stored beside the weights.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, final

import numpy as np
import torch

from pipeline.model.anatomy import Anatomy, encoder_layers
from pipeline.model.copies import copied
from pipeline.model.surgery import cut
from pipeline.model.unstructured import Matrices, count_to_remove, matrices, zero
from pipeline.study.records import Measurement
from pipeline.trial.curve.allocation import Removal, Step, choose, curve_steps
from pipeline.trial.curve.walking import Examine, choose_in_rounds, walk
from pipeline.trial.measure import Evaluation
from pipeline.trial.reconstruction import Reconstruction

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Sparsities on a curve of single weights (ours). Few, because zeros save no computation: each costs a whole pass over
# validation. Published results begin at 50 % and end between 90 and 97 %.
LADDER = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
ROUNDING = 1e-9  # of a share: a measured one, taken as the target, must not remove one more weight


class Ranking(ABC):
    """The parts of one network, ordered by their scores."""

    @abstractmethod
    def at(self, *, threshold: float | None = None, target: float | None = None) -> Step:
        """Return what is left at a threshold (scores at or below it are removed), or once a target is reached."""

    @abstractmethod
    def choose(self, *, threshold: float | None, target: float | None, rounds_left: int) -> Step:
        """Choose what this round keeps; before the last one (`rounds_left` = 1) an equal part of the way is gone."""

    @abstractmethod
    def steps(self, *, most: int, include: Step | None = None) -> tuple[Step, ...]:
        """Return nested steps from the present network on, at most `most`, with `include` among them."""

    @abstractmethod
    def walk(
        self, model: PreTrainedModel, steps: Sequence[Step], examine: Examine
    ) -> Iterator[tuple[Step, Evaluation, Measurement]]:
        """Examine a copy of the network at each of the nested steps; the first one removes nothing."""

    @abstractmethod
    def take(self, model: PreTrainedModel, step: Step) -> Anatomy:
        """Reduce the network itself to what a step keeps; return its new Anatomy."""

    @abstractmethod
    def renewed(self, anatomy: Anatomy, reconstruction: Reconstruction | None) -> Ranking:
        """Return the same order for a network of the same parts that was trained since."""

    @property
    def tensors(self) -> Matrices:
        """What is stored beside the network's weights so that its steps can be repeated from thresholds."""
        return {}


@dataclass(frozen=True, eq=False, kw_only=True)
class CutRanking(Ranking, ABC):
    """Parts that are cut out, whatever their order."""

    anatomy: Anatomy
    reconstruction: Reconstruction | None = None  # refits what is left; None: it stays as it is

    def walk(
        self, model: PreTrainedModel, steps: Sequence[Step], examine: Examine
    ) -> Iterator[tuple[Step, Evaluation, Measurement]]:
        """Cut a copy further and further; layers that did not change are not computed again."""
        refit = None if self.reconstruction is None else self.reconstruction.refit
        return walk(model, self.anatomy, steps, examine, refit=refit)

    def renewed(self, anatomy: Anatomy, reconstruction: Reconstruction | None) -> CutRanking:
        """Return the same order for another network."""
        return replace(self, anatomy=anatomy, reconstruction=reconstruction)

    def take(self, model: PreTrainedModel, step: Step) -> Anatomy:
        """Cut the network, and refit what is left."""
        anatomy = cut(model, self.anatomy, step.masks)
        if step.removed and self.reconstruction is not None:
            self.reconstruction.refit(model, anatomy)
        return anatomy


@final
@dataclass(frozen=True, eq=False)
class UnitRanking(CutRanking):
    """Units by ascending score, as `allocation.removal_order` returns them."""

    order: tuple[Removal, ...]
    neurons_together: int = 1  # that it was made with

    def at(self, *, threshold: float | None = None, target: float | None = None) -> Step:
        """Choose as `allocation.choose` does."""
        together = self.neurons_together
        return choose(self.order, self.anatomy, threshold=threshold, target=target, neurons_together=together)

    def choose(self, *, threshold: float | None, target: float | None, rounds_left: int) -> Step:
        """Choose as `choose_in_rounds` does."""
        return choose_in_rounds(
            self.order,
            self.anatomy,
            threshold=threshold,
            target=target,
            rounds_left=rounds_left,
            neurons_together=self.neurons_together,
        )

    def steps(self, *, most: int, include: Step | None = None) -> tuple[Step, ...]:
        """Return the steps of `allocation.curve_steps`."""
        removed = None if include is None else include.removed
        return curve_steps(self.order, self.anatomy, most=most, include=removed)


@final
@dataclass(frozen=True, eq=False)
class WeightRanking(Ranking):
    """Single weights by ascending score: they are set to zero, all matrices by one threshold.

    Weights that are already zero come first. Weights of equal score are removed together. A Step's `compression` is
    here the share of the dense encoder that is zero (or cut), `removed` the number of weights that become zero.

    Raises:
        ValueError: a score is NaN.
    """

    scores: Matrices  # higher = keep; of all matrices of `anatomy`
    anatomy: Anatomy
    reconstruction: Reconstruction | None = (
        None  # refits the weights that are left; None: they stay as they are
    )
    _flat: np.ndarray = field(init=False, repr=False)  # of all weights, -inf for those that are zero
    _zeros: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        weights = matrices(self.anatomy)
        with torch.no_grad():
            known = {
                name: torch.where(weights[name] == 0, -math.inf, self.scores[name].float())
                for name in weights
            }
        flat = torch.cat([values.flatten() for values in known.values()]).cpu().numpy()
        if np.isnan(flat).any():
            raise ValueError(f"Every weight has a score; {np.isnan(flat).sum()} have NaN.")
        for name, value in (("scores", known), ("_flat", flat), ("_zeros", int((flat == -math.inf).sum()))):
            object.__setattr__(self, name, value)

    def at(self, *, threshold: float | None = None, target: float | None = None) -> Step:
        """Return what is left at a threshold, or once the target share of the dense encoder is zero."""
        if target is not None:
            return self._after([count_to_remove(self.anatomy, target - ROUNDING)])[-1]
        if threshold is None or math.isnan(threshold):
            raise ValueError(f"Exactly one of threshold and target is a number: {threshold=}, {target=}.")
        return self._step(threshold, int((self._flat <= threshold).sum()))

    def choose(self, *, threshold: float | None, target: float | None, rounds_left: int) -> Step:
        """Choose as for units: before the last round an equal part of the way is gone."""
        last = self.at(threshold=threshold, target=target)
        if rounds_left == 1:
            return last
        now = self._whole.compression
        return self.at(target=now + (last.compression - now) / rounds_left)

    def steps(self, *, most: int, include: Step | None = None) -> tuple[Step, ...]:
        """Return the network as it is, then the sparsities of LADDER above its own."""
        counts = [count_to_remove(self.anatomy, sparsity) for sparsity in LADDER]
        found = {step.threshold: step for step in self._after(counts)}
        if include is not None:
            found[include.threshold] = include
        ordered = [found[threshold] for threshold in sorted(found)]
        while len(ordered) > most:  # the start, the end and `include` are kept
            del ordered[next(at for at, step in enumerate(ordered) if at and step is not include)]
        return tuple(ordered)

    def walk(
        self, model: PreTrainedModel, steps: Sequence[Step], examine: Examine
    ) -> Iterator[tuple[Step, Evaluation, Measurement]]:
        """Set more and more weights of a copy to zero."""
        start = (model, self.anatomy)
        # set to zero and refitted in place
        own = [*encoder_layers(model, self.anatomy.architecture).parameters()]
        model, anatomy = copied(*start, own=own)
        for index, step in enumerate(steps):
            if index and self.reconstruction is not None:  # a step is made from the network itself
                model, anatomy = copied(*start, own=own)
            self._zero(model, anatomy, step)
            yield step, *examine(model, anatomy)

    def renewed(self, anatomy: Anatomy, reconstruction: Reconstruction | None) -> WeightRanking:
        """Return the same order for another network."""
        return replace(self, anatomy=anatomy, reconstruction=reconstruction)

    def take(self, model: PreTrainedModel, step: Step) -> Anatomy:
        """Set weights to zero, in place, and refit the others; the network keeps its shape."""
        self._zero(model, self.anatomy, step)
        return self.anatomy

    @property
    def tensors(self) -> Matrices:
        """The scores, -inf for weights that are zero."""
        return self.scores

    def _zero(self, model: PreTrainedModel, anatomy: Anatomy, step: Step) -> None:
        zero(matrices(anatomy), self.scores, step.threshold)
        if step.removed and self.reconstruction is not None:
            self.reconstruction.refit(model, anatomy)

    @property
    def _whole(self) -> Step:
        return self._step(-math.inf, self._zeros)

    def _after(self, counts: Sequence[int]) -> list[Step]:
        """Return the network as it is, then the steps after the given numbers of weights, by one selection."""
        places = sorted({min(count, len(self._flat)) - 1 for count in counts if count > self._zeros})
        if not places:
            return [self._whole]
        parted = np.partition(self._flat, places)
        return [self._whole, *(self._step(float(parted[place]), place + 1) for place in places)]

    def _step(self, threshold: float, gone: int) -> Step:
        """Return the step with `gone` zero weights, including those that are zero already."""
        present, costs = self.anatomy.present, self.anatomy.costs
        if gone <= self._zeros:
            threshold, gone = -math.inf, self._zeros
        share = (costs.encoder - costs.kept(present) + gone) / costs.encoder
        return Step(present, threshold, share, gone - self._zeros)
