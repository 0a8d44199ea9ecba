"""What is left to do when a trial has its record: its weights are moved into their place, its attempts removed.

It is done by the trial's own process, or by the next driver if that process was killed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.study.store.attempts import all_attempts, remove
from pipeline.study.store.confirmations import CONFIRM
from pipeline.study.store.exports import FOLDER as EXPORTS
from pipeline.study.store.gather import TRIALS, trial_folder
from pipeline.study.store.recordfile import JSON, load_scalars
from pipeline.study.store.weights import WEIGHTS, Weights
from pipeline.study.whole_file import sweep

WITH_PARTS = ("", f"{TRIALS}/*/", f"{TRIALS}/*/{WEIGHTS}/", f"{CONFIRM}/", f"{CONFIRM}/*/", f"{EXPORTS}/")


def complete(study: Path, number: int, attempts: Sequence[Path] | None = None) -> None:
    """Complete an ended trial; doing it twice, or in two processes, changes nothing.

    Args:
        study: its folder.
        number: of the trial.
        attempts: what is removed; None for all.

    Raises:
        BadInput: the record cannot be read.
    """
    folder = trial_folder(study, number)
    known = all_attempts(folder) if attempts is None else attempts
    if not known:
        return
    of = load_scalars(folder).weights_of
    last = folder / of[-1] if of else None
    if last is not None and last.is_dir():  # it is removed last: what is in others' folders later is not ours
        Weights(study / TRIALS).take(number, [folder / name for name in of])
    remove(sorted(known, key=lambda each: each == last))


def ended_with_attempts(study: Path) -> list[int]:
    """Return the trials that have ended and whose process died before it had removed their attempts."""
    folders = {path.parent for path in (study / TRIALS).glob("*/attempt-*")}
    return sorted(int(each.name) for each in folders if each.name.isdecimal() and (each / JSON).is_file())


def sweep_parts(study: Path, *, older_s: float) -> None:
    """Remove the part files of killed writers, and folders that were to be removed."""
    sweep(study.parent, name=study.name, older_s=older_s)
    for pattern in WITH_PARTS:
        for folder in study.glob(pattern) if pattern else (study,):
            sweep(folder, older_s=older_s)
