"""The laws that every pruning method keeps (design.md, "Laws to test"), at each of its levels."""

import copy
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.allocation import removal_order
from pipeline.batches import encoder_inputs
from pipeline.methods import METHODS, PruningMethod, Run
from pipeline.records import UNIT_KINDS, Scores
from pipeline.surgery import cut

# A method's fields but for `level`, with all that it can do switched on.
SETTINGS = {
    "chance": {},
    "snip": {
        "penalty_strength": 0.5,
        "shape": "log",
        "delta": 0.1,
        "norm": "rms",
        "reference": "pretrained",
        "unit_weight": "parameters",
        "ffn_weight": 1.5,
        "spectral_bound": "relative",
        "bound_absolute": 2.0,
        "bound_relative": 0.5,
        "bound_scope": "branch",
        "bound_warmup": 0.5,
    },
}
LOOKS_AT_NOTHING = {"chance"}  # the random control: it ranks numbers of units, not what they do
STEPS = 4


def level_of(name: str) -> tuple[str, ...]:
    return get_args(get_type_hints(METHODS[name])["level"])


CASES = [(name, level) for name in METHODS for level in level_of(name)]
every_method = pytest.mark.parametrize(("name", "level"), CASES)


def make(name: str, level: str) -> PruningMethod:
    return METHODS[name](level=level, **SETTINGS[name])


def run_of(seed: int = 0) -> Run:
    return Run(STEPS, train_rows=12, target=0.5, generator=torch.Generator().manual_seed(seed))


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05)


def tune(method: PruningMethod, model, anatomy, batch, *, steps: range = range(STEPS), seed: int = 0) -> None:
    optimizer = optimizer_of(model)
    model.train()
    with method.watch(model, anatomy, optimizer, run_of(seed)):
        for step in steps:
            torch.manual_seed(step)  # dropout
            loss = model(**encoder_inputs(batch)).logits.square().mean()
            (loss + method.penalty(batch)).backward()
            optimizer.step()
            optimizer.zero_grad()
    model.eval()


def filled(scores: Scores) -> dict[str, np.ndarray]:
    return {kind: value for kind in UNIT_KINDS if (value := getattr(scores, kind)) is not None}


def same(a: Scores, b: Scores) -> bool:
    a, b = filled(a), filled(b)
    return a.keys() == b.keys() and all(np.array_equal(a[kind], b[kind], equal_nan=True) for kind in a)


