"""A store in an object store: s3://BUCKET/PREFIX, with a working copy of what is read on each machine.

What is written goes into the working copy first, whole, and at once from there into the bucket: a file there is never
there in part. What is read is looked for in the bucket first (by size and time of writing); weights, checkpoints and
models are fetched when they are needed. Names with a leading dot, caches and databases stay on the machine.
Attempts of trials have a random part in their names, so that no two are given the same one: S3 needs no locks.
While a search runs (`retrying`), a bucket that does not answer is tried again, as its ledger is; else it is refused.

The endpoint is AWS_ENDPOINT_URL if that is set (MinIO, Ceph, R2 ...), the keys are found as AWS's own programs do.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pipeline.study.whole_file import whole_file

OBJECTS = "s3://"
_AS_PATH = "s3:/"  # a Path folds two slashes into one
HERE_ONLY = ("cache", "tune")  # parts of paths that are no other machine's business
LATER = (".safetensors", ".pt")  # fetched when they are needed
SETTLED_S = (
    60.0  # a file of the copy that the bucket lacks goes if it is older: a younger one may be on its way
)
ATTEMPTS = 4  # of one request: some 4 s where nobody answers
RETRY_PAUSES_S = (1, 2, 4, 8, 15, 30, 60)  # two minutes: enough for a restart of the server

Result = TypeVar("Result")


class ObjectStoreLost(OSError):  # noqa: N818 (a fact about a server, not a fault of the program)
    """The object store does not answer, or refuses. What is in it stays."""


def is_object_store(place: Path) -> bool:
    """Whether a store's place is in an object store."""
    return str(place).startswith(_AS_PATH)


def place_text(place: Path) -> str:
    """A store's place as a person writes it."""
    text = str(place)
    return OBJECTS + text.removeprefix(_AS_PATH) if is_object_store(place) else text


