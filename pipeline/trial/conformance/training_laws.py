"""The laws that go through the training loop: interruption, activation checkpointing, replayed steps, more rounds."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.methods.base import PruningMethod
from pipeline.model.anatomy import Anatomy
from pipeline.model.device import forms_of_a_gpu
from pipeline.model.surgery import cut
from pipeline.task.batches import Split
from pipeline.task.kinds import BY_OUTPUTS
from pipeline.trial.conformance.counting import Counts, counted
from pipeline.trial.conformance.networks import tiny_batch, tiny_network, tiny_rows
from pipeline.trial.conformance.recorded import recorded
from pipeline.trial.conformance.subject import STEPS, Subject, filled, ranked, require, same
from pipeline.trial.curve import WeightRanking
from pipeline.trial.training.loop import Listener, Loop, LoopState
from pipeline.trial.training.phases import Phase
from pipeline.trial.training.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SEED = 5
COUNTED = 6  # steps, of which all but the first and the last are counted
REPLAYED = 12  # steps, of which every second is replayed once the shape of their batches was captured
CLOSE = (
    1e-3  # weights of eager and replayed steps after AdamW's division: relative, and a tenth of it absolute
)
SCORES_CLOSE = 1e-2  # their scores, relative and of the largest
SHARE = 0.3  # of single weights that a first round sets to zero


@dataclass
class _Listener(Listener):
    """Copies the loop's state after the steps of `stops`, as checkpoints would."""

    stops: tuple[int, ...] = ()
    taken: dict[int, LoopState] = field(default_factory=dict)
    done: int = 0
    values: list[dict[str, float]] = field(default_factory=list)

    def on_epoch(self, epoch: float, values: dict[str, float]) -> None:
        del epoch
        self.values.append(values)

    def on_step(self, state: Callable[[], LoopState]) -> None:
        self.done += 1
        if self.done in self.stops:
            self.taken[self.done] = copy.deepcopy(state())


@dataclass
class _Counting(Listener):
    """Counts between the first step and the one before the last, after which the loop reads its losses."""

    counts: Counts
    done: int = 0

    def on_step(self, state: Callable[[], LoopState]) -> None:
        del state
        self.done += 1
        self.counts.on = self.done < COUNTED - 1


def _loop(
    subject: Subject,
    method: PruningMethod,
    network: tuple[PreTrainedModel, Anatomy],
    rows: Split,
    listener: Listener,
) -> Loop:
    recipe = Recipe(
        learning_rate=0.01,
        batch_size=3,
        warmup_fraction=0.1,
        weight_decay=0.1,
        precision="fp32",
        kind=BY_OUTPUTS,
    )
    phase = Phase("tune", 0, 0, STEPS, 3)
    return Loop(*network, rows, phase, recipe, listener, method, subject.run(SEED))


def interrupted_and_continued_gives_the_same_scores(subject: Subject) -> None:
    """Check that a checkpoint after any step leads to the same weights and scores, bit for bit."""
    whole, rows, batch = tiny_network(), tiny_rows(), tiny_batch()
    through, listener = subject.make(), _Listener(stops=(1, STEPS - 1, STEPS))
    _loop(subject, through, whole, rows, listener).fit()
    require(listener.done == STEPS, subject, f"Training makes {STEPS} steps")
    expected = through.score(*whole, [batch])
    for stop, taken in listener.taken.items():
        second = tiny_network()
        after = subject.make()
        _loop(subject, after, second, rows, _Listener()).fit(taken)
        law = f"Interrupted after step {stop} and continued, training gives the same"
        require(same(expected, after.score(*second, [batch])), subject, f"{law} scores")
        require(_same_weights(whole[0], second[0]), subject, f"{law} weights")


def no_step_waits_for_the_device(subject: Subject) -> None:
    """Check that no training step makes the host wait for a GPU: by counting, on a CPU, in the forms of a GPU."""
    with counted(on=False) as counts:
        loop = _loop(subject, subject.make(), tiny_network(), tiny_rows(), _Counting(counts))
        recipe, run = replace(loop.recipe, batch_size=2), replace(subject.run(SEED), total_steps=COUNTED)
        replace(loop, recipe=recipe, run=run, phase=Phase("tune", 0, 0, COUNTED, 3)).fit()
    require(counts.kernels > 0, subject, "Something is counted")
    law = f"A step makes the host wait for nothing, but here for {', '.join(sorted(counts.reads))}"
    require(not counts.reads, subject, law)