def traces(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[object]:
    """Whatever a method may hang up somewhere, counted."""
    hooks = [
        len(found)
        for module in model.modules()
        for attribute, found in vars(module).items()
        if attribute.endswith("_hooks")
    ]
    modules = [(name, type(module), vars(module).get("forward")) for name, module in model.named_modules()]
    tensors = [(name, len(p._backward_hooks or ())) for name, p in model.named_parameters()]
    steps = (len(optimizer._optimizer_step_pre_hooks), len(optimizer._optimizer_step_post_hooks))
    return [hooks, modules, tensors, steps, [len(group["params"]) for group in optimizer.param_groups]]


def test_the_laws_are_tested_on_every_method():
    assert SETTINGS.keys() == METHODS.keys()
    assert {name for name, _ in CASES} == METHODS.keys()


@every_method
def test_scores_fit_the_anatomy_and_are_finite(name, level, architecture, make_model, make_batch):
    model, anatomy = make_model(architecture)
    batch = make_batch(architecture)
    method = make(name, level)
    tune(method, model, anatomy, batch)
    scores = method.score(model, anatomy, [batch])
    shapes = {"heads": (3, 4), "attention": (3,), "neurons": (3, 64), "ffn": (3,), "layers": (3,)}
    for kind, values in filled(scores).items():
        assert values.shape == shapes[kind]
        assert np.isfinite(values).all()
        assert values.dtype == np.float64


@every_method
def test_scores_after_a_cut_are_those_of_what_is_left(name, level, make_model, make_batch):
    model, anatomy = make_model()
    masks = anatomy.present
    masks.heads[0] = masks.neurons[0] = masks.layers[0] = False  # a layer
    masks.neurons[1] = False  # an ffn block
    masks.heads[2, :3] = False  # heads
    anatomy = cut(model, anatomy, masks)
    batch = make_batch()
    method = make(name, level)
    tune(method, model, anatomy, batch)
    scores = method.score(model, anatomy, [batch])
    order = removal_order(scores, anatomy, score_per_parameter=True, min_attention_blocks=0)  # checks them
    there = {
        "heads": masks.heads,
        "attention": masks.heads.any(axis=1),
        "neurons": masks.neurons,
        "ffn": masks.neurons.any(axis=1),
        "layers": masks.layers,
    }
    for kind, values in filled(scores).items():
        assert np.array_equal(np.isnan(values), ~there[kind])
    assert len(order) == sum(there[kind].sum() for kind in filled(scores))


@every_method
def test_the_same_seed_gives_the_same_scores(name, level, make_model, make_batch):
    start, batch, found = make_model(), make_batch(), []
    for _ in range(2):
        model, anatomy = copy.deepcopy(start)
        method = make(name, level)
        tune(method, model, anatomy, batch)
        found.append(method.score(model, anatomy, [batch]))
    assert same(*found)


@every_method
@pytest.mark.parametrize("training", [True, False])
def test_score_changes_nothing(name, level, training, make_model, make_batch):
    model, anatomy = make_model()
    batch = make_batch()
    method = make(name, level)
    tune(method, model, anatomy, batch)
    model.train(training)
    anatomy.layers[0].attention_output.weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    flags = [p.requires_grad for p in model.parameters()]
    hung = traces(model, optimizer_of(model))
    torch.manual_seed(0)
    generator = torch.get_rng_state()
    first = method.score(model, anatomy, [batch])
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(p.grad is None for p in model.parameters())
    assert {module.training for module in model.modules()} == {training}
    assert traces(model, optimizer_of(model)) == hung
    assert torch.equal(torch.get_rng_state(), generator)
    assert same(first, method.score(model, anatomy, [batch]))


@every_method
def test_score_leaves_nothing_behind_when_it_fails(name, level, make_model, make_batch):
    if name in LOOKS_AT_NOTHING:
        return
    model, anatomy = make_model()
    method = make(name, level)
    model.train()
    hung = traces(model, optimizer_of(model))
    broken = {"input_ids": torch.full((1, 3), 10**6), "attention_mask": torch.ones(1, 3, dtype=torch.int64)}
    with pytest.raises(IndexError):
        method.score(model, anatomy, [broken])
    assert traces(model, optimizer_of(model)) == hung
    assert model.training


@every_method
@pytest.mark.parametrize("error", [None, KeyError("interrupted")])
def test_nothing_is_left_behind_after_watch(name, level, error, make_model, make_batch):
    model, anatomy = make_model()
    batch = make_batch()
    method = make(name, level)
    optimizer = optimizer_of(model)
    before = traces(model, optimizer)
    try:
        with method.watch(model, anatomy, optimizer, run_of()):
            loss = model(**encoder_inputs(batch)).logits.square().mean()
            (loss + method.penalty(batch)).backward()
            optimizer.step()
            model(**encoder_inputs(batch))  # a forward pass whose penalty nobody asks for
            if error is not None:
                raise error
    except KeyError:
        pass
    assert traces(model, optimizer) == before
    still = copy.deepcopy(model.state_dict())
    optimizer.zero_grad()
    optimizer.step()
    assert all(torch.equal(value, still[key]) for key, value in model.state_dict().items())


@every_method
def test_the_penalty_is_a_finite_scalar_and_back_propagates(
    name, level, architecture, make_model, make_batch
):
    model, anatomy = make_model(architecture)
    batch = make_batch(architecture)
    method = make(name, level)
    model.train()
    with method.watch(model, anatomy, optimizer_of(model), run_of()):
        loss = model(**encoder_inputs(batch)).logits.square().mean()
        penalty = method.penalty(batch)
        (loss + penalty).backward()
    assert penalty.shape == ()
    assert penalty.dtype == torch.float32
    assert penalty.isfinite()
    assert penalty >= 0
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


@every_method
def test_permuting_heads_permutes_scores(name, level, make_model, make_batch):
    if name in LOOKS_AT_NOTHING:
        return
    start, batch = make_model(), make_batch()
    order = np.array([2, 0, 3, 1])
    permuted, anatomy = copy.deepcopy(start)
    features = torch.from_numpy((order[:, None] * 8 + np.arange(8)).ravel())
    part = anatomy.layers[1]
    with torch.no_grad():
        for linear in (part.query, part.key, part.value):
            linear.weight.copy_(linear.weight[features])
            linear.bias.copy_(linear.bias[features])
        part.attention_output.weight.copy_(part.attention_output.weight[:, features])
    plain = filled(make(name, level).score(*start, [batch]))
    moved = filled(make(name, level).score(permuted, anatomy, [batch]))
    for kind, expected in plain.items():
        if kind == "heads":
            expected[1] = expected[1][order]
        assert moved[kind] == pytest.approx(expected, rel=1e-4)


@every_method
@pytest.mark.parametrize("stop", [0, 1, STEPS - 1])
def test_stopped_at_any_step_and_continued_gives_the_same_scores(name, level, stop, make_model, make_batch):
    start, batch = make_model(), make_batch()
    whole, whole_anatomy = copy.deepcopy(start)
    through = make(name, level)
    tune(through, whole, whole_anatomy, batch)
    halves, anatomy = copy.deepcopy(start)
    before, after = make(name, level), make(name, level)
    tune(before, halves, anatomy, batch, steps=range(stop))
    after.load({key: value.clone() for key, value in before.state().items()})
    tune(after, halves, anatomy, batch, steps=range(stop, STEPS))
    assert same(through.score(whole, whole_anatomy, [batch]), after.score(halves, anatomy, [batch]))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), halves.parameters(), strict=True))
