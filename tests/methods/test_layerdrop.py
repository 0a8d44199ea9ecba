"""Layer dropping: the orders by hand, the contribution against hidden states that the library gives."""

import numpy as np
import pytest
import torch

from pipeline.methods.layerdrop import LayerDrop, by_place, drop_order
from pipeline.model.surgery import cut
from pipeline.task.batches import encoder_inputs


@pytest.mark.parametrize(
    ("strategy", "order"),
    [
        ("top", [5, 4, 3, 2, 1, 0]),
        ("bottom", [0, 1, 2, 3, 4, 5]),
        ("alternate", [5, 3, 1, 4, 2, 0]),
        ("symmetric", [3, 2, 4, 1, 5, 0]),
    ],
)
def test_orders_of_six_layers(strategy: str, order: list[int]):
    assert drop_order(6, strategy) == order
    assert by_place(6, strategy)[order].tolist() == [0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6]


def test_twelve_layers_as_in_the_paper():
    assert set(drop_order(12, "alternate")[:6]) == {11, 9, 7, 5, 3, 1}
    assert set(drop_order(12, "symmetric")[:4]) == {4, 5, 6, 7}


def test_an_odd_number_of_layers_loses_its_middle_first():
    assert drop_order(5, "symmetric") == [2, 3, 1, 4, 0]
    assert drop_order(5, "alternate") == [4, 2, 0, 3, 1]


def test_contribution_is_one_minus_the_cosine_of_the_first_token(architecture, make_model, make_split):
    model, anatomy = make_model(architecture)
    split = make_split(architecture, rows=7)
    found = LayerDrop("contribution").score(model, anatomy, split.in_length_order(3)).layers
    batch = split.collate(np.arange(7))
    with torch.no_grad():
        states = model(**encoder_inputs(batch), output_hidden_states=True).hidden_states
    for layer in range(3):
        a, b = states[layer][:, 0].double(), states[layer + 1][:, 0].double()
        cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
        assert found[layer] == pytest.approx(1 - cosine.mean().item(), rel=1e-4)


def test_layers_that_are_gone_have_no_score_and_others_keep_theirs(make_model, make_batch):
    model, anatomy = make_model()
    masks = anatomy.present
    masks.heads[1] = masks.neurons[1] = masks.layers[1] = False
    anatomy = cut(model, anatomy, masks)
    by_place_ = LayerDrop("top").score(model, anatomy, []).layers
    assert np.array_equal(by_place_, [2 / 3, np.nan, 0.0], equal_nan=True)
    measured = LayerDrop("contribution").score(model, anatomy, [make_batch()]).layers
    assert np.isnan(measured).tolist() == [False, True, False]
