"""The laws that every pruning method keeps (design.md, "Laws to test"), in each of its forms."""

import copy
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.methods.base import PruningMethod, Run
from pipeline.methods.registry import METHODS, ranks_weights
from pipeline.model.anatomy import Anatomy
from pipeline.model.surgery import cut
from pipeline.model.unstructured import Matrices, matrices
from pipeline.study.records import UNIT_KINDS, ParamValue, Scores
from pipeline.study.space import load_space
from pipeline.task.batches import encoder_inputs
from pipeline.trial.curve import Ranking, UnitRanking, WeightRanking
from pipeline.trial.curve.allocation import removal_order
from pipeline.trial.training.loop import Loop, LoopState
from pipeline.trial.training.phases import Phase
from pipeline.trial.training.recipe import Recipe
from tests.kit.pruner import tiny_pruner

# What a case switches on: a method's fields, as few as its forms need.
SNIP = {
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
}
GRADUAL = {"start_fraction": 0.0, "end_fraction": 0.7, "initial_sparsity": 0.2, "interval": 2}
PRIOR = {"spike_variance": 1e-3, "slab_variance": 0.1, "mixture": 0.1, "mixture_end": 1e-2}
UNCERTAIN = {"beta_sensitivity": 0.85, "beta_uncertainty": 0.95, "uncertainty": True}
MOVED = {"score_learning_rate": 0.1, "start_fraction": 0.0, "end_fraction": 0.6}
SETTINGS: dict[str, list[dict[str, ParamValue]]] = {
    "chance": [{"level": level} for level in ("block", "head", "neuron", "head-only", "layer")],
    "chance-weights": [{}],
    "deepcuts": [
        {"saliency": saliency, "noise": 1e-6, "cycles": 2, "scope": scope}
        for saliency, scope in (("cam", "network"), ("smooth", "matrix"))
    ],
    "deepcuts-lifted": [
        {"saliency": saliency, "noise": 1e-6, "cycles": 2} for saliency in ("cam-shifted", "combined")
    ],
    "dsp": [
        {
            "level": level,
            "estimator": estimator,
            "gate_learning_rate": 0.5,
            "temperature_start": 10.0,
            "temperature_end": 1e-8,
            "cooldown": 0.7,
        }
        for level, estimator in (
            ("head-only", "gumbel"),
            ("neuron", "gumbel"),
            ("neuron", "straight-through"),
        )
    ],
    "first-order": [
        {"level": level, "estimate": estimate, "normalise": normalise}
        for level, estimate, normalise in (
            ("block", "absolute", "none"),
            ("head-only", "square", "none"),
            ("neuron", "absolute", "layer"),
        )
    ],
    "l0": [
        {
            "level": level,
            "penalty_strength": 1.0,
            "gate_learning_rate": 0.1,
            "beta": 0.66,
            "initial_open": 0.9,
        }
        for level in ("block", "neuron")
    ],
    "layerdrop": [{"strategy": strategy} for strategy in ("alternate", "contribution")],
    "magnitude": [GRADUAL | {"scope": scope} for scope in ("matrix", "network")],
    "magnitude-lifted": [GRADUAL],
    "mgpp": [GRADUAL | PRIOR],
    "mgpp-lifted": [GRADUAL | PRIOR],
    "mlpruning": [
        {
            "level": "neuron",
            "final_penalty": 2e4,
            "score_learning_rate": 0.1,
            "share_learning_rate": 0.5,
            "initial_share": 2.0,
        }
    ],
    "movement": [MOVED],
    "movement-block": [
        MOVED | {"level": level, "scope": scope} for level, scope in (("neuron", "kind"), ("head", "network"))
    ],
    "mpruner": [{"stride": 1}],
    "platon": [GRADUAL | UNCERTAIN],
    "platon-lifted": [GRADUAL | UNCERTAIN],
    "schubert": [
        {"level": level, "penalty_strength": 1.0, "gate_learning_rate": 0.05} for level in ("head", "neuron")
    ],
    "smp": [{"scope": scope} for scope in ("layer", "network")],
    "snip": [SNIP | {"level": level} for level in ("block", "head")],
    "soft-movement": [MOVED | {"penalty_strength": 10.0}],
    "soft-movement-block": [MOVED | {"level": "neuron", "penalty_strength": 10.0}],
}
# Scores of these are drawn by the trial's generator, unit for unit: they belong to a unit's number.
DRAWS = {"chance", "chance-weights", "dsp", "l0"}
STEPS = 4


