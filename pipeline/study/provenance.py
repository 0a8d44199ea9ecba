"""The provenance of a result: versions, commit, hardware."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("prunefront", "torch", "transformers", "optuna", "ray", "mlflow", "numpy")


@cache
def provenance() -> dict[str, str]:
    """Return the versions of the packages that affect a result, the commit of a source checkout, the machine."""
    facts = {f"version/{name}": _version(name) for name in PACKAGES}
    facts["version/python"] = platform.python_version()
    facts["commit"] = _commit()
    facts["cpu"] = _cpu()
    facts["cpu_cores"] = str(os.cpu_count())
    facts["host"] = platform.node()
    return facts


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """Return the commit of the checkout that holds this file (with + if changed), or "" in an installed wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        run = {"cwd": root, "capture_output": True, "text": True, "timeout": 10}
        head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, **run).stdout.strip()  # type: ignore[call-overload]
        changed = subprocess.run(  # type: ignore[call-overload]
            ["git", "status", "--porcelain", "--untracked-files=no"], check=True, **run
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{head}+" if changed else str(head)


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
