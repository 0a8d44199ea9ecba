"""How networks run while they are timed: on a CPU as they are, on a GPU as a server runs them.

A GPU's eager pass at one row is launching, which no cut makes shorter. So whole networks are captured graphs there, in
half precision where the card has it, after so long a load that its clock has risen. Times from block to block are
taken in an eager pass that is held back until all of it is launched.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from pipeline.model.device import CUDA
from pipeline.trial.training.precision import HALF, resolve_precision
from pipeline.trial.training.step_graphs import EAGER_STEPS, Capture, cuda_capture

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WARM_S = 0.5
HOLD_CYCLES = 40_000_000  # of a GPU's clock, about 20 ms: longer than launching a pass takes


def _nothing() -> None: ...


@final
@dataclass(frozen=True)
class Serving:
    """A form that networks run in.

    `capture` makes a graph of a pass, None: it is launched kernel by kernel; `warm_s` are the seconds of load before
    times are taken; `hold` keeps the device waiting while the host launches what follows.
    """

    precision: str = "fp32"
    capture: Capture | None = None
    warm_s: float = 0.0
    hold: Callable[[], None] = _nothing

    @property
    def name(self) -> str:
        """What a latency's conditions say of it."""
        return self.precision if self.capture is None else f"{self.precision}, graph"

    def eager(self, model: PreTrainedModel, inputs: dict[str, Tensor]) -> Callable[[], Any]:
        """Return what runs a network once, launched by the host."""
        if self.capture is None:
            return lambda: model(**inputs)
        bare = {
            name: value for name, value in inputs.items() if name != "attention_mask"
        }  # nothing is padded
        return lambda: model(**bare)

    def runner(self, model: PreTrainedModel, inputs: dict[str, Tensor]) -> Callable[[], Any]:
        """Return what runs a network once, as a server does."""
        run = self.eager(model, inputs)
        if self.capture is None:
            return run
        with torch.inference_mode():
            for _ in range(EAGER_STEPS):
                run()
            replay, _ = self.capture(lambda: (run(), ())[1])
        return replay

    def warm(self, run: Callable[[], Any]) -> None:
        """Keep the device at work with a network, before times are taken."""
        end = time.monotonic() + self.warm_s
        while time.monotonic() < end:
            run()

    def checked(self, model: PreTrainedModel, inputs: dict[str, Tensor]) -> Serving:
        """Return this form, or the one without graphs where a pass of this network cannot be captured."""
        try:
            self.runner(model, inputs)
        except Exception:  # what capturing raises is the library's and the driver's matter
            return replace(self, capture=None)
        return self


AS_THEY_ARE = Serving()


def serving_on(device: torch.device) -> Serving:
    """Return the form that networks are served in on a device."""
    if device.type != CUDA:
        return AS_THEY_ARE
    precision = resolve_precision("auto", device)
    hold = lambda: torch.cuda._sleep(HOLD_CYCLES)  # type: ignore[no-untyped-call]  # noqa: E731
    return Serving(precision, lambda work: cuda_capture()(work), WARM_S, hold)


def dtype_of(serving: Serving) -> torch.dtype:
    """Return the type of a served network's weights."""
    return HALF.get(serving.precision, torch.float32)