@dataclass(frozen=True)
class Case:
    """A method with its fields."""

    name: str
    fields: dict[str, ParamValue]

    def make(self) -> PruningMethod:
        method = METHODS[self.name](**self.fields)
        if method.needs_fit:
            method.equip(tiny_pruner())
        return method

    def __str__(self) -> str:
        return " ".join([self.name, *(str(v) for v in self.fields.values() if isinstance(v, str))])


CASES = [Case(name, fields) for name, found in SETTINGS.items() for fields in found]
every_method = pytest.mark.parametrize("case", CASES, ids=str)


def run_of(case: Case, seed: int = 0) -> Run:
    by_threshold = "threshold" in load_space(case.name, file=None, pretrained=True).keys
    target, threshold = (None, 0.3) if by_threshold else (0.5, None)
    return Run(STEPS, 12, target, torch.Generator().manual_seed(seed), threshold)


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05)


def tune(method: PruningMethod, model, anatomy, batch, *, case: Case, dropout: bool = True) -> None:
    optimizer = optimizer_of(model)
    model.train(dropout)
    with method.watch(model, anatomy, optimizer, run_of(case)):
        for step in range(STEPS):
            torch.manual_seed(step)  # dropout
            loss = model(**encoder_inputs(batch)).logits.square().mean()
            (loss + method.penalty(batch)).backward()
            optimizer.step()
            optimizer.zero_grad()
    model.eval()


def filled(scores: Scores | Matrices) -> dict[str, np.ndarray]:
    """Scores by kind of unit, or by matrix."""
    if not isinstance(scores, Scores):
        return {name: values.numpy() for name, values in scores.items()}
    return {kind: value for kind in UNIT_KINDS if (value := getattr(scores, kind)) is not None}


def ranked(scores: Scores | Matrices, anatomy: Anatomy, *, per_parameter: bool, attention: int) -> Ranking:
    """What they come to; it checks them."""
    if not isinstance(scores, Scores):
        return WeightRanking(scores, anatomy)
    order = removal_order(scores, anatomy, score_per_parameter=per_parameter, min_attention_blocks=attention)
    return UnitRanking(order, anatomy)


def same(a: Scores | Matrices, b: Scores | Matrices) -> bool:
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
    for case in CASES:
        allowed = get_type_hints(METHODS[case.name])
        for key, value in case.fields.items():
            choices = get_args(allowed[key])
            assert not choices or value in choices


@every_method
def test_scores_fit_the_anatomy_and_are_finite(case, architecture, make_model, make_batch):
    model, anatomy = make_model(architecture)
    batch = make_batch(architecture)
    method = case.make()
    tune(method, model, anatomy, batch, case=case)
    scores = method.score(model, anatomy, [batch])
    shapes = {"heads": (3, 4), "attention": (3,), "neurons": (3, 64), "ffn": (3,), "layers": (3,)}
    if ranks_weights(case.name):
        shapes = {name: tuple(weight.shape) for name, weight in matrices(anatomy).items()}
        assert scores.keys() == shapes.keys()
    for kind, values in filled(scores).items():
        assert values.shape == shapes[kind]
        assert np.isfinite(values).all()
        assert values.dtype == (np.float32 if ranks_weights(case.name) else np.float64)


@every_method
def test_scores_after_a_cut_are_those_of_what_is_left(case, make_model, make_batch):
    model, anatomy = make_model()
    masks = anatomy.present
    masks.heads[0] = masks.neurons[0] = masks.layers[0] = False  # a layer
    masks.neurons[1] = False  # an ffn block
    masks.heads[2, :3] = False  # heads
    anatomy = cut(model, anatomy, masks)
    batch = make_batch()
    method = case.make()
    tune(method, model, anatomy, batch, case=case)
    scores = method.score(model, anatomy, [batch])
    ranking = ranked(scores, anatomy, per_parameter=True, attention=0)
    if isinstance(ranking, WeightRanking):
        assert scores.keys() == matrices(anatomy).keys()
        return
    there = {
        "heads": masks.heads,
        "attention": masks.heads.any(axis=1),
        "neurons": masks.neurons,
        "ffn": masks.neurons.any(axis=1),
        "layers": masks.layers,
    }
    for kind, values in filled(scores).items():
        assert np.array_equal(np.isnan(values), ~there[kind])
    assert len(ranking.order) == sum(there[kind].sum() for kind in filled(scores))


