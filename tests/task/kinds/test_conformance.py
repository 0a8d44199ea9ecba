"""The laws of all kinds of tasks: what trials, methods, fronts and exports take for granted."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.model.heads import HEADS
from pipeline.model.resolve import resolve_model
from pipeline.model.source import preprocessor
from pipeline.study.metrics import METRICS
from pipeline.task.batches import Batch, Split, batch_parts
from pipeline.task.kind_names import KIND_NAMES
from pipeline.task.kinds import KINDS, Kind
from pipeline.task.loading import Task, load_task, tokenise, train_texts
from pipeline.trial.inputs import head_of
from tests.kit.kinds import FROM_NOTHING, TINY, write_rows
from tests.kit.toy import fitted_model

WIDTH = 8  # of an embedding
VARIANTS = {"ranking, listwise": "ranking"}
Made = tuple[Kind, Split]


@pytest.fixture(params=sorted([*TINY, *VARIANTS]), scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A kind as its tiny rows show it, and its validation rows."""
    folder = tmp_path_factory.mktemp("rows")
    name = VARIANTS.get(request.param, request.param)
    task = load_task(str(write_rows(folder / "data", name)), cache=folder, kind=name, max_length=16)
    if request.param in VARIANTS:
        task = replace(task, kind=replace(task.kind, listwise=True))
    split = tokenise(task, reader_of(task)).validation
    if task.kind.trains_on_answers:
        drawn = torch.randn(len(split), WIDTH, generator=torch.Generator().manual_seed(0))
        split = split.with_labels(nn.functional.normalize(drawn, dim=-1).numpy())
    return task.kind, split


def reader_of(task: Task) -> Any:
    """What reads a task's rows: the toy tokenizer, or that of a model from nothing."""
    if task.kind.name not in FROM_NOTHING:
        return fitted_model()[1]
    source = resolve_model(
        FROM_NOTHING[task.kind.name], head=head_of(task.kind), train_texts=train_texts(task)
    )
    return preprocessor(source)


def whole(split: Split) -> Batch:
    return split.collate(np.arange(len(split)))


def drawn(kind: Kind, split: Split, *, seed: int = 0) -> Tensor:
    """Random outputs of a network for all rows: per token where labels are, or spans."""
    rows, tokens = len(split), int(split.lengths.max())
    if kind.network == "token-classification":
        shape: tuple[int, ...] = (rows, tokens, len(kind.output_names))
    elif kind.network == "question-answering":
        shape = (rows, tokens, 2)
    elif kind.network == "causal-lm":
        shape = (rows, tokens, int(whole(split)["input_ids"].max()) + 1)
    else:
        shape = (rows, WIDTH if kind.network == "embedding" else len(kind.output_names))
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_there_is_tiny_data_of_every_kind() -> None:
    assert set(KINDS) == set(TINY)


def test_names_are_known_without_torch() -> None:
    assert tuple(KINDS) == KIND_NAMES


def test_its_names_are_known(made: Made) -> None:
    kind, _ = made
    assert KINDS[kind.name] is type(kind)
    assert kind.network in HEADS
    assert kind.metric == kind.metrics[0]
    assert set(kind.metrics) <= set(METRICS)


def test_it_travels_to_workers(made: Made) -> None:
    kind, _ = made
    assert pickle.loads(pickle.dumps(kind)) == kind


def test_units_have_ids_labels_and_predictions(made: Made) -> None:
    kind, split = made
    judged = kind.judge(kind.kept(drawn(kind, split), whole(split)), split)
    assert len(kind.ids(split)) == len(kind.labels(split)) == len(judged.predictions)
    assert len({*kind.ids(split)}) == len(kind.ids(split))
    scores = kind.score(judged, split)
    assert next(iter(scores)) == "metric"
    assert scores["metric"] == scores.get(kind.metric, scores["metric"])
    assert not judged.predictions.dtype.hasobject


def test_the_loss_of_all_rows_is_that_of_one_batch(made: Made) -> None:
    kind, split = made
    outputs, batch = drawn(kind, split), whole(split)
    if kind.network == "question-answering":
        outputs = outputs.masked_fill(batch["attention_mask"][..., None] == 0, -1e9)
    assert kind.judge(kind.kept(outputs, batch), split).loss == pytest.approx(
        kind.loss(outputs, batch).item(), rel=1e-4
    )


def test_outputs_of_zero_have_the_untrained_loss(made: Made) -> None:
    kind, split = made
    batch, zeros = whole(split), torch.zeros_like(drawn(kind, split))
    if kind.network == "question-answering":
        zeros = zeros.masked_fill(batch["attention_mask"][..., None] == 0, -1e9)
    assert kind.untrained_loss(split) == pytest.approx(kind.loss(zeros, batch).item(), rel=1e-5)
    assert 0 <= kind.constant_loss(split) <= kind.untrained_loss(split) * (1 + 1e-9)


def test_parts_of_a_batch_add_up_to_the_whole(made: Made) -> None:
    kind, split = made
    if kind.variant == ("listwise",):  # a list that is cut into parts is several lists
        return
    rows = np.arange(6)
    batch = split.collate(rows)
    outputs = drawn(kind, split.take(rows))
    parts = batch_parts(batch | {"outputs": outputs}, 3)
    total = sum(kind.loss(part["outputs"], part) * kind.weight(part) for part in parts)
    assert (total / kind.weight(batch)).item() == pytest.approx(kind.loss(outputs, batch).item(), rel=1e-5)


def test_a_network_that_agrees_with_its_teacher_has_nothing_to_learn(made: Made) -> None:
    kind, split = made
    outputs, batch = drawn(kind, split), whole(split)
    taught = kind.taught(outputs, batch)
    assert kind.soft_loss(outputs, taught, batch, temperature=2.0).item() == pytest.approx(0, abs=1e-5)
    other = drawn(kind, split, seed=1).requires_grad_()
    loss = kind.soft_loss(other, taught, batch, temperature=2.0)
    loss.backward()
    assert loss.item() > 0
    assert other.grad is not None
    assert bool(other.grad.isfinite().all())


def test_pseudo_labels_follow_from_the_generator(made: Made) -> None:
    kind, split = made
    batch = whole(split)
    outputs = drawn(kind, split).requires_grad_()
    first, second = (kind.drawn_loss(outputs, batch, torch.Generator().manual_seed(3)) for _ in range(2))
    (gradient,) = torch.autograd.grad(first, outputs)
    assert first.shape == ()
    assert first.item() == second.item()
    assert bool(gradient.isfinite().all())
    assert bool(gradient.any())


def test_a_constant_is_one_number_a_metric_can_have(made: Made) -> None:
    kind, split = made
    if kind.metric == "log_likelihood":
        assert kind.constant(split) == pytest.approx(-kind.constant_loss(split))
    else:
        assert 0 <= kind.constant(split) <= 1


def test_rungs_and_halves_take_whole_units(made: Made) -> None:
    kind, split = made
    if split.units is None:
        return
    some = split.take(np.flatnonzero(np.isin(split.units, np.unique(split.units)[::2])))
    assert set(kind.ids(some)) < set(kind.ids(split))
    order = np.concatenate(split.training_order(4, seed=0))
    assert sorted(order) == list(range(len(split)))
