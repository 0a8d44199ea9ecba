"""Costs against counts worked out elsewhere, parts against the model's own modules."""

import copy

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from pipeline.model.anatomy import encoder_layers, find_architecture, read_anatomy
from pipeline.model.architectures import ARCHITECTURES, WITHOUT_ROW
from pipeline.model.costs import Costs
from pipeline.study.records import BadInput, Masks

BERT_BASE = Masks.full(12, 12, 3072)


@pytest.fixture(scope="module")
def bert_base() -> Costs:
    return Costs.of(BERT_BASE, hidden_size=768, head_size=64, other=109_483_778 - 85_054_464)


def test_costs_of_bert_base_are_the_published_ones(bert_base: Costs):
    # shared/methods.md: counted on the real network
    assert bert_base.head == 196_800
    assert bert_base.attention == 2_362_368
    assert bert_base.neuron == 1_537
    assert bert_base.ffn == 4_722_432
    assert bert_base.layer == 2_363_904 + 4_722_432 + 2 * 768
    assert bert_base.encoder == 85_054_464
    assert bert_base.model == 109_483_778


def test_bert_base_counts_are_read_from_its_tensors(bert_base: Costs):
    with torch.device("meta"):
        model = transformers.BertForSequenceClassification(transformers.BertConfig(num_labels=2))
    assert read_anatomy(model).costs == bert_base


def test_keeping_everything_keeps_the_encoder(bert_base: Costs):
    assert bert_base.kept(BERT_BASE) == bert_base.encoder
    assert bert_base.compression(BERT_BASE) == 0.0


def test_all_heads_are_a_third_of_bert_base(bert_base: Costs):
    # shared/methods.md: a method that ranks heads only cannot pass 33 %
    headless = Masks(np.zeros_like(BERT_BASE.heads), BERT_BASE.neurons, BERT_BASE.layers)
    assert bert_base.compression(headless) == pytest.approx(12 * 2_362_368 / 85_054_464)
    assert bert_base.compression(headless) == pytest.approx(0.333, abs=5e-4)


def test_what_is_kept_by_hand():
    masks = Masks(
        heads=np.array([[True, False], [False, False], [False, False]]),
        neurons=np.array([[True, True, True], [False, True, False], [False, False, False]]),
        layers=np.array([True, True, False]),
    )
    costs = Costs.of(Masks.full(3, 2, 3), hidden_size=4, head_size=2, other=10)
    head, neuron, bias, norms = 3 * (2 * 4 + 2) + 4 * 2, 4 + 1 + 4, 4, 4 * 4
    assert costs.kept_by_layer(masks).tolist() == [
        head + bias + 3 * neuron + bias + norms,
        neuron + bias + norms,
        0,
    ]
    assert costs.kept(masks) == head + 4 * neuron + 3 * bias + 2 * norms
    assert costs.compression(masks) == 1 - costs.kept(masks) / costs.encoder
    assert costs.model == costs.encoder + 10


def test_macs_of_bert_base_by_hand(bert_base: Costs):
    # one layer: Q, K, V, O are 768 x 768 each, the feed-forward maps 768 x 3072; then QK' and PV
    tokens = 128
    layer = tokens * (4 * 768 * 768 + 2 * 768 * 3072) + 2 * tokens * tokens * 768
    assert bert_base.macs(BERT_BASE, tokens) == 12 * layer


def test_macs_of_nothing_are_nothing(bert_base: Costs):
    bare = Masks(np.zeros_like(BERT_BASE.heads), np.zeros_like(BERT_BASE.neurons), BERT_BASE.layers)
    assert bert_base.macs(bare, 128) == 0


def test_a_dense_model_is_all_there(architecture: str, make_model):
    model, anatomy = make_model(architecture, layers=3)
    assert anatomy.architecture == architecture
    assert (anatomy.dense_layers, anatomy.heads_per_layer, anatomy.neurons_per_layer) == (3, 4, 64)
    assert (anatomy.head_size, anatomy.hidden_size) == (8, 32)
    assert anatomy.present.same(Masks.full(3, 4, 64))
    assert anatomy.costs.model == sum(p.numel() for p in model.parameters())
    assert [parts.index for parts in anatomy.layers] == [0, 1, 2]


