"""What is refused of a search before any data is read."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.driver.also import check_also
from pipeline.driver.execute import Cluster, Resources, check_resources
from pipeline.driver.search.early import check_choices, check_method_name
from pipeline.driver.search.latency import check_grid
from pipeline.driver.search.request import (
    DENSE,
    OWN,
    SEARCHED,
    SPARSITY,
    Search,
)
from pipeline.driver.search.shared_store import check_ledger, check_objects
from pipeline.methods.registry import METHODS, in_one_round, looks_only, ranks_weights
from pipeline.model.anatomy import find_architecture
from pipeline.model.device import CPU
from pipeline.model.folder import BUILTINS
from pipeline.study.choices import COMPILE_OFF
from pipeline.study.records import BadInput, Params
from pipeline.study.space import SECTIONS, Space, load_space, parse_space, read_document, sections_of
from pipeline.trial.distillation import NONE
from pipeline.trial.settings import LATENCY, UNIFORM
from pipeline.trial.training.compilation import check_compile
from pipeline.trial.training.precision import Hardware, check_precision, hardware_of

# Settings of trials that are not trained: no epoch, and nothing that says how one would be.
UNTRAINED: Params = {"tune_epochs": 0, "recover_epochs": 0, "learning_rate": 0.0}


@dataclass(frozen=True)
class Checked:
    """What follows from the options of a search alone."""

    objective: str
    space: Space
    given: frozenset[str]  # keys of the space that the request itself sets


def check(request: Search) -> Checked:
    """Refuse what can be refused without reading data.

    Raises:
        BadInput: with the first thing that is wrong.
    """
    check_method_name(request)
    check_choices(request)
    objective = objective_of(request)
    check_grid(request.latency_grid, objective=objective)
    request.budget.check()
    check_gpu_hours(request, request.gpus_per_trial)
    check_precision(request.precision, _hardware(request.resources))
    check_compile(request.compile, checkpointing=request.activation_checkpointing)
    _check_stack(request)
    if request.checkpoint_seconds <= 0:
        raise BadInput(
            f"--checkpoint-seconds is {request.checkpoint_seconds:g}. Running trials write "
            "checkpoints. Give a number above 0."
        )
    check_also(request.also)
    check_resources(request.resources)
    check_objects(request)
    check_ledger(request)
    if request.no_training:
        _check_needs_no_training(request)
    space = space_of(request)
    _check_allocation(request, space, objective)
    return Checked(objective, space, _given_keys(request))


def _check_allocation(request: Search, space: Space, objective: str) -> None:
    allocations = space.keys["allocation"].values
    if ranks_weights(request.method) and UNIFORM in allocations:
        raise BadInput(
            f"allocation = {UNIFORM!r} cuts layers and widths, and {request.method} sets single "
            "weights to zero. Leave it out of the space file, or choose a method that cuts."
        )
    if LATENCY in allocations and objective != LATENCY:
        raise BadInput(
            f"The objective is {objective}, and allocation = {LATENCY!r} orders units by the "
            "milliseconds of the study's table. Give --objective latency, or leave allocation out of "
            "the space file."
        )
    if UNIFORM in allocations and not space.may_have("rescore", 0):
        raise BadInput(
            f"[rescore] asks to score units anew, and allocation = {UNIFORM!r} orders groups of them "
            "once. Leave one of the two out of the space file."
        )


def _check_stack(request: Search) -> None:
    if request.stack < 1:
        raise BadInput(f"--stack is {request.stack}. A stack is of two trials or more, 1 is none.")
    if request.stack == 1:
        return
    if not METHODS[request.method].replays:
        able = ", ".join(name for name in METHODS if METHODS[name].replays)
        raise BadInput(
            f"--stack does not go with {request.method}, which changes the network's pass that trials "
            f"of one stack share. It goes with {able}. Leave it out, or choose one of them."
        )
    others = {
        "--distill": request.distill != NONE,
        "--compile": request.compile != COMPILE_OFF,
        "--activation-checkpointing": request.activation_checkpointing,
        "--precision fp16": request.precision == "fp16",
        "--no-training": request.no_training,
    }
    if given := [option for option, is_given in others.items() if is_given]:
        raise BadInput(f"--stack does not go with {', '.join(given)}. Leave one of them out.")


def check_on(request: Search, cluster: Cluster, model_type: str) -> None:
    """Refuse what trials on this cluster cannot do, or need not: a budget of GPUs, a stack.

    Args:
        request: the search.
        cluster: what it runs on.
        model_type: of its model.

    Raises:
        BadInput: trials run on CPUs, or on several GPUs each, or the model's attention makes masks of its own.
    """
    check_gpu_hours(request, cluster.gpus_per_trial)
    if request.stack > 1 and not find_architecture(model_type).plain_scores:
        raise BadInput(
            f"--stack is {request.stack}, and {model_type} makes a mask of its own in each pass; "
            "networks of one stack read one that is made beforehand. Leave it out."
        )
    if request.stack > 1 and cluster.cards > 1:
        raise BadInput(
            f"--stack is {request.stack}, and --gpus-per-trial is {cluster.gpus_per_trial:g}. The "
            "trials of a stack have one GPU. Leave one of them out."
        )
    if request.stack > 1 and cluster.device == CPU:
        raise BadInput(
            f"--stack is {request.stack}, and these trials run on CPUs. A stack of trials spares a "
            "GPU's launches. Leave it out."
        )


def _check_needs_no_training(request: Search) -> None:
    if not looks_only(request.method):
        able = ", ".join(name for name in METHODS if looks_only(name))
        raise BadInput(
            f"{request.method} learns while a network is trained, and --no-training trains none. Give one of {able} by "
            "--method, or leave --no-training out."
        )
    if request.start not in (None, OWN):
        raise BadInput(
            f"--start is {request.start!r}. Without training trials start from the model as it came. "
            "Leave it out, or --no-training."
        )
    if request.distill != NONE:
        raise BadInput(
            f"--distill is {request.distill!r}. Without training nothing learns from the dense "
            "network. Leave it out, or --no-training."
        )


def objective_of(request: Search) -> str:
    """Return what is searched beside the metric.

    Raises:
        BadInput: the method's networks cannot differ in it.
    """
    zeroes = ranks_weights(request.method)
    if zeroes and request.objective in SEARCHED:
        raise BadInput(
            f"--objective is {request.objective!r}, and {request.method} sets single weights to zero: "
            f"its networks differ in {SPARSITY} alone, none is smaller or faster. Leave it out, or "
            "take a method that cuts."
        )
    if not zeroes and request.objective == SPARSITY:
        raise BadInput(
            f"--objective is {SPARSITY!r}, and {request.method} cuts: its networks have no zeros. "
            "Leave it out, or take a method on single weights."
        )
    return request.objective or (SPARSITY if zeroes else "compression")


def kept_space(checked: Checked, frozen: str) -> Space:
    """Return the space of a study that has begun: its own, unless the request sets a key to something else.

    Packaged ranges and defaults may have changed since the study began; the command that began it goes on.

    Args:
        checked: of the request.
        frozen: the study's space, as its spec has it.
    """
    own = parse_space(frozen)
    same = all(own.keys.get(name) == checked.space.keys.get(name) for name in checked.given)
    return own if same else checked.space


def _by_time(request: Search) -> Params:
    """Return how units are ordered where time is the objective, unless the request says otherwise."""
    document = {} if request.space is None else read_document(request.space)
    return {} if request.objective != LATENCY or "allocation" in document else {"allocation": LATENCY}


def _fixed(request: Search, *, own: bool = False) -> Params:
    start: Params = {"start_dense": request.start == DENSE} if request.start is not None or own else {}
    return start | UNTRAINED if request.no_training else start


def _given_keys(request: Search) -> frozenset[str]:
    """Return the keys of the space that the request itself sets."""
    document = {} if request.space is None else read_document(request.space)
    sections = sections_of(BUILTINS[request.model]) if request.model in BUILTINS else ()
    scratch = [key for section in sections for key in document.get(section, {})]
    return frozenset({*document, *scratch, *_fixed(request)} - {*SECTIONS})


def space_of(request: Search, *, own: bool = False) -> Space:
    """Return the space of a search; with `own`, of trials that start from the model as it came.

    Raises:
        BadInput: a file of it is not valid, or has what the model or the method cannot.
    """
    fixed = _fixed(request, own=own) | _by_time(request)
    pretrained = request.model not in BUILTINS
    space = load_space(
        request.method,
        file=request.space,
        pretrained=pretrained,
        fixed=fixed,
        distill=request.distill,
        family=BUILTINS.get(request.model, ""),
    )
    if not pretrained and space.may_have("cap_pretrained", True):
        raise BadInput(
            f"{request.model} has no pretrained weights. cap_pretrained contrasts with the pretrained "
            "model. Leave it false."
        )
    if in_one_round(request.method) and not (space.keys["rounds"].fixed and space.may_have("rounds", 1)):
        raise BadInput(
            f"{request.space} has [rounds], and {request.method} sets weights to zero as it trains, "
            "by a schedule of its own in one round. Take that key out of the file."
        )
    return space


def _hardware(resources: Resources) -> Hardware | None:
    """Return the trials' hardware; None if they run elsewhere.

    What a machine there does not support falls back to fp32 on it, as its records show.
    """
    if resources.address is not None:
        return None
    cuda = torch.cuda.is_available() and resources.gpus_per_trial != 0
    return hardware_of(torch.device("cuda" if cuda else "cpu"))


def check_gpu_hours(request: Search, gpus_per_trial: float | None) -> None:
    """Refuse a budget of GPUs for trials that have none; None: that is not known yet.

    Raises:
        BadInput: they run on CPUs.
    """
    if request.gpu_hours is not None and gpus_per_trial == 0:
        raise BadInput(
            "--gpu-hours is given, and these trials run on CPUs. Give --minutes instead, or --gpus-per-trial."
        )
