"""SMP: maps against the library's, the objective by hand, draws, and the order that scores give."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.driver.search.api import search
from pipeline.methods.smp.smp import (
    SIDES,
    HeadScorer,
    by_layer,
    for_task,
    kept_loss,
    meta_loss,
    represent,
    sample_heads,
    seeing_maps,
    side_of,
    similarities,
    square,
)
from pipeline.study.records import BadInput
from pipeline.task.batches import encoder_inputs


@pytest.mark.parametrize("side", SIDES)
def test_a_pruner_takes_maps_of_its_side_and_reads_itself_back(side: int):
    pruner = HeadScorer(side=side).eval()
    maps = torch.rand(3, 1, side, side)
    scores = pruner(maps)
    assert scores.shape == (3, 2)
    assert ((scores > 0) & (scores < 2)).all()
    arrays = {name: tensor.detach().numpy() for name, tensor in pruner.state_dict().items()}
    assert torch.equal(HeadScorer.read(arrays)(maps), scores)
    for pair, column in ((True, 0), (False, 1)):
        torch.testing.assert_close(
            HeadScorer.read(for_task(arrays, pair=pair))(maps)[:, 0], scores[:, column]
        )


def test_sides():
    assert [side_of(length) for length in (3, 8, 9, 40, 128, 500)] == [8, 8, 16, 64, 128, 128]
    maps = torch.rand(2, 3, 5, 5)
    assert square(maps, 8).shape == (6, 1, 8, 8)
    assert torch.equal(square(maps, 8)[4, 0, :5, :5], maps[1, 1])
    assert square(maps, 8)[:, :, 5:].sum() == 0
    assert torch.equal(square(maps, 4)[0, 0], maps[0, 0, :4, :4])


def test_maps_are_the_librarys(architecture, make_model, make_batch):
    model, anatomy = make_model(architecture)
    batch = make_batch(architecture)
    found: list[torch.Tensor] = []
    mask = batch["attention_mask"]
    with torch.no_grad(), seeing_maps(anatomy, lambda: batch, lambda _, maps: found.append(maps)):
        model(**encoder_inputs(batch))
    model.set_attn_implementation("eager")
    with torch.no_grad():
        theirs = model(**encoder_inputs(batch), output_attentions=True).attentions
    assert len(found) == len(theirs) == 3
    for ours, other in zip(found, theirs, strict=True):
        torch.testing.assert_close(ours, other * mask[:, None, :, None], rtol=1e-4, atol=1e-5)


def test_similarities_by_hand():
    """Rows at (0, 0), (4, 0), (2, 0) with mean (2, 0): the odd one is left out, the two point apart."""
    rows = torch.tensor([[0.0, 0.0], [4.0, 0.0], [2.0, 0.0]])
    assert similarities(rows).flatten().tolist() == pytest.approx([10.0, -10.0, -10.0, 10.0])


def test_kept_loss_by_hand():
    """Shares 3/4 and 1/4 that become halves: their KL, over two entries."""
    full, pruned = torch.tensor([[math.log(3), 0.0]]), torch.tensor([[0.0, 0.0]])
    by_hand = (0.75 * math.log(1.5) + 0.25 * math.log(0.5)) / 2
    assert kept_loss(full, pruned).item() == pytest.approx(by_hand)
    assert kept_loss(full, full).item() == pytest.approx(0, abs=1e-7)


def test_representations_by_hand():
    hidden, mask = torch.tensor([[[1.0], [3.0], [100.0]]]), torch.tensor([[1, 1, 0]])
    assert represent(hidden, mask, pair=True).item() == 1
    assert represent(hidden, mask, pair=False).item() == 2


def test_half_of_the_heads_are_drawn_and_higher_scores_more_often():
    generator = torch.Generator().manual_seed(0)
    scores = torch.tensor([[0.0, 0.0, 1.5, 0.0], [0.5, 0.5, 0.5, 0.5]], requires_grad=True)
    whole = torch.tensor([False, True])
    counts = torch.zeros(4)
    for _ in range(100):
        mask = sample_heads(scores, whole, generator=generator)
        drawn = mask.detach().round()
        torch.testing.assert_close(mask.detach(), drawn)
        assert drawn[0].sum() == 2
        assert drawn[1].sum() == 4
        counts += drawn[0]
    assert counts[2] > 75 > counts[[0, 1, 3]].max()
    (mask[0] * torch.arange(4)).sum().backward()
    assert scores.grad[0].abs().sum() > 0
    assert scores.grad[1].abs().sum() == 0


@pytest.mark.parametrize("pair", [True, False])
def test_the_objective_reaches_the_pruner_alone(make_model, make_batch, pair: bool):
    model, anatomy = make_model()
    model.requires_grad_(False)
    pruner = HeadScorer(side=32).train()
    losses = [
        meta_loss(
            model,
            anatomy,
            pruner,
            make_batch(rows=8),
            pair=pair,
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (1, 1, 2)
    ]
    assert losses[0].item() == pytest.approx(losses[1].item())
    assert losses[0].item() != pytest.approx(losses[2].item())
    assert losses[0] > 0
    losses[0].backward()
    assert all(p.grad is None for p in model.parameters())
    last = [m for m in pruner.modules() if isinstance(m, nn.Conv2d)][-1].weight.grad
    assert last[0 if pair else 1].abs().sum() > 0
    assert last[1 if pair else 0].abs().sum() == 0


def test_ranks_within_layers_by_hand():
    scores = np.array([[0.4, 1.2, 0.8], [np.nan, 1.9, 1.6]])
    found = by_layer(scores)
    expected = [[0.1 / 3, 2.3 / 3, 1.2 / 3], [np.nan, 1.475 / 2, 0.4 / 2]]
    np.testing.assert_allclose(found, expected)


def test_a_search_without_a_fitted_pruner_is_refused(tmp_path):
    with pytest.raises(BadInput, match="prunefront fit-pruner --model builtin/tiny-bert --tasks"):
        search(task="builtin/docstrings", method="smp", store=tmp_path / "store")
    assert not (tmp_path / "store").exists()