@dataclass(eq=False)
class Bucket:
    """A prefix of a bucket, and the folder that is its working copy on this machine."""

    place: str  # bucket/prefix
    copy: Path
    on_retry: Callable[[str], None] | None = field(default=None, init=False)  # None: no retries

    @cached_property
    def _files(self) -> Any:
        from pyarrow import fs

        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        options: dict[str, Any] = {"retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)}
        if endpoint:
            parts = urlsplit(endpoint)
            options |= {"scheme": parts.scheme, "endpoint_override": parts.netloc}
            options["region"] = (
                os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
            )
        return fs.S3FileSystem(**options)

    @property
    def filesystem(self) -> Any:
        """For whoever writes there without us."""
        return self._files

    @contextmanager
    def retrying(self, on_retry: Callable[[str], None]) -> Iterator[None]:
        """Retry for sum(RETRY_PAUSES_S) seconds inside the context, in this process, then raise."""
        self.on_retry, before = on_retry, self.on_retry
        try:
            yield
        finally:
            self.on_retry = before

    def send(self, path: Path, *, wait: bool = True) -> None:
        """Puts a file of the working copy, or all of a folder, into the bucket; the files of a folder by name."""
        if path.is_dir():
            for each in sorted(path.iterdir(), key=lambda p: (p.name.endswith(".json"), p.name)):
                self.send(each, wait=wait)  # what says that the others are whole comes last
        elif self._shared(path):
            self._asking("write", lambda: self._send_one(path), wait=wait)

    def check_reachable(self) -> None:
        """Send one request, without retries.

        Raises:
            ObjectStoreLost: it does not answer.
        """
        self._asking("read", lambda: self._listing(f"{self.place}/seen"), wait=False)

    def drop(self, path: Path) -> None:
        """Removes a file or a folder from the bucket."""
        self._asking("remove", lambda: self._drop(path))

    def fetch(self, path: Path, *, wanted: Callable[[str], bool] = lambda _: True) -> None:
        """Brings the working copy of a file or folder up to date, of the names that are wanted."""
        there = self._asking("read", lambda: self._fetch(path, wanted))
        for local in sorted(path.rglob("*")) if path.is_dir() else ():
            if local.is_file() and self._shared(local):
                name = local.relative_to(self.copy).as_posix()
                if wanted(name) and name not in there:
                    self._forget(local)

    def names(self, path: Path) -> list[str]:
        """The names of what lies right in a folder of the bucket."""
        key = path.relative_to(self.copy).as_posix() + "/"
        found = self._asking("read", lambda: self._listing(self._key(path)))
        return sorted({name.removeprefix(key).partition("/")[0] for name in found})

    def size(self, path: Path, *, wanted: Callable[[str], bool]) -> int:
        """Bytes of what lies below a folder of the bucket."""
        found = self._asking("read", lambda: self._listing(self._key(path)))
        return sum(size for name, (size, _) in found.items() if wanted(name))

    def _send_one(self, path: Path) -> None:
        key = self._key(path)
        with path.open("rb") as source, self._files.open_output_stream(key) as target:
            shutil.copyfileobj(source, target, 1 << 22)
        written = self._files.get_file_info(key).mtime_ns
        os.utime(path, ns=(written, written))  # the same time is the same file

    def _drop(self, path: Path) -> None:
        for name in self._listing(self._key(path)):
            self._files.delete_file(f"{self.place}/{name}")

    def _fetch(self, path: Path, wanted: Callable[[str], bool]) -> set[str]:
        there = {name: info for name, info in self._listing(self._key(path)).items() if wanted(name)}
        for name, (size, written) in sorted(there.items(), key=lambda i: (i[0].endswith(".json"), i[0])):
            self._fetch_one(self.copy / name, size, written)
        return set(there)

    def _fetch_one(self, local: Path, size: int, written: int) -> None:
        with suppress(FileNotFoundError):
            known = local.stat()
            if (known.st_size, known.st_mtime_ns) == (size, written):
                return
        with suppress(FileNotFoundError), whole_file(local, durable=False) as part:  # it may be gone by now
            with self._files.open_input_stream(self._key(local)) as source, part.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 22)
            os.utime(part, ns=(written, written))

    def _forget(self, local: Path) -> None:
        with suppress(OSError):
            if time.time() - local.stat().st_mtime > SETTLED_S:
                local.unlink()
                local.parent.rmdir()  # if nothing else is in it

    def _listing(self, key: str) -> dict[str, tuple[int, int]]:
        """Of an object, or all below it: name from the prefix on -> (bytes, when it was written in ns)."""
        from pyarrow import fs

        known = self._files.get_file_info(key)
        if known.type == fs.FileType.NotFound:
            return {}
        found = [known]
        if known.type == fs.FileType.Directory:
            found = self._files.get_file_info(fs.FileSelector(key, recursive=True, allow_not_found=True))
        start = len(self.place) + 1
        return {
            each.path[start:]: (each.size, each.mtime_ns) for each in found if each.type == fs.FileType.File
        }

    def _key(self, path: Path) -> str:
        name = path.relative_to(self.copy).as_posix()
        return self.place if name == "." else f"{self.place}/{name}"

    def _shared(self, path: Path) -> bool:
        parts = path.relative_to(self.copy).parts
        return not any(part.startswith(".") for part in parts) and not set(parts) & set(HERE_ONLY)

    def _asking(self, what: str, ask: Callable[[], Result], *, wait: bool = True) -> Result:
        """What the bucket answers; while a search runs it may take its time."""
        for pause in RETRY_PAUSES_S:
            try:
                return self._asked(what, ask)
            except ObjectStoreLost as lost:
                if self.on_retry is None or not wait:
                    raise
                self.on_retry(f"{lost} Trying again in {pause} s.")
                time.sleep(pause)
        try:
            return self._asked(what, ask)
        except ObjectStoreLost:
            self.on_retry = None  # the pauses are used up: cleaning up must not begin them anew
            raise

    def _asked(self, what: str, ask: Callable[[], Result]) -> Result:
        try:
            return ask()
        except OSError as error:
            if error.errno is not None and error.filename is not None:
                raise  # the machine's own disk
            line = (str(error).splitlines() or [""])[0][:300]
            raise ObjectStoreLost(
                f"A search's files are in its store; {OBJECTS}{self.place} does not let us {what} ({line}). What it "
                "has is kept: when it answers again, the same command goes on from there. Is AWS_ENDPOINT_URL right, "
                "and are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY set?"
            ) from None


_OPEN: dict[Path, Bucket] = {}  # by the folder of their working copy, of this process


def open_bucket(place: Path) -> Bucket:
    """The bucket at a place, with its working copy in the person's cache folder."""
    name = str(place).removeprefix(_AS_PATH).strip("/")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    copy = (caches / "prunefront" / "stores" / hashlib.sha256(name.encode()).hexdigest()[:16]).resolve()
    return _OPEN.setdefault(copy, Bucket(name, copy))


def bucket_of(path: Path) -> Bucket | None:
    """The bucket that a file belongs to; None: to none, it is on a disk."""
    return next((bucket for copy, bucket in _OPEN.items() if path.is_relative_to(copy)), None)


def sent(path: Path, *, wait: bool = True) -> None:
    """A file, or folder, of a store is whole: if it is a working copy's, it goes into the bucket."""
    bucket = bucket_of(path)
    if bucket is not None:
        bucket.send(path, wait=wait)


def dropped(path: Path) -> None:
    """A file, or folder, of a store is gone: the bucket's goes, too."""
    bucket = bucket_of(path)
    if bucket is not None:
        bucket.drop(path)


def is_light(name: str) -> bool:
    """Whether a name is of what is read without being asked for: no weights, checkpoints, models."""
    parts = name.split("/")
    return (
        not name.endswith(LATER)
        and "model" not in parts
        and not any(p.startswith("checkpoint-") for p in parts)
    )
