"""A trial's record is written once: of several processes, paused or cut off ones among them, the first decides.

The JSON appears under its name only if there is none, on a disk and in a bucket. It has the checksum of its arrays,
which never replace others.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from pipeline.study.records import TrialRecord
from pipeline.study.store.object_client import Found
from pipeline.study.store.objects import bucket_of, drop
from pipeline.study.store.objects import send_new as send_if_new
from pipeline.study.store.recordfile import (
    ARRAYS,
    JSON,
    encode,
    json_bytes,
    load_scalars,
    own_name,
    write_and_send,
)
from pipeline.study.store.seen_record import SeenRecord, left_by_another
from pipeline.study.whole_file import write_new, write_whole


def publish_record(
    folder: Path,
    record: TrialRecord,
    *,
    weights_of: tuple[str, ...] = (),
    search: str = "",
    is_over: Callable[[], bool] = lambda: False,
) -> bool:
    """Write a trial's record unless it has one; return whether it was written.

    Args:
        folder: of the trial.
        record: how it ended.
        weights_of: the folders of its attempts with its weights.
        search: which search the study began with; a record of another one is replaced.
        is_over: whether another search has begun since: its records are not replaced.

    Raises:
        OSError: the disk is full or gone.
        ValueError: the points' predictions differ in length or type.
    """
    left = None
    if _fetched(folder / JSON).is_file():
        left = left_by_another(folder, search)
        if left is None or is_over():  # asked after the look: what was seen is no later search's
            return False
        left.remove_rest()
    stored, data = encode(record, weights_of=weights_of, search=search)
    arrays = folder / ARRAYS
    if not send_new(arrays, data):  # of an attempt that died before its JSON, or that is just here, too
        arrays = folder / own_name(stored.arrays)
        write_and_send(arrays, data)
    if _send_instead_of(left, folder / JSON, json_bytes(stored)):
        return True
    if load_scalars(folder).arrays != stored.arrays and _is(_fetched(arrays), stored.arrays):
        arrays.unlink(missing_ok=True)
        drop(arrays)
    return False


def _send_instead_of(left: SeenRecord | None, path: Path, data: bytes) -> bool:
    """Write a record where there is none, or in the place of the one that was seen; return whether it was written."""
    if left is None:
        return send_new(path, data)
    if path in left.objects:
        return send_instead(path, data, left.objects[path])
    left.remove_record()
    return send_new(path, data)


def _is(path: Path, checksum: str) -> bool:
    """Return whether a file has that checksum: another search may have put its own in the place of ours."""
    return path.is_file() and sha256(path.read_bytes()).hexdigest() == checksum


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
