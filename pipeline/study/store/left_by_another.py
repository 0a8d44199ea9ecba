"""What another search of a study's name has left of a trial: a record that slipped through, its arrays, its weights.

Of two processes that find it, or of one that stands still after its look, none removes what has come in its place: each
file is removed only if it is the one that was seen, on a disk by `remove_known`, in a bucket by its ETag.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.study.records import BadInput
from pipeline.study.store.object_client import Found
from pipeline.study.store.objects import Bucket, bucket_of
from pipeline.study.store.recordfile import JSON, load_scalars
from pipeline.study.store.weights import WEIGHTS
from pipeline.study.whole_file import remove_known

OF_RECORD = ("record*.npz", f"{WEIGHTS}/*")
Mark = tuple[int, int]  # of a file on a disk: its inode and its time of writing


@dataclass(frozen=True)
class Left:
    """The files as they were seen: on a disk `files`, in a bucket `objects`, by their local paths."""

    record: Path
    bucket: Bucket | None
    files: Mapping[Path, Mark]
    objects: Mapping[Path, Found]

    def remove_all(self) -> None:
        """Remove the record and what belongs to it; what is another one by now stays."""
        self.remove_rest()
        self.remove_record()

    def remove_record(self) -> None:
        """Remove the record alone, unless it is another one by now."""
        self._remove(self.record)

    def remove_rest(self) -> None:
        """Remove all but the record itself, which is removed, or replaced, last: it says whose the others are."""
        for path in {*self.files, *self.objects} - {self.record}:
            self._remove(path)

    def _remove(self, path: Path) -> None:
        if self.bucket is not None and path in self.objects:
            self.bucket.drop_known({path.relative_to(self.bucket.copy).as_posix(): self.objects[path]})
        if path in self.files:
            remove_known(path, lambda now: _mark(now) == self.files[path])


def left_by_another(folder: Path, search: str) -> Left | None:
    """Return what another search than `search` has left in a trial's folder; None if its record is no other's."""
    record, bucket = folder / JSON, bucket_of(folder)
    objects = {}
    if bucket is not None:
        found = {bucket.copy / name: each for name, each in bucket.listing(folder).items()}
        objects = {
            path: each for path, each in found.items() if path == record or _is_of_record(path, folder)
        }
        bucket.fetch(record)
    # they are seen before the record is read: what belongs to a later record is not among them
    files = {path: mark for path in _files(folder) if (mark := _mark(path)) is not None}
    return Left(record, bucket, files, objects) if is_of_another(folder, search) else None


def is_of_another(folder: Path, search: str) -> bool:
    """Return whether a trial's record is another search's than the one that the study began with."""
    if not search:  # a study of an earlier version: it has no such word
        return False
    try:
        return load_scalars(folder).search not in ("", search)
    except BadInput:  # it is damaged, or another process is just replacing it
        return False


def _files(folder: Path) -> list[Path]:
    return [folder / JSON, *(path for pattern in OF_RECORD for path in folder.glob(pattern))]


def _is_of_record(path: Path, folder: Path) -> bool:
    return path.parent == folder / WEIGHTS or (path.parent == folder and path.match(OF_RECORD[0]))


def _mark(path: Path) -> Mark | None:
    try:
        now = path.stat()
    except FileNotFoundError:
        return None
    return now.st_ino, now.st_mtime_ns
