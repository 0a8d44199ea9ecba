"""A store in an object store: s3://BUCKET/PREFIX, with a working copy of what is read on each machine.

Files are written whole into the working copy and sent to the bucket at once: a bucket never has part of a file. Before
a read the working copy is compared with the bucket (by size and ETag, of which the local file's time of writing has a
hash); weights, checkpoints and models are fetched when they are needed. Names with a leading dot, caches and databases
stay on the machine. Attempts of trials have a random part in their names, so that no two machines use the same one, and
a record is sent only if the bucket has none (`send_new`). During a search (`retrying`) requests to an unreachable
bucket are retried, as those to its ledger are; otherwise they raise at once.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pipeline.study.store.object_client import Found, NotThere, ObjectClient, endpoint_url
from pipeline.study.whole_file import whole_file

OBJECTS = "s3://"
_AS_PATH = "s3:/"  # a Path folds two slashes into one
HERE_ONLY = ("cache", "tune")  # parts of paths that are not shared with other machines
LATER = (".safetensors", ".pt")  # fetched when they are needed
SETTLED_S = (
    60.0  # a file that the bucket lacks is removed if it is older; a younger one may be on its way to it
)
RETRY_PAUSES_S = (1, 2, 4, 8, 15, 30, 60)  # two minutes: enough for a restart of the server

Result = TypeVar("Result")


class ObjectStoreLost(OSError):  # noqa: N818 (a state of a server, not an error of the program)
    """The object store does not answer, or refuses a request. Its content is unchanged."""


def is_object_store(place: Path) -> bool:
    """Return whether a store's place is in an object store."""
    return str(place).startswith(_AS_PATH)


def place_text(place: Path) -> str:
    """Return a store's place as the user writes it."""
    text = str(place)
    return OBJECTS + text.removeprefix(_AS_PATH) if is_object_store(place) else text


@dataclass(eq=False)
class Bucket:
    """A prefix of a bucket, and the folder that is its working copy on this machine."""

    place: str  # bucket/prefix
    copy: Path
    on_retry: Callable[[str], None] | None = field(default=None, init=False)  # None: no retries

    @cached_property
    def _client(self) -> ObjectClient:
        return ObjectClient(self.place)

    @property
    def filesystem(self) -> Any:
        """The file system, for Ray Tune, which writes to the bucket itself."""
        from pyarrow import fs

        options: dict[str, Any] = {}
        if endpoint := endpoint_url():
            parts = urlsplit(endpoint)
            options |= {"scheme": parts.scheme, "endpoint_override": parts.netloc}
            options["region"] = (
                os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
            )
        return fs.S3FileSystem(**options)

    @contextmanager
    def retrying(self, on_retry: Callable[[str], None]) -> Iterator[None]:
        """Retry for sum(RETRY_PAUSES_S) seconds inside the context, in this process, then raise."""
        self.on_retry, before = on_retry, self.on_retry
        try:
            yield
        finally:
            self.on_retry = before

    def send(self, path: Path, *, wait: bool = True) -> None:
        """Send a file of the working copy, or all files of a folder, to the bucket.

        `wait=False` raises at once where `retrying` would retry.
        """
        if path.is_dir():
            for each in sorted(path.iterdir(), key=lambda p: (p.name.endswith(".json"), p.name)):
                self.send(each, wait=wait)  # JSON last: it marks the others as complete
        elif self._shared(path):
            self._request("written to", lambda: self._send_one(path), wait=wait)

    def send_new(self, path: Path) -> bool:
        """Send a file of the working copy unless the bucket has one; return whether the bucket has this one now."""
        return self._request("written to", lambda: self._send_new(path))

    def replace(self, path: Path, known: Found) -> bool:
        """Send a file of the working copy in the place of the `known` object, unless that was replaced before."""
        return self._request("written to", lambda: self._client.replace(self._key(path), path, known))

    def listing(self, path: Path) -> dict[str, Found]:
        """Return all objects below a folder of the working copy, by name after the prefix; hidden ones, too."""
        return self._request("read", lambda: self._client.listing(self._key(path)))

    def drop_known(self, known: Mapping[str, Found]) -> None:
        """Remove objects that were listed, unless they have been replaced."""
        self._request("removed from", lambda: self._client.delete_known(known))

    def check_reachable(self) -> None:
        """Send one request, without retries.

        Raises:
            ObjectStoreLost: it does not answer.
        """
        self._request("read", lambda: self._client.listing("seen"), wait=False)

    def drop(self, path: Path) -> None:
        """Remove a file or a folder from the bucket."""
        self._request("removed from", lambda: self._drop(path))

    def fetch(self, path: Path, *, where: Callable[[str], bool] = lambda _: True) -> None:
        """Bring the working copy of a file or folder up to date, for names for which `where` is true."""
        names = self._request("read", lambda: self._fetch(path, where))
        for local in sorted(path.rglob("*")) if path.is_dir() else ():
            if local.is_file() and self._shared(local):
                name = local.relative_to(self.copy).as_posix()
                if where(name) and name not in names:
                    self._forget(local)

    def names(self, path: Path) -> list[str]:
        """Return the names of the files and folders directly in a folder of the bucket."""
        found = self._request("read", lambda: self._client.names(self._key(path)))
        return [name for name in found if not name.startswith(".")]

    def size(self, path: Path, *, where: Callable[[str], bool]) -> int:
        """Return the bytes of all files below a folder of the bucket for whose names `where` is true."""
        found = self._request("read", lambda: self._listing(path))
        return sum(each.size for name, each in found.items() if where(name))

    def _send_one(self, path: Path) -> None:
        _stamp(path, self._client.put(self._key(path), path))

    def _send_new(self, path: Path) -> bool:
        ours, found = self._client.create(self._key(path), path)
        _stamp(path, found)
        return ours

    def _drop(self, path: Path) -> None:
        self._client.delete([*self._client.listing(self._key(path))])  # hidden ones, too: Tune writes some

    def _fetch(self, path: Path, where: Callable[[str], bool]) -> set[str]:
        found = {name: each for name, each in self._listing(path).items() if where(name)}
        for name, each in sorted(found.items(), key=lambda i: (i[0].endswith(".json"), i[0])):
            self._fetch_one(self.copy / name, each)
        return set(found)

    def _fetch_one(self, local: Path, found: Found) -> None:
        with suppress(FileNotFoundError):
            known = local.stat()
            if (known.st_size, known.st_mtime_ns) == (found.size, found.stamp):
                return
        with suppress(NotThere), whole_file(local, durable=False) as part:  # it may be gone by now
            self._client.fetch(self._key(local), part)
            _stamp(part, found)

    def _forget(self, local: Path) -> None:
        with suppress(OSError):
            if time.time() - local.stat().st_mtime > SETTLED_S:
                local.unlink()
                local.parent.rmdir()  # if nothing else is in it

    def _listing(self, path: Path) -> dict[str, Found]:
        """Return an object, or all objects below it, by name after the prefix; without those on their way."""
        found = self._client.listing(self._key(path))
        return {name: each for name, each in found.items() if not name.rpartition("/")[2].startswith(".")}

    def _key(self, path: Path) -> str:
        name = path.relative_to(self.copy).as_posix()
        return "" if name == "." else name

    def _shared(self, path: Path) -> bool:
        parts = path.relative_to(self.copy).parts
        return not any(part.startswith(".") for part in parts) and not set(parts) & set(HERE_ONLY)

    def _request(self, action: str, call: Callable[[], Result], *, wait: bool = True) -> Result:
        """Return the result of a request, with retries inside `retrying`."""
        for pause in RETRY_PAUSES_S:
            try:
                return self._request_once(action, call)
            except ObjectStoreLost as lost:
                if self.on_retry is None or not wait:
                    raise
                self.on_retry(f"{lost} Trying again in {pause} s.")
                time.sleep(pause)
        try:
            return self._request_once(action, call)
        except ObjectStoreLost:
            self.on_retry = None  # the pauses are used up: cleaning up must not begin them anew
            raise

    def _request_once(self, action: str, call: Callable[[], Result]) -> Result:
        try:
            return call()
        except OSError as error:
            if error.errno is not None and error.filename is not None:
                raise  # an error of this machine's disk
            line = (str(error).splitlines() or [""])[0][:300]
            raise ObjectStoreLost(
                f"A search's files are in its store; {OBJECTS}{self.place} could not be {action} ({line}). "
                "Its content is kept: when it answers again, the same command goes on from there. Is AWS_ENDPOINT_URL "
                "right, and are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY set?"
            ) from None


