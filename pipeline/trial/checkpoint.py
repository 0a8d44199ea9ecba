"""A half-trained trial <-> a folder of its attempt.

A checkpoint is written under a temporary name and renamed when whole; the newest whole one of any attempt is
read. An attempt writes only its own folder and only reads older ones, so that a worker that was cut off from
its driver spoils nothing. Older checkpoints of the same attempt go when a newer one is whole.
"""

from __future__ import annotations

import shutil
from dataclasses import astuple, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from pipeline.study.records import Array, Masks, TrialRecord
from pipeline.study.store import dropped, load_record, save_record, sent
from pipeline.study.whole_file import whole_folder
from pipeline.trial.distillation import read_arrays, write_arrays
from pipeline.trial.training.loop import LoopState

PREFIX = "checkpoint-"


@dataclass(frozen=True)
class Checkpoint:
    """Where a trial stands: the phase it is in, that phase's loop, and what was found before it."""

    phase: int  # index into the trial's phases
    loop: LoopState
    masks: Masks | None  # what the rounds before this phase left; None = nothing is cut yet
    so_far: TrialRecord  # points and history of the phases that are done, and this one's history


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint into an attempt's folder, then removes the attempt's older ones.

    Raises:
        OSError: the disk is full or gone; older checkpoints are still there.
        ObjectStoreLost: it is whole, but only on this machine.
    """
    older = _checkpoints(folder)
    name = f"{PREFIX}{checkpoint.phase:03d}-{checkpoint.loop.step:07d}"
    final = folder / name
    with whole_folder(final) as part:
        _write(part, checkpoint)
    sent(final, wait=False)  # a trial does not stand still for it
    for path in older:
        if path != final:
            shutil.rmtree(path, ignore_errors=True)
            dropped(path)


def save_snapshot(folder: Path, round_: int, features: Array) -> None:
    """Writes what a round's network makes of the training rows [R, d] into an attempt's folder.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / _snapshot(round_)
    write_arrays(path, {"features": features})
    sent(path)


def load_snapshot(attempts: list[Path], round_: int) -> Array | None:
    """What the newest attempt that has it wrote of a round; None if none has."""
    for folder in reversed(attempts):
        path = folder / _snapshot(round_)
        if path.exists():
            return read_arrays(path)["features"]
    return None


def _snapshot(round_: int) -> str:
    return f"snapshot-{round_:02d}.safetensors"


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    state: dict[str, Any] = {"phase": checkpoint.phase, "step": checkpoint.loop.step}
    state["tensors"] = checkpoint.loop.tensors
    if checkpoint.masks is not None:
        state["masks"] = [torch.from_numpy(mask) for mask in astuple(checkpoint.masks)]
    try:
        with (folder / "state.pt").open("wb") as file:
            torch.save(state, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):  # torch's writer covers what Python's file has to say
            raise error.__context__ from None
        raise
    save_record(folder, checkpoint.so_far)


def load(attempts: list[Path]) -> Checkpoint | None:
    """The checkpoint that is farthest on in the attempts' folders; one that cannot be read is passed over."""
    found = sorted((path for folder in attempts for path in _checkpoints(folder)), key=lambda p: p.name)
    for path in reversed(found):
        try:
            state = torch.load(path / "state.pt", weights_only=True, map_location="cpu")
            masks = Masks(*(mask.numpy() for mask in state["masks"])) if "masks" in state else None
            loop = LoopState(state["step"], state["tensors"])
            return Checkpoint(state["phase"], loop, masks, load_record(path))
        except (OSError, RuntimeError, ValueError, KeyError, EOFError, UnpicklingError):  # torn, or not ours
            continue
    return None


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{PREFIX}*")) if folder.is_dir() else []