def replayed_steps_train_as_eager_ones(subject: Subject) -> None:
    """Check the promises `replays` and `splits`: by a stand-in for CUDA graphs, in the forms of a GPU, within rounding.

    Every second step of a few is replayed; the schedules of the method go on meanwhile.
    """
    if not (subject.method.replays or subject.method.splits):
        return
    promise = "replays" if subject.method.replays else "splits"
    rows, batch, found = tiny_rows(), tiny_batch(), []
    for capture in (None, recorded):
        network, method = (
            tiny_network(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
            subject.make(),
        )
        with forms_of_a_gpu():
            loop = _loop(subject, method, network, rows, _Listener())
            recipe, run = (
                replace(loop.recipe, batch_size=len(rows)),
                replace(subject.run(SEED), total_steps=REPLAYED),
            )
            phase = Phase("tune", 0, 0, REPLAYED, 3)
            loop = replace(loop, recipe=recipe, run=run, phase=phase, capture=capture)
            loop.fit()
        found.append((network[0], method.score(*network, [batch])))
    facts = loop.facts()
    failed = facts["step_graph"] if "row_seconds/graph" not in facts else ""
    require(not failed, subject, f"A method with `{promise}` can be captured, but here: {failed}")
    (eager, scores), (replayed, its_scores) = found
    law = f"With `{promise}`, replayed steps train as eager ones do"
    for (name, one), other in zip(eager.named_parameters(), replayed.parameters(), strict=True):
        # scores of attention do not depend on a key's bias: its gradient is rounding, which Adam divides by its size
        same_here = torch.allclose(one, other, rtol=CLOSE, atol=CLOSE / 10)
        require(same_here or name.endswith("key.bias"), subject, f"{law}: {name}")
    theirs = filled(its_scores)
    for kind, values in filled(scores).items():
        largest = max(float(np.nanmax(np.abs(values))), 1e-12)
        close = np.isclose(
            values, theirs[kind], rtol=SCORES_CLOSE, atol=SCORES_CLOSE * largest, equal_nan=True
        )
        require(bool(close.all()) or subject.ranks, subject, f"{law}: scores of {kind}")


def activation_checkpointing_changes_nothing(subject: Subject) -> None:
    """Check losses, penalties, weights, state and scores where layers run twice, with dropout: bit for bit."""
    rows, batch, found = tiny_rows(), tiny_batch(), []
    for checkpointing in (False, True):
        model, anatomy = tiny_network()
        require(model.config.hidden_dropout_prob > 0, subject, "There is dropout")
        method, listener = subject.make(), _Listener()
        loop = _loop(subject, method, (model, anatomy), rows, listener)
        runs = _count_runs(model)
        replace(loop, recipe=replace(loop.recipe, checkpointing=checkpointing)).fit()
        require(runs[0] == STEPS * (1 + checkpointing), subject, "A layer runs once a step, or twice")
        copy.deepcopy(model)  # as a curve does: nothing is left on it
        found.append((model, listener.values, method.score(model, anatomy, [batch]), method.state()))
    (plain, values, scores, state), (other, its_values, its_scores, its_state) = found
    finite = all(np.isfinite(value) for row in values for value in row.values())
    require(finite, subject, "What `report` gives is finite")
    law = "Activation checkpointing changes no"
    require(values == its_values, subject, f"{law} loss and no value of `report`")
    require(same(scores, its_scores), subject, f"{law} score")
    require(_same_weights(plain, other), subject, f"{law} weight")
    equal = state.keys() == its_state.keys() and all(torch.equal(state[k], its_state[k]) for k in state)
    require(equal, subject, f"{law} state")


def a_second_round_goes_on_from_the_first_ones_cut(subject: Subject) -> None:
    """Check that one instance tunes and scores a network again that was cut in between."""
    model, anatomy = tiny_network()
    rows, batch = tiny_rows(), tiny_batch()
    method = subject.make()
    for cut_layer in (1, None):
        _loop(subject, method, (model, anatomy), rows, _Listener()).fit()
        scores = method.score(model, anatomy, [batch])
        ranking = ranked(scores, anatomy, per_parameter=False, attention=1)
        if isinstance(ranking, WeightRanking):
            ranking.take(model, ranking.at(target=SHARE))
        elif cut_layer is not None:
            masks = anatomy.present
            masks.neurons[cut_layer] = masks.heads[cut_layer, 1:] = False
            anatomy = cut(model, anatomy, masks)


def _same_weights(one: PreTrainedModel, other: PreTrainedModel) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def _count_runs(model: PreTrainedModel) -> list[int]:
    """Return a list whose only entry counts how often the first layer's query is computed from now on."""
    counts = [0]
    query = next(module for name, module in model.named_modules() if name.endswith("query"))

    def count(*_: Any) -> None:
        counts[0] += 1

    query.register_forward_hook(count)
    return counts
