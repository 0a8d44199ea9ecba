"""Metric, loss and order of rows against plain loops; MACs and parameters against real counts."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.surgery import cut
from pipeline.study.records import Masks
from pipeline.task.batches import encoder_inputs
from pipeline.trial.measure import counted_macs, evaluate, measure
from tests.kit.kinds import CLASSES, VALUES

KINDS = ("bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta")


def row_by_row(model, split) -> torch.Tensor:
    """Logits [V, C], each row alone and unpadded."""
    with torch.no_grad():
        batches = (split.collate(np.array([row])) for row in range(len(split)))
        return torch.cat([model(**_unpadded(encoder_inputs(batch))).logits for batch in batches])


def _unpadded(inputs):
    length = int(inputs["attention_mask"].sum())
    return {name: value[:, :length] for name, value in inputs.items()}


def _mix_classes(model, split) -> None:
    """Takes the mean logits off the last bias: the random network no longer prefers one class."""
    last = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == 3][-1]
    with torch.no_grad():
        last.bias -= row_by_row(model, split).mean(dim=0)


def test_classes_are_those_of_a_plain_loop(architecture, make_model, make_split):
    model, _ = make_model(architecture)
    split = make_split(architecture, rows=30)
    _mix_classes(model, split)
    found = evaluate(model, split, CLASSES, batch_size=8)
    logits = row_by_row(model, split)
    labels = torch.tensor(split.labels)
    expected = logits.argmax(dim=1)
    assert len(set(expected.tolist())) > 1  # else any order of rows would do
    assert found.predictions.dtype == np.int16
    assert found.predictions.tolist() == expected.tolist()
    accuracy = sum(a == b for a, b in zip(expected.tolist(), labels.tolist(), strict=True)) / 30
    assert found.metrics == {"metric": accuracy, "accuracy": accuracy}
    by_hand = (logits.logsumexp(dim=1) - logits[torch.arange(30), labels]).mean()
    assert found.loss == pytest.approx(by_hand.item(), rel=1e-4)


def test_values_are_those_of_a_plain_loop(make_model, make_split):
    model, _ = make_model("bert", outputs=1)
    split = make_split("bert", rows=20, regression=True)
    found = evaluate(model, split, VALUES, batch_size=8)
    values = row_by_row(model, split).squeeze(-1).numpy()
    assert found.predictions.dtype == np.float32
    np.testing.assert_allclose(found.predictions, values, rtol=1e-4, atol=1e-5)
    assert found.loss == pytest.approx(np.mean((values - split.labels) ** 2), rel=1e-4)
    assert found.metrics["pearson"] == pytest.approx(np.corrcoef(values, split.labels)[0, 1], rel=1e-4)


def test_batch_size_changes_nothing(make_model, make_split):
    model, _ = make_model("bert")
    split = make_split("bert", rows=17)
    one, many = (evaluate(model, split, CLASSES, batch_size=size) for size in (1, 64))
    assert one.predictions.tolist() == many.predictions.tolist()
    assert one.loss == pytest.approx(many.loss, rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_training_flag_is_put_back_and_dropout_is_off(make_model, make_split, training):
    model, _ = make_model("bert")
    split = make_split("bert")
    first = evaluate(model, split, CLASSES)
    model.train(training)
    second = evaluate(model, split, CLASSES)
    assert all(module.training is training for module in model.modules())
    assert second.loss == first.loss


def test_the_training_flag_is_put_back_after_an_error(make_model, make_split):
    model, _ = make_model("bert")
    model.train()
    model.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate(model, make_split("bert"), CLASSES)
    assert model.training


def test_bf16_is_close_to_fp32_and_not_equal(make_model, make_split):
    model, _ = make_model("bert")
    split = make_split("bert", rows=20)
    fp32 = evaluate(model, split, CLASSES)
    bf16 = evaluate(model, split, CLASSES, precision="bf16")
    assert bf16.loss == pytest.approx(fp32.loss, rel=0.05)
    assert bf16.loss != fp32.loss


def test_numbers_that_are_none_give_a_loss_that_is_none(make_model, make_split):
    model, _ = make_model("bert", outputs=1)
    torch.nn.init.constant_(model.classifier.bias, float("nan"))
    split = make_split("bert", regression=True)
    found = evaluate(model, split, VALUES)
    assert np.isnan(found.loss)
    assert np.isnan(found.metrics["metric"])


def test_the_dense_model_measured(architecture, make_model, make_split):
    model, anatomy = make_model(architecture)
    evaluation = evaluate(model, make_split(architecture), CLASSES)
    found = measure(model, anatomy, evaluation, length=24)
    total = sum(p.numel() for p in model.parameters())
    assert (found.metric, found.metrics) == (evaluation.metrics["metric"], evaluation.metrics)
    assert (found.compression, found.compression_total) == (0.0, 0.0)
    assert (found.parameters, found.encoder_parameters) == (total, anatomy.costs.encoder)
    assert found.size_mb == total * 4 / 1e6
    assert found.latency_ms is None


def test_a_cut_model_measured_by_hand(make_model, make_split):
    model, anatomy = make_model("bert", layers=2)
    evaluation = evaluate(model, make_split("bert"), CLASSES)
    dense = measure(model, anatomy, evaluation, length=24)
    masks = Masks.full(2, 4, 64)
    masks.heads[0] = masks.neurons[1, 10:] = False
    anatomy = cut(model, anatomy, masks)
    found = measure(model, anatomy, evaluation, length=24)
    # 4 heads of 8 features and the output bias; 54 neurons
    removed = (4 * (3 * (32 * 8 + 8) + 8 * 32) + 32) + 54 * (32 + 1 + 32)
    assert dense.encoder_parameters - found.encoder_parameters == removed
    assert dense.parameters - found.parameters == removed
    assert found.compression == removed / dense.encoder_parameters
    assert found.compression_total == removed / dense.parameters
    assert dense.macs - found.macs == 24 * 4 * 32 * 32 + 2 * 24 * 24 * 32 + 54 * 2 * 24 * 32


@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**32 - 1),
    shares=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=6, max_size=6),
    drop=st.sampled_from([None, 0, 2]),
    length=st.integers(3, 24),
)
def test_formula_macs_are_counted_macs(make_model, kind, seed, shares, drop, length):
    model, anatomy = make_model(kind, layers=3)
    generator = np.random.default_rng(seed)
    masks = Masks.full(3, 4, 64)
    for layer in range(3):
        masks.heads[layer] = generator.random(4) < shares[layer]
        masks.neurons[layer] = generator.random(64) < shares[3 + layer]
    if drop is not None:
        masks.layers[drop] = masks.heads[drop] = masks.neurons[drop] = False
    anatomy = cut(model, anatomy, masks)
    tokens = torch.randint(5, 100, (2, length), generator=torch.Generator().manual_seed(0))
    inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    assert counted_macs(model, anatomy, inputs) == 2 * anatomy.costs.macs(masks, length)


def test_counting_leaves_the_model_as_it_was(make_model, make_batch):
    model, anatomy = make_model("bert")
    inputs = encoder_inputs(make_batch("bert"))
    before = copy.deepcopy(model.state_dict())
    counted_macs(model, anatomy, inputs)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
