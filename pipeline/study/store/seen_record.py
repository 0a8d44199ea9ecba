"""A trial's record, its arrays and its weights, removed as they were seen: what has come in their place stays.

So of two processes that find what another search of the study's name has left, and of one that stands still after its
look, none removes a later record. On a disk a file is known by its inode (`remove_known`), in a bucket by its ETag.
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

ARRAYS = "record*.npz"
Mark = tuple[int, int]  # of a file on a disk: its inode and its time of writing


@dataclass(frozen=True)
class SeenRecord:
    """The files as they were seen: `files` on this disk, `objects` in a bucket, by their local paths."""

    record: Path
    bucket: Bucket | None
    files: Mapping[Path, Mark]
    objects: Mapping[Path, Found]

    def remove_all(self) -> None:
        """Remove the record and what belongs to it."""
        self.remove_rest()
        self.remove_record()

    def remove_record(self) -> None:
        """Remove the record alone."""
        self._remove(self.record)

    def remove_rest(self) -> None:
        """Remove all but the record itself, which is removed, or replaced, last: it says whose the others are."""
        for path in {*self.files, *self.objects} - {self.record}:
            self._remove(path)

    def put_aside(self) -> None:
        """Rename the record: it is damaged. In a bucket it is removed."""
        self._remove(self.record, keep_as=self.record.with_suffix(".damaged"))

    def _remove(self, path: Path, *, keep_as: Path | None = None) -> None:
        if self.bucket is not None and path in self.objects:
            self.bucket.drop_known({path.relative_to(self.bucket.copy).as_posix(): self.objects[path]})
        if path in self.files:
            remove_known(path, lambda now: _mark(now) == self.files[path], keep_as=keep_as)


def seen_record(folder: Path) -> SeenRecord:
    """Return what a trial's folder has now of its record, which is fetched, its arrays and its weights."""
    record, bucket, objects = folder / JSON, bucket_of(folder), dict[Path, Found]()
    if bucket is not None:
        found = {bucket.copy / name: each for name, each in bucket.listing(folder).items()}
        objects = {path: each for path, each in found.items() if _is_of_record(path, folder)}
        bucket.fetch(record)
    here = (record, *folder.glob(ARRAYS), *folder.glob(f"{WEIGHTS}/*"))
    files = {path: mark for path in here if (mark := _mark(path)) is not None}
    return SeenRecord(record, bucket, files, objects)


def left_by_another(folder: Path, search: str) -> SeenRecord | None:
    """Return what another search than `search` has left in a trial's folder; None if its record is no other's."""
    seen = seen_record(folder)  # before the record is read: what belongs to a later one is not among it
    return seen if is_of_another(folder, search) else None


def is_of_another(folder: Path, search: str) -> bool:
    """Return whether a trial's record is another search's than the one that the study began with."""
    if not search:  # a study of an earlier version: it has no such word
        return False
    try:
        return load_scalars(folder).search not in ("", search)
    except BadInput:  # it is damaged, or another process is just replacing it
        return False


def _is_of_record(path: Path, folder: Path) -> bool:
    in_folder = path.parent == folder and (path.name == JSON or path.match(ARRAYS))
    return in_folder or path.parent == folder / WEIGHTS


def _mark(path: Path) -> Mark | None:
    try:
        now = path.stat()
    except FileNotFoundError:
        return None
    return now.st_ino, now.st_mtime_ns
