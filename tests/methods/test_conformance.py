"""The laws that every pruning method keeps (pipeline/trial/conformance), in each of its forms."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from typing import get_args, get_type_hints

import pytest
import torch

from pipeline.methods.base import OneShot, PruningMethod
from pipeline.methods.registry import METHODS, PACKAGED
from pipeline.model.anatomy import Anatomy
from pipeline.model.architectures import ARCHITECTURES
from pipeline.study.records import ParamValue, Scores
from pipeline.task.batches import Batch
from pipeline.trial.conformance import LAWS, Subject, check_method, subject_of
from pipeline.trial.conformance.laws import (
    scores_fit_the_anatomy_and_are_finite,
    the_penalty_is_a_finite_scalar_and_back_propagates,
)
from pipeline.trial.conformance.training_laws import (
    a_second_round_goes_on_from_the_first_ones_cut,
    activation_checkpointing_changes_nothing,
    interrupted_and_continued_gives_the_same_scores,
    replayed_steps_train_as_eager_ones,
)
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
    "fisher": [
        {"level": level, "rearrange": rearrange}
        for level, rearrange in (("neuron", True), ("block", False), ("head-only", True))
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
    "obs": [
        {"level": level, "errors": errors}
        for level, errors in (("neuron", "loss"), ("head", "output"), ("block", "loss"))
    ],
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
# Scores of these are ranks within a matrix: which of two weights with about the same score comes first is rounding's.
RANKS = {"movement"}


def subject(name: str, fields: dict[str, ParamValue]) -> Subject:
    return subject_of(
        METHODS[name],
        fields,
        draws=name in DRAWS,
        ranks=name in RANKS or fields.get("scope") == "matrix",
        fitted=tiny_pruner() if METHODS[name].needs_fit else None,
    )


def subjects(name: str, found: list[dict[str, ParamValue]]) -> list[Subject]:
    """A method in its forms: the first on BERT and, turn by turn, another kind of layer; all others on BERT.

    The first on every architecture is one of the long tests.
    """
    first, *others = [subject(name, fields) for fields in found]
    kinds = [kind for kind in first.architectures if kind != "bert"]
    turn = kinds[list(SETTINGS).index(name) % len(kinds)]
    return [
        replace(first, architectures=("bert", turn)),
        *(replace(other, architectures=("bert",)) for other in others),
    ]


BY_METHOD = [subjects(name, found) for name, found in SETTINGS.items()]
CASES = [case for forms in BY_METHOD for case in forms]
# A form's own parts are its scores and its penalty; that training goes on where it stopped is a method's.
LONG_FOR_OTHER_FORMS = (
    interrupted_and_continued_gives_the_same_scores,
    activation_checkpointing_changes_nothing,
    replayed_steps_train_as_eager_ones,
    a_second_round_goes_on_from_the_first_ones_cut,
)
LAW_OF_CASE = [
    pytest.param(
        law,
        case,
        id=f"{law.__name__}-{case}",
        marks=[pytest.mark.long] * (place > 0 and law in LONG_FOR_OTHER_FORMS),
    )
    for law in LAWS
    for forms in BY_METHOD
    for place, case in enumerate(forms)
]


def test_the_laws_are_tested_on_every_method() -> None:
    assert SETTINGS.keys() == PACKAGED.keys()
    for case in CASES:
        allowed = get_type_hints(case.method)
        for key, value in case.fields.items():
            choices = get_args(allowed[key])
            assert not choices or value in choices


@pytest.mark.parametrize(("law", "case"), LAW_OF_CASE)
def test_every_method_keeps_the_laws(law: Callable[[Subject], None], case: Subject) -> None:
    law(case)


@pytest.mark.long
@pytest.mark.parametrize("case", [forms[0] for forms in BY_METHOD], ids=str)
def test_every_method_scores_every_architecture(case: Subject) -> None:
    plain = case.method.needs_plain_scores
    kinds = tuple(kind for kind, row in ARCHITECTURES.items() if row.plain_scores or not plain)
    everywhere = replace(case, architectures=kinds)
    scores_fit_the_anatomy_and_are_finite(everywhere)
    the_penalty_is_a_finite_scalar_and_back_propagates(everywhere)


class Broken(OneShot):
    """Ranks heads by their number, and leaves a hook on the first layer at each call of `score`."""

    def score(self, model: torch.nn.Module, anatomy: Anatomy, batches: object) -> Scores:
        model.register_forward_hook(lambda *_: None)
        heads = torch.arange(anatomy.dense_layers * anatomy.heads_per_layer, dtype=torch.float64)
        return Scores(heads=heads.reshape(anatomy.dense_layers, -1).numpy())


class Numbered(OneShot):
    """Ranks heads by their number."""

    def score(self, model: torch.nn.Module, anatomy: Anatomy, batches: object) -> Scores:
        heads = torch.arange(anatomy.dense_layers * anatomy.heads_per_layer, dtype=torch.float64)
        return Scores(
            heads=torch.where(present(anatomy), heads.reshape(anatomy.dense_layers, -1), torch.nan).numpy()
        )


def present(anatomy: Anatomy) -> torch.Tensor:
    return torch.from_numpy(anatomy.present.heads)


def test_a_method_that_breaks_a_law_is_refused_with_the_law() -> None:
    with pytest.raises(AssertionError, match="those that are gone hold NaN; Broken"):
        check_method(Broken)
    with pytest.raises(AssertionError, match="Permuting heads permutes the scores of heads"):
        check_method(Numbered)
    check_method(Numbered, draws=True)  # whose scores may belong to a unit's number


class Scheduled(Numbered):
    """Pulls at the weights by a strength that grows with the steps, in Python: a graph holds that of its capture."""

    @contextmanager
    def watch(self, model, anatomy, optimizer, run):
        self.steps, self.weight = 0, anatomy.layers[0].ffn.output.weight
        handle = optimizer.register_step_post_hook(self.count)
        yield
        handle.remove()

    def count(self, *_: object) -> None:
        self.steps += 1

    def penalty(self, batch: Batch) -> torch.Tensor:
        return self.steps * self.weight.square().sum()


class Reading(Scheduled):
    """Reads its penalty on the host."""

    def penalty(self, batch: Batch) -> torch.Tensor:
        return self.weight.square().sum().item() * self.weight.square().sum()


class Splitting(Scheduled):
    """Says that the pass alone may be replayed, and leaves its penalty, which follows the steps, inside."""

    replays, splits = False, True


@pytest.mark.parametrize("broken", [Scheduled, Splitting])
def test_a_method_whose_steps_cannot_be_replayed_may_not_promise_it(broken: type[PruningMethod]) -> None:
    promise = "replays" if broken.replays else "splits"
    with pytest.raises(
        AssertionError, match=f"With `{promise}`, replayed steps train as eager ones do: .*weight"
    ):
        replayed_steps_train_as_eager_ones(Subject(broken))


def test_a_method_that_reads_a_number_on_the_host_cannot_be_captured() -> None:
    with pytest.raises(AssertionError, match=r"can be captured, but here: failed: .*_local_scalar_dense"):
        replayed_steps_train_as_eager_ones(Subject(Reading))
