"""What a trial needs of a GPU's memory, as PyTorch counts it; on a CPU there is nothing to count."""

from __future__ import annotations

import gc

import torch

MEGABYTE = 1e6  # bytes
CURVE_SHARE = 0.05  # of a card, on which several trials may run


def count_anew(device: torch.device) -> None:
    """Forget the peaks of the trials that this process has run before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peaks_mb(device: torch.device) -> dict[str, float]:
    """Return the peaks of allocated and reserved memory since they were counted anew, and the card's size, in MB."""
    if device.type != "cuda":
        return {}
    found = {
        "peak_gpu_memory_mb": torch.cuda.max_memory_allocated(device),
        "peak_gpu_reserved_mb": torch.cuda.max_memory_reserved(device),
        "gpu_total_mb": torch.cuda.get_device_properties(device).total_memory,
    }
    return {name: count / MEGABYTE for name, count in found.items()}


def for_states_bytes(device: torch.device) -> int:
    """Return the memory for hidden states that a curve keeps from step to step: a small part of the device's."""
    if device.type != "cuda":
        return 2**30
    return int(CURVE_SHARE * torch.cuda.get_device_properties(device).total_memory)


def release(device: torch.device) -> None:
    """Give back the memory of networks that are gone; they lie in cycles with their hooks until those are collected."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
