"""A folder that appears whole or not at all."""

from __future__ import annotations

import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.study.records import BadInput


def check_free(folder: Path) -> None:
    """Check that a place is absent or an empty folder.

    Raises:
        BadInput: it is a file, or a folder that is not empty.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists():
        what = "a folder with files in it" if folder.is_dir() else "a file"
        raise BadInput(
            f"{folder} is {what}. A checkpoint is written where nothing is, so that no file of "
            "another stays among its own. Name a new folder, or empty this one."
        )


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Make a folder beside `folder`, renamed to it at the exit; an error or an interruption leaves neither.

    A process that is killed outright leaves `.NAME-XXXX.part`, which is not mistaken for a checkpoint.

    Raises:
        BadInput: something is there already, or nothing can be written there.
    """
    check_free(folder)
    part = folder.parent / f".{folder.name}-{secrets.token_hex(4)}.part"
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise BadInput(
            f"{part.parent} cannot be written to: {error.strerror}. Name another folder for the checkpoint."
        ) from error
    try:
        yield part
        _share(part)
        if folder.exists():
            folder.rmdir()  # empty, or it fails: better than to mix
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _share(folder: Path) -> None:
    """Let everyone who may enter the folder read its files: libraries write some for their owner alone.

    The folder's own mode is what the user's umask made it.
    """
    readable = stat.S_IMODE(folder.stat().st_mode) & 0o666
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(readable)
