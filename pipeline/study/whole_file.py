"""Write a file or a folder whole: under a temporary name, flushed to disk, then renamed.

A reader finds what was there before or what is there now, never a part of it, also after a power failure. A process
that is killed leaves `.NAME.XXXXXXXX.part`; the next writer of the same name removes it when it is a day old.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

LEFTOVER_S = 86_400.0  # a temporary file may be as old as this and still be written to
NO_FOLDER_SYNC = (
    errno.EINVAL,
    errno.ENOTSUP,
)  # of file systems that cannot flush a folder (some network ones)

RUST_ERROR = re.compile(r"\(os error (\d+)\)")  # how Rust's standard library ends the text of a file's error


@contextmanager
def whole_file(path: Path, *, durable: bool = True, replace: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the file's folder; rename it to `path` when the block ends without an error.

    The folder is made if it is missing.

    Args:
        path: the file.
        durable: whether file and folder are flushed to disk; not needed for a copy that can be fetched again.
        replace: whether a file that is there is replaced.

    Raises:
        FileExistsError: without `replace`, another process has written it.
        OSError: the file cannot be written; what was there before is unchanged.
    """
    if durable:
        make_folder(path.parent)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    try:
        yield part
        if durable:
            _sync(part)
        if replace:
            part.replace(path)
        else:
            _rename_new(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        _raise_os_error(error, path)
        raise
    if durable:
        _sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing; their names outlast a power failure."""
    missing = list(takewhile(lambda each: not each.exists(), (folder, *folder.parents)))
    folder.mkdir(parents=True, exist_ok=True)
    for each in reversed(missing):
        _sync_folder(each.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole.

    Raises:
        OSError: the file cannot be written; what was there before is unchanged.
    """
    with whole_file(path) as part:
        part.write_bytes(data)


def write_new(path: Path, data: bytes) -> bool:
    """Write a file whole unless there is one; return whether it was written. Of several writers one succeeds.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        with whole_file(path, replace=False) as part:
            part.write_bytes(data)
    except FileExistsError:
        return False
    return True


def move(source: Path, target: Path) -> None:
    """Rename a file that is whole, into another folder; `target` is replaced.

    Raises:
        OSError: it cannot be renamed.
    """
    make_folder(target.parent)
    source.replace(target)
    _sync_folder(target.parent)


def remove_known(path: Path, is_known: Callable[[Path], bool], *, keep_as: Path | None = None) -> None:
    """Remove a file, or rename it to `keep_as`, if it is a known one.

    It is looked at, renamed, looked at again, and put back if another one came in between. A process that stands still
    between renaming and putting back hides that one for so long. It loses it if it dies there, if a third file has the
    name by then, or if `sweep` takes it for a killed writer's.

    Raises:
        OSError: it cannot be renamed.
    """
    if not is_known(path):
        return
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if not is_known(aside):
        with suppress(FileExistsError):
            _rename_new(aside, path)
    elif keep_as is not None:
        aside.replace(keep_as)
    aside.unlink(missing_ok=True)
    _sync_folder(path.parent)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; rename it to `path` when the block ends without an error.

    A folder that is there is removed just before: a kill at that moment leaves neither.

    Raises:
        OSError: the folder cannot be written.
    """
    make_folder(path.parent)
    part = _part(path)
    try:
        part.mkdir()
        yield part
        for each in sorted(part.rglob("*")):
            if each.is_file():
                _sync(each)
            else:
                _sync_folder(each)
        _sync_folder(part)
        shutil.rmtree(path, ignore_errors=True)
        part.replace(path)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)  # on a full disk it would take the next one's space
        _raise_os_error(error, path)
        raise
    _sync_folder(path.parent)


def _raise_os_error(error: BaseException, path: Path) -> None:
    """Raise an error of a library in Rust, such as safetensors, as the OSError that it was, which says why."""
    found = RUST_ERROR.search(str(error))
    if found and not isinstance(error, OSError):
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error


def sweep(folder: Path, *, name: str = "*", older_s: float) -> None:
    """Remove the temporary files and folders that killed writers left in a folder; `name` is a pattern of theirs."""
    for left in folder.glob(f".{name}.????????.part"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > older_s:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _part(path: Path) -> Path:
    """Return an unused temporary name, after removing what killed writers of the same name left."""
    sweep(path.parent, name=glob.escape(path.name), older_s=LEFTOVER_S)
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def _rename_new(part: Path, path: Path) -> None:
    """Rename a file to a name that nothing has.

    Raises:
        FileExistsError: something has it.
    """
    try:
        os.link(part, path)
    except FileExistsError:
        if not part.samefile(path):  # a network file system may have lost the answer to our own link
            raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        part.replace(path)
        return
    part.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Flush a folder's list of names, so that a rename in it outlasts a power failure."""
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