def test_counts_fit_the_real_tensors_of_every_unit(architecture: str, make_model):
    model, anatomy = make_model(architecture)
    costs, layer = anatomy.costs, anatomy.layers[0]
    attention = [layer.query, layer.key, layer.value, layer.attention_output]
    ffn = [layer.ffn_in, layer.ffn_out]
    assert costs.attention == sum(p.numel() for linear in attention for p in linear.parameters())
    assert costs.ffn == sum(p.numel() for linear in ffn for p in linear.parameters())
    layers = encoder_layers(model, architecture)
    assert costs.layer == sum(p.numel() for p in layers[0].parameters())
    assert costs.encoder == sum(p.numel() for p in layers.parameters())


def test_parts_are_where_the_data_flows(architecture: str, make_model, make_batch):
    """Context of all heads goes in, the residual branch comes out: LayerNorm(branch + x) is what follows."""
    model, anatomy = make_model(architecture)
    parts = anatomy.layers[1]
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def watch(name: str, module: nn.Module) -> None:
        module.register_forward_hook(lambda _m, args, output: seen.update({name: (args[0], output)}))

    for name in ("query", "key", "value", "attention_output", "ffn_in", "ffn_out"):
        watch(name, getattr(parts, name))
    watch("layer", encoder_layers(model, architecture)[1])
    norms = [m for m in encoder_layers(model, architecture)[1].modules() if isinstance(m, nn.LayerNorm)]
    batch = make_batch(architecture)
    with torch.no_grad():
        model(**{k: v for k, v in batch.items() if k not in ("labels", "rows")})
        x, y = seen["layer"]
        h = norms[0](x + seen["attention_output"][1])
        torch.testing.assert_close(seen["query"][0], x)
        torch.testing.assert_close(seen["ffn_in"][0], h)
        torch.testing.assert_close(norms[1](h + seen["ffn_out"][1]), y)

        # a second formula for the context: softmax of the heads' own scores over real tokens
        rows, tokens = batch["input_ids"].shape
        q, k, v = (seen[n][1].view(rows, tokens, 4, 8).transpose(1, 2) for n in ("query", "key", "value"))
        scores = q @ k.transpose(2, 3) / 8**0.5
        scores = scores.masked_fill(batch["attention_mask"][:, None, None, :] == 0, float("-inf"))
        context = (scores.softmax(dim=-1) @ v).transpose(1, 2).reshape(rows, tokens, 32)
    torch.testing.assert_close(seen["attention_output"][0], context, rtol=1e-4, atol=1e-5)


def test_model_and_anatomy_are_copied_together(make_model):
    model, anatomy = copy.deepcopy(make_model("bert"))
    assert anatomy.layers[2].ffn_in is model.bert.encoder.layer[2].intermediate.dense


def test_an_unknown_architecture_is_refused_with_the_known_ones():
    with pytest.raises(BadInput, match="neobert") as refusal:
        find_architecture("neobert")
    assert all(known in str(refusal.value) for known in ARCHITECTURES)
    assert not ARCHITECTURES.keys() & WITHOUT_ROW.keys()


@pytest.mark.parametrize(("model_type", "reason"), WITHOUT_ROW.items())
def test_a_family_without_a_row_is_refused_with_the_reason(model_type, reason):
    with pytest.raises(BadInput, match=f"'{model_type}' cannot be cut: {reason}"):
        find_architecture(model_type)


def test_an_encoder_with_more_in_it_is_refused(make_model):
    model, _ = make_model("bert")
    model.bert.encoder.layer[0].adapter = nn.Linear(32, 4)
    with pytest.raises(BadInput, match="adapters"):
        read_anatomy(model)


def test_a_layer_that_lacks_a_part_is_refused(make_model):
    model, _ = make_model("distilbert")
    model.distilbert.transformer.layer[0].ffn = nn.Identity()
    with pytest.raises(BadInput, match=r"ffn\.lin2"):
        read_anatomy(model)
