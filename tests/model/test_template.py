"""Networks that begin as copies of one of their process: each is the one that is built, and no two share anything."""

import json
from collections.abc import Iterator

import pytest
import torch

from pipeline.model import template
from pipeline.model.architectures import ARCHITECTURES
from pipeline.model.device import forms_of_a_gpu
from pipeline.model.heads import CLASSIFIER, IMAGE_CLASSIFIER, SPANS
from pipeline.model.source import ModelSource, build
from pipeline.model.template import network_of
from pipeline.trial.conformance.networks import tiny_config, tiny_network

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def none_kept() -> Iterator[None]:
    template._KEPT.clear()
    yield
    template._KEPT.clear()


def encoder_of(kind: str, network: str | None = None) -> ModelSource:
    """An encoder without a head, as most are published."""
    config = tiny_config(kind)
    model, _ = tiny_network(kind)
    prefix = model.base_model_prefix
    weights = {
        name: values.numpy().copy()
        for name, values in model.state_dict().items()
        if name.startswith(f"{prefix}.")
    }
    if network is None:
        network = IMAGE_CLASSIFIER if "vit" in kind else CLASSIFIER
    return ModelSource(kind, "", json.loads(config.to_json_string()), weights, {}, network=network)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == its and torch.equal(values, others) for (name, values), (its, others) in pairs)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_copy_is_the_network_that_is_built(kind: str):
    source = encoder_of(kind)
    with forms_of_a_gpu():
        found = [network_of(source, seed=seed, device=CPU) for seed in (7, 8, 7)]
    assert template._KEPT[0]._holds
    (first, anatomy), (second, _), (third, _) = found
    assert same(first, build(source, seed=7)[0])
    assert same(second, build(source, seed=8)[0])
    assert not same(first, second)
    expected = build(source, seed=7)[1]
    assert (anatomy.costs, first.training) == (expected.costs, False)
    places = [
        {values.data_ptr() for values in model.parameters() if values.numel()} for model in (first, third)
    ]
    assert not places[0] & places[1]
    with torch.no_grad():  # training one changes none that begins later
        for values in first.parameters():
            values.add_(1.0)
    with forms_of_a_gpu():
        assert same(network_of(source, seed=7, device=CPU)[0], third)


def test_other_heads_are_drawn_as_built():
    source = encoder_of("bert", SPANS)
    with forms_of_a_gpu():
        assert same(network_of(source, seed=3, device=CPU)[0], build(source, seed=3)[0])


def test_only_the_first_trials_of_a_process_build(monkeypatch):
    source, dense = encoder_of("bert"), encoder_of("bert")
    with forms_of_a_gpu():
        expected = [network_of(each, seed=1, device=CPU)[0] for each in (source, dense)]
        monkeypatch.setattr(template, "build", None)
        assert same(network_of(source, seed=1, device=CPU)[0], expected[0])
        assert same(network_of(dense, seed=1, device=CPU)[0], expected[1])
    with pytest.raises(TypeError):  # a CPU has no template
        network_of(source, seed=1, device=CPU)


def test_where_a_copy_does_not_come_out_as_built_every_network_is_built(monkeypatch):
    source = encoder_of("bert")
    monkeypatch.setattr(template._Drawn, "draw", lambda self, seed: {})
    with forms_of_a_gpu():
        found = [network_of(source, seed=seed, device=CPU)[0] for seed in (1, 2)]
    assert not template._KEPT[0]._holds
    assert all(same(each, build(source, seed=seed)[0]) for seed, each in zip((1, 2), found, strict=True))
