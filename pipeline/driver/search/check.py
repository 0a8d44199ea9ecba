"""What is refused of a search before any data is read."""

from __future__ import annotations

import torch

from pipeline.driver.execute import Resources, check_resources
from pipeline.driver.search.dense import objective_of
from pipeline.driver.search.latency import check_grid
from pipeline.driver.search.request import KEPT, SCHEDULERS, STARTS, Search
from pipeline.driver.search.shared_store import check_ledger, check_objects
from pipeline.methods.registry import METHODS, in_one_round
from pipeline.model.resolve import BUILTIN
from pipeline.study.ledger import check_sampler
from pipeline.study.records import BadInput, Params
from pipeline.study.space import Space, load_space
from pipeline.trial.distillation import DISTILLATIONS, NONE
from pipeline.trial.training.compilation import check_compile
from pipeline.trial.training.precision import Hardware, check_precision, hardware_of


def check(wanted: Search) -> Space:
    """Refuses what can be refused without reading data; returns the space.

    Raises:
        BadInput: with the first thing that is wrong.
    """
    if wanted.method not in METHODS:
        raise BadInput(
            f"A search runs one of the methods {', '.join(METHODS)}; asked for was {wanted.method!r}."
        )
    check_grid(wanted.latency_grid, objective=objective_of(wanted))
    wanted.budget.check()
    check_gpu_hours(wanted, wanted.resources.gpus_per_trial)
    check_precision(wanted.precision, _hardware(wanted.resources))
    check_compile(wanted.compile, checkpointing=wanted.activation_checkpointing)
    if wanted.scheduler not in SCHEDULERS:
        raise BadInput(f"--scheduler is one of {', '.join(SCHEDULERS)}; asked for was {wanted.scheduler!r}.")
    if wanted.keep_weights not in KEPT:
        raise BadInput(f"--keep-weights is one of {', '.join(KEPT)}; asked for was {wanted.keep_weights!r}.")
    if wanted.checkpoint_seconds <= 0:
        raise BadInput(
            f"A trial is written down now and then; --checkpoint-seconds is {wanted.checkpoint_seconds:g}. "
            "Give a number above 0."
        )
    check_sampler(wanted.sampler)
    check_resources(wanted.resources)
    check_objects(wanted)
    check_ledger(wanted)
    if wanted.start not in (None, *STARTS):
        raise BadInput(f"--start is one of {', '.join(STARTS)}; asked for was {wanted.start!r}.")
    if wanted.distill not in (NONE, *DISTILLATIONS):
        raise BadInput(
            f"--distill is one of {', '.join((NONE, *DISTILLATIONS))}; asked for was {wanted.distill!r}."
        )
    return _space(wanted)


def _space(wanted: Search) -> Space:
    fixed: Params = {} if wanted.start is None else {"start_dense": wanted.start == "dense"}
    pretrained = wanted.model != BUILTIN
    space = load_space(
        wanted.method, file=wanted.space, pretrained=pretrained, fixed=fixed, distill=wanted.distill
    )
    if not pretrained and space.may_have("cap_pretrained", True):
        raise BadInput(
            f"cap_pretrained contrasts with the pretrained model; {wanted.model} has no pretrained weights. Leave it "
            "false."
        )
    if in_one_round(wanted.method) and not (space.keys["rounds"].fixed and space.may_have("rounds", 1)):
        raise BadInput(
            f"A method that sets weights to zero as it trains fills the tuning with its own schedule, in one round; "
            f"{wanted.method} is such a method, {wanted.space} has [rounds]. Take that key out of the file."
        )
    return space


def _hardware(resources: Resources) -> Hardware | None:
    """Of the trials; None if they run elsewhere: what a machine there has not is fp32 on it, as its records say."""
    if resources.address is not None:
        return None
    cuda = torch.cuda.is_available() and resources.gpus_per_trial != 0
    return hardware_of(torch.device("cuda" if cuda else "cpu"))


def check_gpu_hours(wanted: Search, gpus_per_trial: float | None) -> None:
    """Refuses a budget of GPUs for trials that have none; None: that is not known yet.

    Raises:
        BadInput: they run on CPUs.
    """
    if wanted.gpu_hours is not None and gpus_per_trial == 0:
        raise BadInput(
            "--gpu-hours is a budget of GPUs; these trials run on CPUs. Give --minutes instead, or --gpus-per-trial."
        )
