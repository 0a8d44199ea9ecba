"""The laws of `score`, `watch`, `penalty` and `state` (docs: Add a method), one function each."""

from __future__ import annotations

import copy
import io
from contextlib import suppress

import numpy as np
import torch

from pipeline.methods.base import Unstructured
from pipeline.model.surgery import cut
from pipeline.model.unstructured import matrices
from pipeline.study.records import Array
from pipeline.trial.conformance.networks import (
    HEAD_SIZE,
    HEADS,
    LAYERS,
    NEURONS,
    tiny_batch,
    tiny_network,
)
from pipeline.trial.conformance.subject import (
    Subject,
    filled,
    loss_of,
    optimizer_of,
    ranked,
    require,
    same,
    traces,
)
from pipeline.trial.curve import UnitRanking, WeightRanking

RELATIVE, ABSOLUTE = 1e-3, 1e-6  # between scores of permuted heads; the second in units of the largest score


def scores_fit_the_anatomy_and_are_finite(subject: Subject) -> None:
    """Check the shapes and types of scores on every architecture."""
    for architecture in subject.architectures:
        model, anatomy = tiny_network(architecture)
        batch = tiny_batch(architecture)
        scores = subject.tuned(model, anatomy, batch).score(model, anatomy, [batch])
        shapes: dict[str, tuple[int, ...]] = {
            "heads": (LAYERS, HEADS),
            "attention": (LAYERS,),
            "neurons": (LAYERS, NEURONS),
            "ffn": (LAYERS,),
            "layers": (LAYERS,),
        }
        of_weights = issubclass(subject.method, Unstructured)
        if of_weights:
            shapes = {name: tuple(weight.shape) for name, weight in matrices(anatomy).items()}
            require(filled(scores).keys() == shapes.keys(), subject, "Every matrix has scores")
        for kind, values in filled(scores).items():
            require(values.shape == shapes[kind], subject, f"Scores of {kind} have the shape {shapes[kind]}")
            require(bool(np.isfinite(values).all()), subject, "Scores are finite")
            dtype = np.float32 if of_weights else np.float64
            require(values.dtype == dtype, subject, f"Scores are {np.dtype(dtype)}")


def scores_after_a_cut_are_those_of_what_is_left(subject: Subject) -> None:
    """Check that units that are gone, and no others, have NaN."""
    model, anatomy = tiny_network()
    masks = anatomy.present
    masks.heads[0] = masks.neurons[0] = masks.layers[0] = False  # a layer
    masks.neurons[1] = False  # an ffn block
    masks.heads[2, :3] = False  # heads
    anatomy = cut(model, anatomy, masks)
    batch = tiny_batch()
    scores = subject.tuned(model, anatomy, batch).score(model, anatomy, [batch])
    ranking = ranked(scores, anatomy, per_parameter=True, attention=0)
    if isinstance(ranking, WeightRanking):
        whole = filled(scores).keys() == matrices(anatomy).keys()
        require(whole, subject, "Every matrix that is there has scores")
        return
    there = {
        "heads": masks.heads,
        "attention": masks.heads.any(axis=1),
        "neurons": masks.neurons,
        "ffn": masks.neurons.any(axis=1),
        "layers": masks.layers,
    }
    for kind, values in filled(scores).items():
        gone = np.isnan(np.asarray(values, dtype=np.float64))
        require(np.array_equal(gone, ~there[kind]), subject, f"Of {kind}, those that are gone hold NaN")
    count = sum(int(there[kind].sum()) for kind in filled(scores))
    once = isinstance(ranking, UnitRanking) and len(ranking.order) == count
    require(once, subject, "Every unit that is there is ranked once")


def the_same_seed_gives_the_same_scores(subject: Subject) -> None:
    """Check that scores depend on nothing but the model, the batches and the run's generator."""
    batch, found = tiny_batch(), []
    for _ in range(2):
        model, anatomy = tiny_network()
        found.append(subject.tuned(model, anatomy, batch).score(model, anatomy, [batch]))
    require(same(*found), subject, "The same seed gives the same scores")


def score_changes_nothing(subject: Subject) -> None:
    """Check weights, gradients, flags, hooks and torch's generator, in training and in eval mode."""
    model, anatomy = tiny_network()
    batch = tiny_batch()
    method = subject.tuned(model, anatomy, batch)
    output = anatomy.layers[0].attention_output
    if output is not None:
        output.weight.requires_grad_(False)
    for training in (True, False):
        model.train(training)
        before = copy.deepcopy(model.state_dict())
        flags = [p.requires_grad for p in model.parameters()]
        hung = traces(model, optimizer_of(model))
        torch.manual_seed(0)
        generator = torch.get_rng_state()
        first = method.score(model, anatomy, [batch])
        kept = all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        require(kept, subject, "`score` leaves weights and buffers as they are")
        same_flags = [p.requires_grad for p in model.parameters()] == flags
        require(same_flags, subject, "`score` leaves requires_grad as it is")
        require(all(p.grad is None for p in model.parameters()), subject, "`score` leaves no gradients")
        modes = {module.training for module in model.modules()}
        require(modes == {training}, subject, "`score` leaves the training flag as it is")
        require(traces(model, optimizer_of(model)) == hung, subject, "`score` leaves no hooks")
        drawn = not torch.equal(torch.get_rng_state(), generator)
        require(not drawn, subject, "`score` draws nothing from torch's global generator")
        require(same(first, method.score(model, anatomy, [batch])), subject, "`score` is repeatable")