@every_method
def test_the_same_seed_gives_the_same_scores(case, make_model, make_batch):
    start, batch, found = make_model(), make_batch(), []
    for _ in range(2):
        model, anatomy = copy.deepcopy(start)
        method = case.make()
        tune(method, model, anatomy, batch, case=case)
        found.append(method.score(model, anatomy, [batch]))
    assert same(*found)


@every_method
@pytest.mark.parametrize("training", [True, False])
def test_score_changes_nothing(case, training, make_model, make_batch):
    model, anatomy = make_model()
    batch = make_batch()
    method = case.make()
    tune(method, model, anatomy, batch, case=case)
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
def test_score_leaves_nothing_behind_when_it_fails(case, make_model, make_batch):
    model, anatomy = make_model()
    method = case.make()
    tune(method, model, anatomy, make_batch(), case=case)
    model.train()
    hung = traces(model, optimizer_of(model))
    broken = {
        "input_ids": torch.full((1, 3), 10**6),
        "attention_mask": torch.ones(1, 3, dtype=torch.int64),
        "labels": torch.zeros(1, dtype=torch.int64),
    }
    with suppress(IndexError):  # what looks at no data does not fail
        method.score(model, anatomy, [broken])
    assert traces(model, optimizer_of(model)) == hung
    assert model.training


@every_method
@pytest.mark.parametrize("error", [None, KeyError("interrupted")])
def test_nothing_is_left_behind_after_watch(case, error, make_model, make_batch):
    model, anatomy = make_model()
    batch = make_batch()
    method = case.make()
    optimizer = optimizer_of(model)
    before = traces(model, optimizer)
    try:
        with method.watch(model, anatomy, optimizer, run_of(case)):
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
def test_the_penalty_is_a_finite_scalar_and_back_propagates(case, architecture, make_model, make_batch):
    model, anatomy = make_model(architecture)
    batch = make_batch(architecture)
    method = case.make()
    model.train()
    with method.watch(model, anatomy, optimizer_of(model), run_of(case)):
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
def test_permuting_heads_permutes_scores(case, make_model, make_batch):
    if case.name in DRAWS:
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
    found = []
    for model, its_anatomy in (start, (permuted, anatomy)):
        method = case.make()
        tune(method, model, its_anatomy, batch, dropout=False, case=case)
        found.append(filled(method.score(model, its_anatomy, [batch])))
    plain, moved = found
    if case.fields.get("scope") == "matrix" or case.name == "movement":
        return  # ranks: which of two weights with about the same score comes first is rounding's
    for kind, expected in plain.items():
        if kind == "heads":
            expected[1] = expected[1][order]
        if kind in ("1.query", "1.key", "1.value"):
            expected = expected[features]
        if kind == "1.attention_output":
            expected = expected[:, features]
        assert moved[kind] == pytest.approx(expected, rel=1e-3, abs=1e-6 * float(np.nanmax(np.abs(expected))))


class Interrupted(Exception):  # noqa: N818
    """The process is gone."""


@dataclass
class Listener:
    """Takes the loop's state down after `stop` steps, as a checkpoint would, and ends it there."""

    stop: int | None = None
    taken: LoopState | None = None
    done: int = 0
    values: list[dict[str, float]] = field(default_factory=list)

    def on_epoch(self, epoch: float, values: dict[str, float]) -> None:
        self.values.append(values)
        assert all(np.isfinite(value) for value in values.values())

    def on_step(self, state: Callable[[], LoopState]) -> None:
        self.done += 1
        if self.done == self.stop:
            self.taken = copy.deepcopy(state())
            raise Interrupted


