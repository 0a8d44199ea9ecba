"""What `prunefront --version` says."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("torch", "transformers", "ray", "optuna", "mlflow")


def versions() -> dict[str, str]:
    """Return versions of this program, Python and the libraries, and what computes here; imports none of them."""
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    return {
        "prunefront": _version("prunefront"),
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{name: _version(name) for name in LIBRARIES},
        "cores": str(os.cpu_count()),
        "GPUs": f"{gpus} (NVIDIA)" if gpus else "none seen",
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
