"""The name of a study whose command gives none."""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256
from pathlib import Path

from pipeline.driver.search.request import Search
from pipeline.model.folder import as_folder
from pipeline.task.loading import Task
from pipeline.trial.distillation import NONE

GENERAL = (
    "model",
    "models",
    "best",
    "last",
    "final",
    "output",
    "checkpoint",
)  # what people call a model's folder
CHECKPOINT = re.compile(r"checkpoint-\d+")
LONGEST = 32  # characters of a task or a model in a study's name


def study_name(request: Search, task: Task) -> str:
    """Return the name that a search gives to its study: the requested one, or the default."""
    return request.name or default_name(request, task)


def default_name(request: Search, task: Task) -> str:
    """Return task-model-method and what differs from the defaults: distillation, objective, training, vocabulary, seed.

    All in characters that a folder's name may have; of other characters a hash is added.
    """
    parts = [_slug(task.name.split("/")[-1]), _slug(_model_part(request.model))]
    return "-".join([*parts, *_rest(request)])


def _rest(request: Search) -> list[str]:
    parts = [request.method] + ([request.distill] if request.distill != NONE else [])
    parts += [request.objective] if request.objective in ("macs", "latency") else []
    parts += ["no-training"] if request.no_training else []
    parts += ["trimmed"] if request.trim_vocabulary else []
    return parts + ([f"seed{request.seed}"] if request.seed else [])


def earlier_name(request: Search, task: Task) -> str:
    """Return the default name as versions before 2026-11-30 gave it: their studies go on under it."""
    model = model_name(request.model).split("/")[0 if _folder(request.model) else -1]
    old = "-".join([task.name.split("/")[-1], model, *_rest(request)])
    return re.sub(r"[^A-Za-z0-9._-]+", "-", old)


def model_name(model: str) -> str:
    """Return a hub name as it is; of a folder the last two parts of its path."""
    folder = _folder(model)
    return "/".join(folder.parts[-2:]) if folder else model


def _model_part(model: str) -> str:
    """Return what a study's name has of a model; a folder often has a general name, then of the one above it, too."""
    folder = _folder(model)
    if folder is None:
        return model.split("/")[-1]
    if folder.name.lower() in GENERAL or CHECKPOINT.fullmatch(folder.name):
        return (
            "-".join(folder.parts[-2:]).strip("/") if folder.name.lower() != "model" else folder.parent.name
        )
    return folder.name


def _folder(model: str) -> Path | None:
    folder = as_folder(model)
    return folder.resolve() if folder is not None and folder.is_dir() else None


def _slug(text: str) -> str:
    """Return a text in letters and digits of ASCII; if more than separators is lost, or it is long, with a hash.

    >>> _slug("sst2"), _slug("my task"), _slug("Größe"), _slug("评论")
    ('sst2', 'my-task', 'Gro-e-9cb86d', '1d5fcd')
    """
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(each for each in plain if not unicodedata.combining(each))
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")
    lost = any(each.isalnum() and not each.isascii() for each in text) or not slug
    if not lost and len(slug) <= LONGEST:
        return slug
    return "-".join(part for part in (slug[:LONGEST], sha256(text.encode()).hexdigest()[:6]) if part)
