"""A copy is that of `copy.deepcopy`, of every known architecture; what it shares, and what belongs to itself."""

import copy

import pytest
import torch

from pipeline.model.architectures import ARCHITECTURES
from pipeline.model.copies import copied
from pipeline.model.surgery import cut
from pipeline.task.batches import encoder_inputs
from pipeline.trial.conformance.networks import tiny_batch, tiny_network


@pytest.mark.parametrize("kind", sorted(ARCHITECTURES))
def test_it_is_that_of_the_library_and_belongs_to_itself(kind: str) -> None:
    model, anatomy = tiny_network(kind)
    inputs = encoder_inputs(tiny_batch(kind))
    known, _ = copy.deepcopy((model, anatomy))
    own = next(linear for parts in anatomy.layers for linear in parts.maps.values()).weight
    for mine in (None, [], [own]):
        other, its = copied(model, anatomy, own=mine)
        assert [(name, type(module)) for name, module in other.named_modules()] == [
            (name, type(module)) for name, module in known.named_modules()
        ]
        for one, of_library in zip(other.modules(), known.modules(), strict=True):
            assert sorted(vars(one)) == sorted(vars(of_library))
        assert not {*other.modules()} & {*model.modules()}
        assert {linear for parts in its.layers for linear in parts.maps.values()} <= {*other.modules()}
        tensors = zip(other.parameters(), model.parameters(), strict=True)
        shared = [ours is theirs for ours, theirs in tensors]
        assert shared.count(False) == (len(shared) if mine is None else len(mine))
        with torch.no_grad():
            assert other(**inputs).logits.equal(model(**inputs).logits)
        # cutting it changes neither the network nor its configuration
        before, layers = {n: t.clone() for n, t in model.state_dict().items()}, model.config.num_hidden_layers
        masks = its.present
        masks.heads[0, 1:], masks.neurons[1, ::2], masks.layers[2] = False, False, False
        masks.heads[2], masks.neurons[2] = False, False
        cut(other, its, masks)
        assert model.config.num_hidden_layers == layers
        assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


def test_hooks_are_not_copied_and_tied_tensors_stay_tied() -> None:
    model, anatomy = tiny_network("bert")
    first, second = (parts.ffn_out for parts in anatomy.layers[:2])
    assert first is not None
    assert second is not None
    second.weight = first.weight
    first.register_forward_hook(lambda *_: 1 / 0)
    first.register_forward_pre_hook(lambda *_: 1 / 0)
    other, its = copied(model, anatomy)
    one, two = (parts.ffn_out for parts in its.layers[:2])
    assert one is not None
    assert two is not None
    assert one.weight is two.weight is not first.weight
    other(**encoder_inputs(tiny_batch("bert")))  # no hook divides by zero
