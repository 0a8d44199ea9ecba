"""In which numbers a network is trained and evaluated, by what the hardware multiplies natively.

Weights, optimizer and losses are fp32 always. bf16 and fp16 are autocast around the forward pass; fp16, whose
smallest numbers are too large for gradients, has its loss scaled (Micikevicius et al., arXiv 1710.03740). tf32 is
fp32 whose matrix products drop 13 bits of the factors; under it, bf16 and fp16 a GPU that has it also does what
stays fp32 that way (scores, norms).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast, final

import torch
from torch import Tensor

from pipeline.study.records import BadInput

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
PRECISIONS = ("auto", "bf16", "fp16", "tf32", "fp32")
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
# A scale below it: gradients of 65,504 · 2^10 and more, or a network that gives no numbers any more.
LEAST_SCALE = 2.0**-10


@dataclass(frozen=True)
class Hardware:
    """What a device multiplies natively."""

    name: str
    kind: str  # cpu, cuda
    bf16: bool
    fp16: bool
    tf32: bool

    def has(self, precision: str) -> bool:
        """Whether a precision is native; bf16 on a CPU is taken for it: it is emulated at a bearable speed."""
        return {
            "fp32": True,
            "tf32": self.tf32,
            "bf16": self.bf16 or self.kind == "cpu",
            "fp16": self.fp16,
        }[precision]


def hardware_of(device: torch.device) -> Hardware:
    """What torch says of a device."""
    if device.type == "cuda":
        return Hardware(
            torch.cuda.get_device_name(device),
            "cuda",
            bf16=torch.cuda.is_bf16_supported(including_emulation=False),
            fp16=True,
            tf32=torch.cuda.is_tf32_supported(),
        )
    flags = torch.cpu.get_capabilities()
    return Hardware(
        "this CPU",
        device.type,
        bf16=bool(flags.get("avx512_bf16") or flags.get("amx_bf16")),
        fp16=bool(flags.get("avx512_fp16") or flags.get("amx_fp16")),
        tf32=False,
    )


def choose_precision(wanted: str, hardware: Hardware) -> Precision:
    """`auto` is bf16 where it is native, else fp16 on a GPU and fp32 on a CPU.

    What is asked for and not there is fp32: a study that was made on other hardware can be opened anywhere.
    """
    if wanted == "auto":
        if hardware.bf16:
            return "bf16"
        return "fp16" if hardware.kind == "cuda" else "fp32"
    return cast("Precision", wanted) if hardware.has(wanted) else "fp32"


def resolve_precision(wanted: str, device: torch.device) -> Precision:
    """`choose_precision` for a device."""
    return choose_precision(wanted, hardware_of(device))


def check_precision(wanted: str, hardware: Hardware | None) -> None:
    """Refuses a precision that there is not, or not on this hardware; None: trials run elsewhere.

    Raises:
        BadInput: with what there is.
    """
    if wanted not in PRECISIONS:
        raise BadInput(f"--precision is one of {', '.join(PRECISIONS)}; asked for was {wanted!r}.")
    if wanted == "auto" or hardware is None or hardware.has(wanted):
        return
    there = [each for each in PRECISIONS[1:] if hardware.has(each)]
    raise BadInput(
        f"A precision is one that the hardware multiplies natively; {hardware.name} has {', '.join(there)}, "
        f"--precision is {wanted!r}. Leave it out: auto is {choose_precision('auto', hardware)} here."
    )


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """bf16 or fp16 autocast on `device`, or nothing."""
    return torch.autocast(device.type, dtype=HALF.get(precision, torch.bfloat16), enabled=precision in HALF)


@contextmanager
def multiplying(device: torch.device, precision: str) -> Iterator[None]:
    """Within it fp32 matrix products on a GPU are tf32, unless `precision` is fp32; for the whole process.

    By torch's older switch: once its newer one (`fp32_precision`) was used, reading the older one raises an error,
    and torch.compile reads it.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@final
class Scaling:
    """The loss's scale under fp16: halved at a step whose gradients overflow, which is then not made.

    Such a step is one like any other but for the weights: schedules and methods count it, and see gradients of 0.
    Nothing waits for the device: torch's fused AdamW takes the skipping from a tensor. In other precisions nothing
    is done.
    """

    def __init__(self, device: torch.device, precision: str) -> None:
        self.on = precision == "fp16"
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.on)

    def scaled(self, loss: Tensor) -> Tensor:
        """What is to be back-propagated."""
        return self._scaler.scale(loss) if self.on else loss

    def unscale(self, optimizer: torch.optim.Optimizer) -> Tensor | None:
        """Before clipping: gradients as they are without a scale, and whether this step is skipped [] (None: never).

        The gradients of a step that is skipped become 0: clipping, norms and methods that look at them see numbers.
        """
        if not self.on:
            return None
        self._scaler.unscale_(optimizer)
        found: dict[Any, Tensor] = self._scaler._found_inf_per_device(optimizer)
        (skipped,) = (each.bool().squeeze() for each in found.values())  # a network is on one device
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.masked_fill_(skipped, 0.0)
        return skipped

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer's step, unless it is skipped; then the scale of the next one."""
        if not self.on:
            optimizer.step()
            return
        self._scaler.step(optimizer)
        self._scaler.update()

    def lost(self) -> bool:
        """Whether no scale is small enough. Waits for the device."""
        return self.on and self._scaler.get_scale() < LEAST_SCALE

    def state(self) -> dict[str, Any]:
        """For a checkpoint. Waits for the device."""
        return self._scaler.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Takes up what `state` gave."""
        self._scaler.load_state_dict(state)
