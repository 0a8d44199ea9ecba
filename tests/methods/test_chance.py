"""The random control: every order is as likely as any other, and the seed fixes it."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch

from pipeline.methods.base import Run
from pipeline.methods.chance import Chance, ChanceWeights, random_scores
from pipeline.model.surgery import cut
from pipeline.study.records import Masks


def seeded(level: str, seed: int, model, anatomy) -> Chance:
    method = Chance(level)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    run = Run(1, train_rows=1, target=None, generator=torch.Generator().manual_seed(seed))
    with method.watch(model, anatomy, optimizer, run):
        pass
    return method


def test_every_order_of_the_blocks_is_equally_likely():
    full = Masks.full(2, 2, 3)
    orders = Counter()
    for seed in range(2_400):
        scores = random_scores(full, level="block", seed=seed)
        orders[tuple(np.argsort([*scores.attention, *scores.ffn]).tolist())] += 1
    assert set(orders) == set(permutations(range(4)))
    # 100 of each are expected; chi² with 23 degrees of freedom is below 49.7 with probability 0.999
    assert sum((count - 100) ** 2 / 100 for count in orders.values()) < 49.7


@pytest.mark.parametrize(
    ("level", "filled"),
    [
        ("block", {"attention": (3,), "ffn": (3,)}),
        ("head", {"heads": (3, 4), "ffn": (3,)}),
        ("neuron", {"heads": (3, 4), "neurons": (3, 64)}),
        ("head-only", {"heads": (3, 4)}),
        ("layer", {"layers": (3,)}),
    ],
)
def test_each_level_ranks_its_kinds_of_units(level: str, filled: dict[str, tuple[int, ...]]):
    scores = random_scores(Masks.full(3, 4, 64), level=level, seed=0)
    assert {kind: values.shape for kind, values in vars(scores).items() if values is not None} == filled
    values = np.concatenate([getattr(scores, kind).ravel() for kind in filled])
    assert len(set(values.tolist())) == len(values)
    assert values.min() > 0
    assert values.max() < 1


def test_the_trial_s_seed_decides(make_model):
    model, anatomy = make_model()
    first, again, other = (
        seeded("head", seed, model, anatomy).score(model, anatomy, []).heads for seed in (5, 5, 6)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_units_keep_their_scores_over_the_rounds(make_model):
    model, anatomy = make_model()
    method = seeded("head", 3, model, anatomy)
    before = method.score(model, anatomy, [])
    masks = anatomy.present
    masks.heads[0, 1] = masks.heads[1] = masks.neurons[2] = False
    after = method.score(model, cut(model, anatomy, masks), [])
    assert np.array_equal(after.heads, np.where(masks.heads, before.heads, np.nan), equal_nan=True)
    assert np.array_equal(after.ffn, [before.ffn[0], before.ffn[1], np.nan], equal_nan=True)


def test_single_weights_are_drawn_by_the_seed(make_model):
    model, anatomy = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    found = []
    for seed in (5, 5, 6):
        method = ChanceWeights()
        run = Run(1, train_rows=1, target=None, generator=torch.Generator().manual_seed(seed))
        with method.watch(model, anatomy, optimizer, run):
            pass
        found.append(torch.cat([values.flatten() for values in method.score(model, anatomy, []).values()]))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    # 24,576 uniform numbers: their mean is within 4 of its standard errors of 1/2
    assert abs(found[0].mean().item() - 0.5) < 4 / (12 * 24_576) ** 0.5
