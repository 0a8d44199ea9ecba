"""Compile a network's forward and backward pass while it trains, if times measured in training show that it pays.

    time eager steps ─ is enough training left? ─ compile ─ compiled and eager steps in turns ─ keep the faster kind

All of these are steps of the training; none is repeated. Where graphs of steps (step_graphs.py) have turned out faster
than eager steps, they take the place of these: of three kinds the fastest is kept. On a CPU a compiled step draws the
same random numbers as an eager one, but rounds differently: in bf16 gradients differ by 0.3 to 0.7 % of their norm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor
from torch._functorch import config as autograd_compiler

from pipeline.model.device import waits_cost
from pipeline.study.choices import COMPILE, COMPILE_OFF
from pipeline.study.records import BadInput
from pipeline.task.batches import Batch, encoder_inputs
from pipeline.trial.training.step_graphs import Outputs, StepGraphs, Work

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WARM_STEPS = 3  # not timed: memory is still being allocated
TIMED_STEPS = 20  # of each kind
# Seconds of eager training that must be left. Measured with SNIP by heads on MiniLM (6 layers), 2026-11-28, on a CPU:
# on two quiet cores compiling costs 25.5 s and takes 28 % off a step, repaid by 90 s; on one core of a busy machine
# 50 s and 12 to 18 % (bf16): 300 to 400 s. Without a method 8.2 s and 7 %: 117 s.
LEAST_S = 300.0
EAGER, GRAPH = "eager", "graph"  # kinds of steps that compiled ones are compared with
REASON_CHARACTERS = 200


def check_compile(choice: str, *, checkpointing: bool) -> None:
    """Check the option --compile.

    Raises:
        BadInput: there is no such choice, or it does not go with activation checkpointing.
    """
    if choice not in COMPILE:
        raise BadInput(f"--compile is {choice!r}. It is one of {', '.join(COMPILE)}.")
    if choice != COMPILE_OFF and checkpointing:
        raise BadInput(
            f"--compile is {choice!r}, and --activation-checkpointing is given. The compiler decides "
            "which activations are kept. Leave one of them out."
        )


def can_repay(steps_left: int, step_s: float) -> bool:
    """Return whether the steps that are left are long enough, uncompiled, to repay the time of compiling."""
    return steps_left * step_s >= LEAST_S


def compiler_settings(device: torch.device) -> dict[str, Any]:
    """Return how a network is compiled for a device.

    On a CPU once, for every length, on the trial's own core (inductor's pool of processes would use those of others),
    with eager's dropout. On a GPU lengths are few, and each is compiled by itself: kernels then know their sizes, and
    dropout is part of them.
    """
    if waits_cost(device):
        return {"dynamic": False}
    return {"dynamic": True, "options": {"compile_threads": 1, "fallback_random": True}}


@final
class Compilation:
    """The forward pass of one phase, eager or compiled, and the measured times of both.

    If the compiler is missing or fails, the phase stays uncompiled. The network itself is not changed: copies,
    evaluations and its state are those of an eager one.

    Attributes:
        on: whether the present step is compiled.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._verdict = ""  # until it is reached
        self.on = False
        self._seen = 0  # steps of this phase, in this process
        self._other = EAGER  # the kind of steps that are not compiled
        self._compile_s: float | None = None
        self._other_s: list[float] = []  # of steps
        # per token (of images, pixel value), since batches differ in length; by whether the step was compiled
        self._token_s: dict[bool, list[float]] = {False: [], True: []}
        self._compiled: Callable[..., Any] | None = None

    @contextmanager
    def of(self, model: PreTrainedModel) -> Iterator[None]:
        """Make `forward` that of the model, inside the context; hooks must have been placed before."""
        self._model, self._device = model, next(model.parameters()).device
        try:
            yield
        finally:
            if self._compiled is not None:
                self._compiled = None
                torch.compiler.reset()  # the next trial of this process compiles another network

    def forward(self, **inputs: Tensor) -> Any:
        """Return the model's output for a batch."""
        if not self.on:
            return self._model(**inputs)
        try:
            if self._compiled is None:
                self._compiled = torch.compile(self._model, **compiler_settings(self._device))
            # so a backward pass that cannot be compiled fails here, where the step can still be eager
            with autograd_compiler.patch(force_non_lazy_backward_lowering=True):
                return self._compiled(**inputs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # an error of the network itself is raised again by the eager pass
            reason = (str(error).strip() or "?").splitlines()[0][:REASON_CHARACTERS]
            self._settle(f"failed: {type(error).__name__}: {reason}", on=False)
            return self._model(**inputs)

    @contextmanager
    def step(self, batch: Batch, *, left: int, graphs: StepGraphs | None = None) -> Iterator[None]:
        """Decide on and time one step of training.

        Args:
            batch: of this step.
            left: steps that are left, this one included.
            graphs: of the phase's steps, if there are any; first it is decided whether these are used.
        """
        if self._verdict or (graphs is not None and not graphs.settled):
            yield
            return
        self._other = GRAPH if graphs is not None and graphs.on else EAGER
        self._begin(left)
        before = self._now()
        yield
        if not self._verdict:
            self._note(self._now() - before, next(iter(encoder_inputs(batch).values())).numel())

    def either(self, work: Work, replay: Work, batch: Batch) -> Outputs:
        """Do the work of the present step: compiled, or as `replay` does it."""
        return (work if self.on else replay)(batch)

    def _begin(self, left: int) -> None:
        """Choose whether this step is compiled."""
        turn = self._seen - WARM_STEPS - TIMED_STEPS
        if turn == 0 and not can_repay(left, fmean(self._other_s)):
            self._settle(f"off: {left} steps left could not repay it", on=False)
            return
        self.on = turn >= 0 and turn % 2 == 0

    def _note(self, seconds: float, tokens: int) -> None:
        """Record a step's time; reach the verdict after the last one that is timed."""
        self._seen += 1
        if self.on and self._compile_s is None:
            self._compile_s = seconds
        elif self._seen > WARM_STEPS:
            self._other_s += [] if self.on else [seconds]
            self._token_s[self.on].append(seconds / tokens)
        if len(self._token_s[True]) == TIMED_STEPS:
            other, compiled = (median(self._token_s[kind]) for kind in (False, True))
            faster = compiled < other
            self._settle("on" if faster else f"off: no faster than {self._other}", on=faster)

    def _settle(self, verdict: str, *, on: bool) -> None:
        self._verdict, self.on = verdict, on

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return self._clock()

    def facts(self) -> dict[str, str]:
        """Return for a record the verdict, the seconds of the first compiled step, and of a token in the others."""
        found = {"compile": self._verdict or "undecided: the phase was over"}
        if self._compile_s is not None:
            found["compile_seconds"] = f"{self._compile_s:.3g}"
        for kind, name in ((False, self._other), (True, "compiled")):
            if self._token_s[kind]:
                found[f"token_seconds/{name}"] = f"{median(self._token_s[kind]):.3g}"
        return found