def loop_of(case: Case, method: PruningMethod, model, anatomy, split, listener: Listener, seed: int) -> Loop:
    recipe = Recipe(
        learning_rate=0.01,
        batch_size=3,
        warmup_fraction=0.1,
        weight_decay=0.1,
        precision="fp32",
        regression=False,
    )
    phase = Phase("tune", 0, 0, STEPS, 3)
    return Loop(model, anatomy, split, phase, recipe, listener, method, run_of(case, seed))


@every_method
@pytest.mark.parametrize("stop", [1, STEPS - 1, STEPS])
def test_interrupted_at_any_step_and_continued_gives_the_same_scores(
    case, stop, make_model, make_split, make_batch
):
    start, split, batch = make_model(), make_split(), make_batch()
    whole, whole_anatomy = copy.deepcopy(start)
    through = case.make()
    loop_of(case, through, whole, whole_anatomy, split, Listener(), seed=5).fit()
    first, anatomy = copy.deepcopy(start)
    listener = Listener(stop)
    with pytest.raises(Interrupted):
        loop_of(case, case.make(), first, anatomy, split, listener, seed=5).fit()
    second, anatomy = copy.deepcopy(start)
    after = case.make()
    loop_of(case, after, second, anatomy, split, Listener(), seed=5).fit(listener.taken)
    assert same(through.score(whole, whole_anatomy, [batch]), after.score(second, anatomy, [batch]))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


@every_method
def test_activation_checkpointing_changes_nothing(case, make_model, make_split, make_batch):
    """Layers are run twice, with dropout: losses, penalties, weights, scores are the same, bit for bit."""
    start, split, batch = make_model(), make_split(), make_batch()
    assert start[0].config.hidden_dropout_prob > 0
    found = []
    for checkpointing in (False, True):
        model, anatomy = copy.deepcopy(start)
        method, listener = case.make(), Listener()
        loop = loop_of(case, method, model, anatomy, split, listener, seed=5)
        runs = counted(model)
        replace(loop, recipe=replace(loop.recipe, checkpointing=checkpointing)).fit()
        assert runs[0] == STEPS * (1 + checkpointing), "each layer once a step, or twice"
        copy.deepcopy(model)  # as a curve does: nothing is left on it
        found.append((model, listener.values, method.score(model, anatomy, [batch]), method.state()))
    (plain, told, scores, state), (other, its_told, its_scores, its_state) = found
    assert told == its_told
    assert same(scores, its_scores)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), other.parameters(), strict=True))
    assert state.keys() == its_state.keys()
    assert all(torch.equal(value, its_state[name]) for name, value in state.items())


def counted(model) -> list[int]:
    """How often the first layer's query has been computed since."""
    counts = [0]
    query = next(module for name, module in model.named_modules() if name.endswith("query"))
    query.register_forward_hook(lambda *_: counts.__setitem__(0, counts[0] + 1))
    return counts


@every_method
def test_a_second_round_goes_on_from_the_first_ones_cut(case, make_model, make_split, make_batch):
    model, anatomy = make_model()
    split, batch = make_split(), make_batch()
    method = case.make()
    for cut_layer in (1, None):
        loop_of(case, method, model, anatomy, split, Listener(), seed=5).fit()
        scores = method.score(model, anatomy, [batch])
        ranking = ranked(scores, anatomy, per_parameter=False, attention=1)
        if isinstance(ranking, WeightRanking):
            ranking.take(model, ranking.at(target=0.3))
        elif cut_layer is not None:
            masks = anatomy.present
            masks.neurons[cut_layer] = masks.heads[cut_layer, 1:] = False
            anatomy = cut(model, anatomy, masks)


@every_method
def test_state_is_tensors_that_a_file_can_hold(case, make_model, make_batch, tmp_path):
    model, anatomy = make_model()
    method = case.make()
    tune(method, model, anatomy, make_batch(), case=case)
    torch.save(method.state(), tmp_path / "state.pt")
    read = torch.load(tmp_path / "state.pt", weights_only=True)
    fresh = case.make()
    fresh.load(read)
    assert fresh.state().keys() == read.keys()
    assert all(torch.equal(value, read[name]) for name, value in fresh.state().items())
