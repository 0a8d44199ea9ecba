"""Checkpoints of a trial, in the folders of its attempts.

A checkpoint is written under a temporary name and renamed when it is whole; the newest whole one of any attempt is
read. An attempt writes only to its own folder and only reads older ones, so that a worker that was cut off from its
driver can spoil nothing. Older checkpoints of the same attempt are deleted when a newer one is whole.
"""

from __future__ import annotations

import shutil
from dataclasses import astuple, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from pipeline.study.records import Array, Masks, TrialRecord
from pipeline.study.store import drop, load_record, save_record, send
from pipeline.study.whole_file import whole_folder
from pipeline.trial.distillation import read_arrays, write_arrays
from pipeline.trial.training.loop import LoopState

PREFIX = "checkpoint-"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a trial: its phase, the state of that phase's loop, and what was found before it."""

    phase: int  # index into the trial's phases
    loop: LoopState
    masks: Masks | None  # what the cuts of earlier phases left; None if nothing is cut yet
    so_far: TrialRecord  # points and history of finished phases, and the history of this one


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into an attempt's folder, then delete the attempt's older ones.

    Raises:
        OSError: the disk is full or missing; older checkpoints are kept.
        ObjectStoreLost: it is whole, but only on this machine.
    """
    older = _checkpoints(folder)
    name = f"{PREFIX}{checkpoint.phase:03d}-{checkpoint.loop.step:07d}"
    final = folder / name
    with whole_folder(final) as part:
        _write(part, checkpoint)
    send(final, wait=False)  # the trial does not wait for it
    for path in older:
        if path != final:
            shutil.rmtree(path, ignore_errors=True)
            drop(path)


def save_snapshot(folder: Path, round_: int, features: Array) -> None:
    """Write the representations of the training rows by a round's network [R, d] into an attempt's folder.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / _snapshot(round_)
    write_arrays(path, {"features": features})
    send(path)


def load_snapshot(attempts: list[Path], round_: int) -> Array | None:
    """Read a round's snapshot from the newest attempt that wrote it; None if none did."""
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
        if isinstance(error.__context__, OSError):  # torch's writer hides the error of Python's file
            raise error.__context__ from None
        raise
    save_record(folder, checkpoint.so_far)


def load(attempts: list[Path]) -> Checkpoint | None:
    """Read the most advanced checkpoint in the attempts' folders; unreadable ones are skipped."""
    found = sorted((path for folder in attempts for path in _checkpoints(folder)), key=lambda p: p.name)
    for path in reversed(found):
        try:
            state = torch.load(path / "state.pt", weights_only=True, map_location="cpu")
            masks = Masks(*(mask.numpy() for mask in state["masks"])) if "masks" in state else None
            loop = LoopState(state["step"], state["tensors"])
            return Checkpoint(state["phase"], loop, masks, load_record(path))
        except (
            OSError,
            RuntimeError,
            ValueError,
            KeyError,
            EOFError,
            UnpicklingError,
        ):  # incomplete, or no checkpoint
            continue
    return None


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{PREFIX}*")) if folder.is_dir() else []
