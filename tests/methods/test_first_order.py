"""First-order importance: against one row at a time, against a finite difference, and by hand."""

import numpy as np
import pytest
import torch

from pipeline.methods.bases.gates import Gates
from pipeline.methods.first_order import FirstOrder, by_layer, importance
from pipeline.model.surgery import cut
from pipeline.task.batches import encoder_inputs


def test_importance_by_hand():
    derivatives = torch.tensor([[1.0, -2.0], [-3.0, 1.0]])
    assert importance(derivatives, estimate="absolute").tolist() == [4.0, 3.0]
    assert importance(derivatives, estimate="square").tolist() == [10.0, 5.0]


def test_normalisation_by_hand():
    values = torch.tensor([3.0, 4.0, 0.0, 2.0, 5.0, 12.0, 0.0, 0.0])
    layer = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])
    kind = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    expected = [3 / 5, 4 / 5, 0.0, 1.0, 5 / 13, 12 / 13, 0.0, 0.0]
    assert by_layer(values, layer, kind).tolist() == pytest.approx(expected)


def loss_of(model, batch, row: int) -> torch.Tensor:
    logits = model(**encoder_inputs(batch)).logits[row : row + 1]
    return torch.nn.functional.cross_entropy(logits, batch["labels"][row : row + 1])


@pytest.mark.parametrize(
    ("level", "kinds"), [("neuron", ("heads", "neurons")), ("block", ("attention", "ffn"))]
)
def test_scores_are_means_of_each_rows_derivative(level, kinds, make_model, make_batch):
    """The derivative by central differences of a factor in the weights: another way to the same gate."""
    model, anatomy = make_model()
    model.double()
    batch = make_batch(rows=4)
    scores = FirstOrder(level, "absolute", "none").score(model, anatomy, [batch])
    part, step = anatomy.layers[1], 1e-4

    def scaled(which: str, factor: float) -> list[float]:
        linear = part.attention_output if which in ("heads", "attention") else part.ffn_out
        weight, bias = linear.weight.detach().clone(), linear.bias.detach().clone()
        with torch.no_grad():
            if which == "heads":
                linear.weight[:, 16:24] *= factor
            elif which == "neurons":
                linear.weight[:, 5] *= factor
            else:
                linear.weight *= factor
                linear.bias *= factor
            found = [loss_of(model, batch, row).item() for row in range(4)]
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        return found

    place = {"heads": (1, 2), "neurons": (1, 5), "attention": (1,), "ffn": (1,)}
    for which in kinds:
        up, down = np.array(scaled(which, 1 + step)), np.array(scaled(which, 1 - step))
        expected = np.abs((up - down) / (2 * step)).mean()
        assert getattr(scores, which)[place[which]] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("estimate", ["absolute", "square"])
def test_scores_do_not_depend_on_the_batch_size(estimate, architecture, make_model, make_split):
    model, anatomy = make_model(architecture)
    split = make_split(architecture, rows=9)
    method = FirstOrder("neuron", estimate, "none")
    one, many = (method.score(model, anatomy, split.in_length_order(size)) for size in (9, 2))
    assert one.heads == pytest.approx(many.heads, rel=1e-3)
    assert one.neurons == pytest.approx(many.neurons, rel=1e-3, abs=1e-7)


def test_a_regression_is_scored_by_its_squared_error(make_model, make_split):
    model, anatomy = make_model(outputs=1)
    batch = make_split(rows=1, regression=True).collate(np.array([0]))
    found = FirstOrder("head-only", "absolute", "none").score(model, anatomy, [batch]).heads
    gates = Gates(anatomy, "head-only", device=torch.device("cpu"))
    ones = torch.ones(12, requires_grad=True)
    with gates.on(model, lambda: ones):
        output = model(**encoder_inputs(batch)).logits[0, 0]
    (expected,) = torch.autograd.grad((output - batch["labels"][0]) ** 2, ones)
    assert found.ravel() == pytest.approx(expected.abs().numpy(), rel=1e-4)


def test_after_a_cut_what_is_left_keeps_its_place(make_model, make_batch):
    model, anatomy = make_model()
    masks = anatomy.present
    masks.heads[1, :2] = masks.heads[2] = masks.neurons[0, ::2] = False
    batch = make_batch()
    gates = Gates(anatomy, "neuron", device=torch.device("cpu"))
    held = torch.from_numpy(np.concatenate([masks.heads.ravel(), masks.neurons.ravel()])).float()
    held.requires_grad_()
    # a block whose heads are all gone loses its bias, too: here it has none
    with torch.no_grad():
        anatomy.layers[2].attention_output.bias.zero_()
    with gates.on(model, lambda: held):
        (expected,) = torch.autograd.grad(loss_of(model, batch, 0), held)
    anatomy = cut(model, anatomy, masks)
    one = {name: value[:1] for name, value in batch.items()}
    found = FirstOrder("neuron", "absolute", "none").score(model, anatomy, [one])
    values = np.concatenate([found.heads.ravel(), found.neurons.ravel()])
    there = held.detach().bool().numpy()
    assert np.isnan(values[~there]).all()
    assert values[there] == pytest.approx(expected.abs().numpy()[there], rel=1e-2, abs=1e-7)