_OPEN: dict[Path, Bucket] = {}  # of this process, by the folder of the working copy


def open_bucket(place: Path) -> Bucket:
    """Return the bucket at a place, with its working copy in the user's cache folder."""
    name = str(place).removeprefix(_AS_PATH).strip("/")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    copy = (
        caches / "prunefront" / "stores" / hashlib.sha256(f"{endpoint_url()}{name}".encode()).hexdigest()[:16]
    ).resolve()
    return _OPEN.setdefault(copy, Bucket(name, copy))


def bucket_of(path: Path) -> Bucket | None:
    """Return the bucket of which a path is in the working copy; None if it is in no working copy."""
    return next((bucket for copy, bucket in _OPEN.items() if path.is_relative_to(copy)), None)


def send(path: Path, *, wait: bool = True) -> None:
    """Send a complete file or folder of a store to its bucket, if the store has one."""
    bucket = bucket_of(path)
    if bucket is not None:
        bucket.send(path, wait=wait)


def send_new(path: Path) -> bool:
    """Send a file to its bucket unless that has one; return whether it is the bucket's. Without a bucket it is."""
    bucket = bucket_of(path)
    return bucket is None or bucket.send_new(path)


def drop(path: Path) -> None:
    """Remove a file or folder of a store from its bucket, if the store has one."""
    bucket = bucket_of(path)
    if bucket is not None:
        bucket.drop(path)


def is_light(name: str) -> bool:
    """Return whether a file is fetched with its study: not weights, checkpoints, models."""
    parts = name.split("/")
    return (
        not name.endswith(LATER)
        and "model" not in parts
        and not any(p.startswith("checkpoint-") for p in parts)
    )


def _stamp(path: Path, found: Found | None) -> None:
    """Note of a local file of which object it is a copy: equal stamps mean equal files. None: of none that is there."""
    if found is not None:
        with suppress(FileNotFoundError):
            os.utime(path, ns=(found.stamp, found.stamp))
