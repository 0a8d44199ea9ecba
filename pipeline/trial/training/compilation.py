"""Whether a network's forward and backward pass are compiled while it trains: by times that are measured in training.

    eager steps are timed ─ is enough left? ─ compile ─ compiled and eager steps by turns ─ the faster one

All of them are steps of the training, none is made twice. A compiled step draws the same random numbers as an eager
one, but rounds otherwise: in bf16 gradients differ by 0.3 to 0.7 % of their norm.
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

from pipeline.study.records import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OFF, AUTO = CHOICES = ("off", "auto")
WARM_STEPS = 3  # not timed: memory is still being found
TIMED_STEPS = 20  # of each kind
# Eager training that must be left. SNIP by heads on MiniLM (6 layers), 2026-11-28, a CPU: on two quiet cores compiling
# costs 25.5 s and takes 28 % off a step, repaid by 90 s; on one core of a busy machine 50 s and 12 to 18 % (bf16):
# 300 to 400 s. Without a method 8.2 s and 7 %: 117 s.
LEAST_S = 300.0
REASON_CHARACTERS = 200


def check_compile(wanted: str, *, checkpointing: bool) -> None:
    """Refuses what there is not.

    Raises:
        BadInput: with what there is.
    """
    if wanted not in CHOICES:
        raise BadInput(f"--compile is one of {', '.join(CHOICES)}; asked for was {wanted!r}.")
    if wanted != OFF and checkpointing:
        raise BadInput(
            f"A compiled network chooses itself which activations it keeps; --compile is {wanted!r}, and "
            "--activation-checkpointing is given. Leave one of them out."
        )


def worth_trying(steps_left: int, eager_s: float) -> bool:
    """Whether so many steps of so many seconds can repay what compiling costs."""
    return steps_left * eager_s >= LEAST_S


@final
class Compiling:
    """One phase's forward pass, eager or compiled, and what was found of both.

    A compiler that is not there, or fails, leaves the phase eager. The network itself is not touched: copies,
    evaluations and its state know nothing of it.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._verdict = ""  # until it stands
        self._on = False  # the step at hand is compiled
        self._seen = 0  # steps of this phase, in this process
        self._tokens = 0  # of the step at hand
        self._compile_s: float | None = None
        self._eager_s: list[float] = []  # of steps
        # of a token, since batches differ in length; by whether it was compiled
        self._token_s: dict[bool, list[float]] = {False: [], True: []}
        self._compiled: Callable[..., Any] | None = None

    @contextmanager
    def of(self, model: PreTrainedModel) -> Iterator[None]:
        """Within it `forward` is the model's; hooks that compiled code is to run have been placed."""
        self._model, self._device = model, next(model.parameters()).device
        try:
            yield
        finally:
            if self._compiled is not None:
                self._compiled = None
                torch.compiler.reset()  # the next trial of this process has another network, and counts anew

    def forward(self, **inputs: Tensor) -> Any:
        """What the model makes of a batch."""
        self._tokens += inputs["input_ids"].numel()
        if not self._on:
            return self._model(**inputs)
        try:
            if self._compiled is None:
                # on the trial's own core (inductor's pool of processes would take others'), with eager's dropout
                options: dict[str, Any] = {"compile_threads": 1, "fallback_random": True}
                self._compiled = torch.compile(self._model, dynamic=True, options=options)
            # a backward pass that cannot be compiled fails here then, where eager can still take over
            with autograd_compiler.patch(force_non_lazy_backward_lowering=True):
                return self._compiled(**inputs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever the network itself raises comes again
            said = (str(error).strip() or "?").splitlines()[0][:REASON_CHARACTERS]
            self._settle(f"failed: {type(error).__name__}: {said}", on=False)
            return self._model(**inputs)

    @contextmanager
    def step(self, *, left: int) -> Iterator[None]:
        """Around a step of training, of `left` with it."""
        if self._verdict:
            yield
            return
        self._begin(left)
        self._tokens, before = 0, self._now()
        yield
        if not self._verdict:
            self._note(self._now() - before)

    def _begin(self, left: int) -> None:
        """Chooses this step's kind."""
        turn = self._seen - WARM_STEPS - TIMED_STEPS
        if turn == 0 and not worth_trying(left, fmean(self._eager_s)):
            self._settle(f"off: {left} steps left could not repay it", on=False)
            return
        self._on = turn >= 0 and turn % 2 == 0

    def _note(self, seconds: float) -> None:
        """Takes a step's time down, and decides after the last one that is timed."""
        self._seen += 1
        if self._on and self._compile_s is None:
            self._compile_s = seconds
        elif self._seen > WARM_STEPS:
            self._eager_s += [] if self._on else [seconds]
            self._token_s[self._on].append(seconds / self._tokens)
        if len(self._token_s[True]) == TIMED_STEPS:
            eager, compiled = (median(self._token_s[kind]) for kind in (False, True))
            faster = compiled < eager
            self._settle("on" if faster else "off: no faster than eager", on=faster)

    def _settle(self, verdict: str, *, on: bool) -> None:
        self._verdict, self._on = verdict, on

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return self._clock()

    def facts(self) -> dict[str, str]:
        """For a record: what was decided and why, seconds of the first compiled step, and of a token in the others."""
        found = {"compile": self._verdict or "undecided: the phase was over"}
        if self._compile_s is not None:
            found["compile_seconds"] = f"{self._compile_s:.3g}"
        for kind, name in ((False, "eager"), (True, "compiled")):
            if self._token_s[kind]:
                found[f"token_seconds/{name}"] = f"{median(self._token_s[kind]):.3g}"
        return found
