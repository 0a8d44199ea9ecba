"""A trial's record is written once: of several processes, paused or cut off ones among them, the first decides.

The JSON appears under its name only if there is none, on a disk and in a bucket. It has the checksum of its arrays,
which never replace others.
"""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

from pipeline.study.records import TrialRecord
from pipeline.study.store.object_client import Found
from pipeline.study.store.objects import bucket_of, drop
from pipeline.study.store.objects import send_new as send_if_new
from pipeline.study.store.recordfile import (
    ARRAYS,
    JSON,
    Damaged,
    encode,
    json_bytes,
    load_scalars,
    own_name,
    write_and_send,
)
from pipeline.study.store.weights import WEIGHTS
from pipeline.study.whole_file import write_new, write_whole


def publish_record(
    folder: Path, record: TrialRecord, *, weights_of: tuple[str, ...] = (), search: str = ""
) -> bool:
    """Write a trial's record unless it has one; return whether it was written.

    Args:
        folder: of the trial.
        record: how it ended.
        weights_of: the folders of its attempts with its weights.
        search: which search the study began with; a record of another one is replaced.

    Raises:
        OSError: the disk is full or gone.
        ValueError: the points' predictions differ in length or type.
    """
    if _fetched(folder / JSON).is_file():
        if not is_of_another(folder, search):
            return False
        forget_record(folder)
    stored, data = encode(record, weights_of=weights_of, search=search)
    arrays = folder / ARRAYS
    if not send_new(arrays, data):  # of an attempt that died before its JSON, or that is just here, too
        arrays = folder / own_name(stored.arrays)
        write_and_send(arrays, data)
    if send_new(folder / JSON, json_bytes(stored)):
        return True
    if load_scalars(folder).arrays != stored.arrays and _is(_fetched(arrays), stored.arrays):
        arrays.unlink(missing_ok=True)
        drop(arrays)
    return False


def _is(path: Path, checksum: str) -> bool:
    """Return whether a file has that checksum: another search may have put its own in the place of ours."""
    return path.is_file() and sha256(path.read_bytes()).hexdigest() == checksum


def is_of_another(folder: Path, search: str) -> bool:
    """Return whether a trial's record is another search's than the one that the study began with."""
    if not search:  # a study of an earlier version: it has no such word
        return False
    try:
        return load_scalars(folder).search not in ("", search)
    except Damaged:
        return False


def forget_record(folder: Path) -> None:
    """Remove the record of a trial, its arrays and its weights: they are another search's."""
    for path in (folder / JSON, *folder.glob("record*.npz")):
        path.unlink(missing_ok=True)
        drop(path)
    shutil.rmtree(folder / WEIGHTS, ignore_errors=True)
    drop(folder / WEIGHTS)


def send_new(path: Path, data: bytes) -> bool:
    """Write a file, and send it to the bucket, unless there is one; return whether it was written."""
    if not write_new(_fetched(path), data):
        return False
    try:
        ours = send_if_new(path)
    except OSError:
        path.unlink(missing_ok=True)  # here alone it would hide that the bucket lacks it
        raise
    if not ours:  # another machine was quicker
        path.unlink(missing_ok=True)
        _fetched(path)
    return ours


def send_instead(path: Path, data: bytes, known: Found) -> bool:
    """Write a file, and send it to the bucket in the place of the `known` object; return whether it is there now."""
    bucket = bucket_of(path)
    write_whole(path, data)
    if bucket is None or bucket.replace(path, known):
        return True
    path.unlink(missing_ok=True)  # another machine's is there
    bucket.fetch(path)
    return False


def _fetched(path: Path) -> Path:
    """Return a path whose file is as the store's bucket has it; on a disk there is nothing to fetch."""
    bucket = bucket_of(path)
    if bucket is not None:
        bucket.fetch(path)
    return path
