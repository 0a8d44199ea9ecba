"""What methods with learned gates share: numbers per unit that the optimizer learns, and gates made of them.

A method defines the initial numbers, the gates made of them, and the score that follows. Its numbers are
vectors in the numbers of the dense model (`bases.gates`), no part of the network, and none of its decay.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.methods.base import Pass, PruningMethod, Run
from pipeline.methods.bases.gates import Gates, Level, counting, learned
from pipeline.model.anatomy import Anatomy
from pipeline.study.records import Scores
from pipeline.task.batches import Batch

Values = dict[str, Tensor]


@dataclass(frozen=True)
class Moment:
    """Where the tuning stands: the units at hand, the run, and the part of its steps that is done, 0 ... 1."""

    units: Gates
    run: Run
    done: float

    @property
    def target(self) -> float:
        """The compression to reach.

        Raises:
            ValueError: if the run is cut by threshold.
        """
        if self.run.target is None:
            raise ValueError("This method learns towards a target compression; the run has none.")
        return self.run.target


@dataclass
class Gated(PruningMethod):
    """Learns numbers for each unit along with the weights, through gates on what the units add."""

    splits: ClassVar[bool] = True
    level: Level
    _leaf: Tensor | None = field(default=None, init=False, repr=False)  # the gates [D] of a replayed pass
    _values: Values = field(default_factory=dict, init=False, repr=False)
    _steps: int = field(default=0, init=False, repr=False)
    _resumed: bool = field(default=False, init=False, repr=False)
    _moment: tuple[Gates, Run] | None = field(default=None, init=False, repr=False)

    @abstractmethod
    def start(self, units: Gates, run: Run, before: Values) -> Values:
        """Return the initial values of a round; `before` is the result of the last round, or empty."""

    @abstractmethod
    def rates(self) -> Mapping[str, float]:
        """Return the learning rate of each of the values."""

    @abstractmethod
    def gates(self, values: Values, moment: Moment, *, training: bool) -> Tensor:
        """Return the factors [D] of a forward pass; when not training, those that leaving `watch` bakes."""

    @abstractmethod
    def unit_scores(self, values: Values, units: Gates) -> Tensor:
        """Return scores [D]; higher = keep."""

    @contextmanager
    def watch(
        self, model: nn.Module, anatomy: Anatomy, optimizer: torch.optim.Optimizer, run: Run
    ) -> Iterator[None]:
        """Place gates on the units and learn them; leaving bakes them."""
        device = next(model.parameters()).device
        units = Gates(anatomy, self.level, device=device)
        values = self._values if self._resumed else self.start(units, run, self._values)
        self._values = {name: v.detach().clone().to(device).requires_grad_() for name, v in values.items()}
        self._resumed = False

        def draw() -> Tensor:
            if self.apart and self._leaf is not None:
                return self._leaf
            return self.gates(self._values, self.moment, training=model.training and torch.is_grad_enabled())

        with ExitStack() as stack:
            stack.callback(self._leave)
            self._moment = (units, run)
            for name, rate in self.rates().items():
                stack.enter_context(learned(optimizer, [self._values[name]], learning_rate=rate))
            stack.enter_context(counting(optimizer, self._count))
            stack.enter_context(units.on(model, draw))
            yield
            with torch.no_grad():
                units.bake(self.gates(self._values, self.moment, training=False))

    def leaves(self) -> Sequence[Tensor]:
        """Return the gates that a replayed pass reads."""
        self._leaf = torch.zeros_like(next(iter(self._values.values()))[: len(self.moment.units)])
        return (self._leaf.requires_grad_(),)

    def replay(self, run: Pass, batch: Batch) -> tuple[Tensor, ...]:
        """Make the gates before the pass; give what they are made of its gradient after it, and the penalty's."""
        if self._leaf is None:
            raise RuntimeError("Gates are replayed at their leaves; there are none.")
        gates = self.gates(self._values, self.moment, training=True)
        self._leaf.data.copy_(gates.detach())
        self._leaf.grad, self.apart = None, True
        try:
            loss, _ = run(batch)
        finally:
            self.apart = False
        penalty = self.penalty(batch)
        roots = [(gates, self._leaf.grad), (penalty, torch.ones_like(penalty))]
        learned = [(root, pull) for root, pull in roots if root.requires_grad]
        torch.autograd.backward([root for root, _ in learned], [pull for _, pull in learned])
        return loss, penalty.detach()

    @property
    def moment(self) -> Moment:
        """Where the tuning stands.

        Raises:
            RuntimeError: outside watch.
        """
        if self._moment is None:
            raise RuntimeError("A gated method's moments are inside watch.")
        units, run = self._moment
        return Moment(units, run, self._steps / max(run.total_steps, 1))

    def score(self, model: nn.Module, anatomy: Anatomy, batches: Iterable[Batch]) -> Scores:
        """Return what was learned, without data.

        Raises:
            RuntimeError: before any watch.
        """
        del batches
        if not self._values:
            raise RuntimeError("Gates are learned inside watch: there was none.")
        units = Gates(anatomy, self.level, device=next(model.parameters()).device)
        with torch.no_grad():
            return units.scores(self.unit_scores(self._values, units))

    def state(self) -> dict[str, Tensor]:
        """Return the learned values and the number of steps."""
        values = {name: value.detach().clone() for name, value in self._values.items()}
        return values | {"steps": torch.tensor(self._steps)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        self._values = {name: value.clone() for name, value in state.items() if name != "steps"}
        self._steps = int(state["steps"])
        self._resumed = bool(self._values)

    def _count(self) -> None:
        self._steps += 1

    def _leave(self) -> None:
        self._moment = self._leaf = None
