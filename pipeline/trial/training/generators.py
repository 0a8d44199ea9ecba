"""The random generators that a training draws from, as a checkpoint keeps them."""

from __future__ import annotations

from typing import Any

import torch

from pipeline.methods.base import Run


def generators_of(device: torch.device, run: Run | None) -> dict[str, Any]:
    """Return the states of torch's own generators, and of the method's, if one watches."""
    found: dict[str, Any] = {"cpu_generator": torch.get_rng_state()}
    if device.type == "cuda":
        found["cuda_generator"] = torch.cuda.get_rng_state(device)
    if run is not None:
        found["method_generator"] = run.generator.get_state()
    return found


def load_generators(found: dict[str, Any], device: torch.device, run: Run | None) -> None:
    """Restore those that are there."""
    if run is not None and "method_generator" in found:
        run.generator.set_state(found["method_generator"].cpu())
    if "cuda_generator" in found and device.type == "cuda":
        torch.cuda.set_rng_state(found["cuda_generator"].cpu(), device)
    torch.set_rng_state(found["cpu_generator"].cpu())
