"""The precision that a network is trained and evaluated in, by what the hardware multiplies natively.

Weights, optimizer and losses are always fp32. bf16 and fp16 are autocast around the forward pass; fp16, whose smallest
numbers are too large for gradients, has its loss scaled (Micikevicius et al., arXiv 1710.03740). tf32 is fp32 whose
matrix products drop 13 bits of the factors; a GPU that has it also uses it, under tf32, bf16 and fp16, for what stays
fp32 (scores, norms).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, cast, final

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipeline.model.device import waits_cost
from pipeline.study.choices import PRECISIONS
from pipeline.study.records import BadInput

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Below this scale gradients are 65,504 · 2^10 and more, or the network's outputs are no finite numbers.
LEAST_SCALE = 2.0**-10


@dataclass(frozen=True)
class Hardware:
    """The precisions that a device multiplies natively."""

    name: str
    kind: str  # cpu, cuda
    bf16: bool
    fp16: bool
    tf32: bool

    def has(self, precision: str) -> bool:
        """Return whether a precision is native; bf16 counts as native on any CPU, where emulation is fast enough."""
        return {
            "fp32": True,
            "tf32": self.tf32,
            "bf16": self.bf16 or self.kind == "cpu",
            "fp16": self.fp16,
        }[precision]


def hardware_of(device: torch.device) -> Hardware:
    """Read the hardware of a device from torch."""
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


def choose_precision(choice: str, hardware: Hardware) -> Precision:
    """Resolve a choice: `auto` is bf16 where it is native, else fp16 on a GPU and fp32 on a CPU.

    A precision that the hardware does not have becomes fp32: a study from other hardware can be opened anywhere.
    """
    if choice == "auto":
        if hardware.bf16:
            return "bf16"
        return "fp16" if hardware.kind == "cuda" else "fp32"
    return cast("Precision", choice) if hardware.has(choice) else "fp32"


def resolve_precision(choice: str, device: torch.device) -> Precision:
    """Resolve a choice for a device, as `choose_precision` does."""
    return choose_precision(choice, hardware_of(device))


def check_precision(choice: str, hardware: Hardware | None) -> None:
    """Check the option --precision.

    Args:
        choice: one of PRECISIONS.
        hardware: of the trials; None if they run on other machines.

    Raises:
        BadInput: there is no such precision, or not on this hardware.
    """
    if choice not in PRECISIONS:
        raise BadInput(f"--precision is {choice!r}. It is one of {', '.join(PRECISIONS)}.")
    if choice == "auto" or hardware is None or hardware.has(choice):
        return
    native = [each for each in PRECISIONS[1:] if hardware.has(each)]
    raise BadInput(
        f"--precision is {choice!r}, which {hardware.name} does not multiply natively; it has {', '.join(native)}. "
        f"Leave it out: auto is {choose_precision('auto', hardware)} here."
    )


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return bf16 or fp16 autocast on `device`; for other precisions it is disabled."""
    return torch.autocast(device.type, dtype=HALF.get(precision, torch.bfloat16), enabled=precision in HALF)


def training_attention(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Return what chooses the kernel of attention for a forward pass that gradients follow.

    PyTorch 2.13's fused attention on a CPU has a backward pass in bf16 that takes 2 to 15 times as long as that of
    separate products, most at short rows (docs/log.md); in fp32, and without gradients, it is the faster one.
    """
    slow = not waits_cost(device) and precision == "bf16"
    return sdpa_kernel(SDPBackend.MATH) if slow else nullcontext()


@contextmanager
def gpu_kernels(device: torch.device, precision: str) -> Iterator[None]:
    """Choose a GPU's kernels in the whole process, inside the context; on a CPU do nothing.

    fp32 matrix products are tf32, unless `precision` is fp32. cuDNN's attention is off: it builds a plan for each shape
    (0.4 s each in FunASR issue 3704), and batches and cut layers have many. The first uses torch's older switch: once
    the newer one (`fp32_precision`) was set, reading the older one raises an error, and torch.compile reads it.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    cudnn: bool = torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        torch.backends.cuda.enable_cudnn_sdp(cudnn)


@final
class LossScale:
    """The scale of the loss under fp16: halved at a step whose gradients overflow, which is then skipped.

    A skipped step only leaves the weights unchanged: schedules and methods count it, with gradients of 0. Nothing
    waits for the device: torch's fused AdamW reads from a tensor whether to skip. In other precisions all of this does
    nothing.
    """

    def __init__(self, device: torch.device, precision: str) -> None:
        self.on = precision == "fp16"
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.on)

    def scaled(self, loss: Tensor) -> Tensor:
        """Return the scaled loss, which is to be back-propagated."""
        return self._scaler.scale(loss) if self.on else loss

    def unscale(self, optimizer: torch.optim.Optimizer) -> Tensor | None:
        """Divide the gradients by the scale, before they are clipped; return whether this step is skipped.

        The gradients of a skipped step become 0, so that clipping, norms and methods work on numbers.

        Returns:
            A boolean tensor []; None if no step is ever skipped.
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
        """Make the optimizer's step, unless it is skipped; then update the scale."""
        if not self.on:
            optimizer.step()
            return
        self._scaler.step(optimizer)
        self._scaler.update()

    def lost(self) -> bool:
        """Return whether no scale is small enough. Waits for the device."""
        return self.on and self._scaler.get_scale() < LEAST_SCALE

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint. Waits for the device."""
        return self._scaler.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._scaler.load_state_dict(state)
