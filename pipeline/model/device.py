"""The device that networks are trained and measured on."""

from __future__ import annotations

import torch


def default_device() -> torch.device:
    """Return this process's GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
