"""The name of a study whose command gives none."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.driver.search.request import Search
from pipeline.task.loading import Task
from pipeline.trial.distillation import NONE


def study_name(request: Search, task: Task) -> str:
    """Return the name that a search gives to its study: the requested one, or the default."""
    return request.name or default_name(request, task)


def default_name(request: Search, task: Task) -> str:
    """Return task-model-method and what differs from the defaults: distillation, objective, seed.

    All in characters that a folder's name may have.
    """
    folder = (
        Path(request.model).expanduser().is_dir()
    )  # often called "model": the one above it is more telling
    parts = [task.name.split("/")[-1], model_name(request.model).split("/")[0 if folder else -1]]
    parts += [request.method] + ([request.distill] if request.distill != NONE else [])
    parts += [request.objective] if request.objective in ("macs", "latency") else []
    parts += [f"seed{request.seed}"] if request.seed else []
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts))


def model_name(model: str) -> str:
    """Return a hub name as it is; of a folder the last two parts of its path."""
    folder = Path(model).expanduser()
    return "/".join(folder.resolve().parts[-2:]) if folder.is_dir() else model