def score_leaves_nothing_behind_when_it_fails(subject: Subject) -> None:
    """Check hooks and training flag after a batch that raises."""
    model, anatomy = tiny_network()
    method = subject.tuned(model, anatomy, tiny_batch())
    model.train()
    hung = traces(model, optimizer_of(model))
    broken = {
        "input_ids": torch.full((1, 3), 10**6),
        "attention_mask": torch.ones(1, 3, dtype=torch.int64),
        "labels": torch.zeros(1, dtype=torch.int64),
    }
    with suppress(IndexError):  # a method that looks at no data does not fail
        method.score(model, anatomy, [broken])
    require(traces(model, optimizer_of(model)) == hung, subject, "A `score` that fails leaves no hooks")
    require(model.training, subject, "A `score` that fails leaves the training flag as it is")


class _StopWatching(Exception):  # noqa: N818
    """Raised within `watch`."""


def nothing_is_left_behind_after_watch(subject: Subject) -> None:
    """Check hooks and parameter groups after `watch`, left normally and by an exception."""
    for fails in (False, True):
        model, anatomy = tiny_network()
        batch = tiny_batch()
        method = subject.make()
        optimizer = optimizer_of(model)
        before = traces(model, optimizer)
        with suppress(_StopWatching), method.watch(model, anatomy, optimizer, subject.run()):
            (loss_of(model, batch) + method.penalty(batch)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss_of(model, batch)  # a forward pass after which `penalty` is not called
            if fails:
                raise _StopWatching
        require(traces(model, optimizer) == before, subject, "`watch` leaves no hooks and no parameters")
        still = copy.deepcopy(model.state_dict())
        optimizer.zero_grad()
        optimizer.step()
        kept = all(torch.equal(value, still[key]) for key, value in model.state_dict().items())
        require(kept, subject, "After `watch` a step without gradients changes nothing")


def the_penalty_is_a_finite_scalar_and_back_propagates(subject: Subject) -> None:
    """Check the penalty and the gradients on every architecture."""
    for architecture in subject.architectures:
        model, anatomy = tiny_network(architecture)
        batch = tiny_batch(architecture)
        method = subject.make()
        model.train()
        with method.watch(model, anatomy, optimizer_of(model), subject.run()):
            loss = loss_of(model, batch)
            penalty = method.penalty(batch)
            (loss + penalty).backward()  # type: ignore[no-untyped-call]
        scalar = penalty.shape == () and penalty.dtype == torch.float32
        require(scalar, subject, "The penalty is a scalar in float32")
        require(bool(penalty.isfinite()) and bool(penalty >= 0), subject, "The penalty is finite and >= 0")
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        finite = all(bool(gradient.isfinite().all()) for gradient in gradients)
        require(bool(gradients) and finite, subject, "Gradients are finite")


def permuting_heads_permutes_scores(subject: Subject) -> None:
    """Check that a score belongs to what a unit computes, not to its number."""
    if subject.draws:
        return
    start, batch = tiny_network(), tiny_batch()
    order = np.array([2, 0, 3, 1])
    permuted, anatomy = tiny_network()
    features = torch.from_numpy((order[:, None] * HEAD_SIZE + np.arange(HEAD_SIZE)).ravel())
    part = anatomy.layers[1]
    with torch.no_grad():
        for linear in (part.query, part.key, part.value):
            if linear is not None:
                linear.weight.copy_(linear.weight[features])
                linear.bias.copy_(linear.bias[features])
        if part.attention_output is not None:
            part.attention_output.weight.copy_(part.attention_output.weight[:, features])
    found = []
    for model, its_anatomy in (start, (permuted, anatomy)):
        method = subject.tuned(model, its_anatomy, batch, dropout=False)
        found.append(filled(method.score(model, its_anatomy, [batch])))
    if subject.ranks:
        return
    plain, moved = found
    for kind, values in plain.items():
        expected = _permuted(kind, values, order, features.numpy())
        scale = float(np.nanmax(np.abs(np.asarray(expected, dtype=np.float64))))
        close = np.allclose(moved[kind], expected, rtol=RELATIVE, atol=ABSOLUTE * scale)
        require(close, subject, f"Permuting heads permutes the scores of {kind}")


def _permuted(kind: str, values: Array, order: Array, features: Array) -> Array:
    """Return the scores that layer 1 has when its heads are in this order."""
    expected = values.copy()
    if kind == "heads":
        expected[1] = expected[1][order]
    if kind in ("1.query", "1.key", "1.value"):
        expected = expected[features]
    if kind == "1.attention_output":
        expected = expected[:, features]
    return expected


def state_is_tensors_that_a_file_can_hold(subject: Subject) -> None:
    """Check that `state`, written and read, gives the same state in a fresh instance."""
    model, anatomy = tiny_network()
    method = subject.tuned(model, anatomy, tiny_batch())
    file = io.BytesIO()
    torch.save(method.state(), file)
    file.seek(0)
    read = torch.load(file, weights_only=True)
    fresh = subject.make()
    fresh.load(read)
    state = fresh.state()
    equal = state.keys() == read.keys() and all(torch.equal(state[name], read[name]) for name in read)
    require(equal, subject, "`load` takes up all that `state` gave")
