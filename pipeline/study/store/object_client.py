"""Requests to a prefix of a bucket, by obstore. Objects appear whole, and may be written only where there is none.

The endpoint is AWS_ENDPOINT_URL if that is set (MinIO, Ceph, R2 ...). Keys are those of the environment, of the
machine's role, or of the user's AWS files (`aws_keys`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.study.store.aws_keys import keys_and_region

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Store

ATTEMPTS = 4  # of one request
ANSWER_S = 10.0  # in which a request is tried again if there is no answer
CONNECT_S, SILENT_S, LONGEST_S = 5, 30, 3600  # to connect; without a byte; of a whole request
NS = 10**9


@dataclass(frozen=True)
class Found:
    """An object: its bytes, and a stamp that changes with its content: second of writing, and its ETag's hash."""

    size: int
    stamp: int
    e_tag: str = field(default="", compare=False)


class NotThere(FileNotFoundError):  # noqa: N818 (a fact)
    """There is no object of that name."""


@dataclass(eq=False)
class ObjectClient:
    """The objects below `place`, BUCKET/PREFIX. Every method may raise OSError without an errno."""

    place: str

    @cached_property
    def _store(self) -> S3Store:
        from obstore.store import S3Store

        bucket, _, prefix = self.place.partition("/")
        endpoint = endpoint_url()
        config: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
        keys, provider = keys_and_region(default="us-east-1" if endpoint else None)
        return S3Store(
            bucket,
            prefix=prefix or None,
            config=config | keys,  # type: ignore[arg-type]  # a TypedDict
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=CONNECT_S),
                "read_timeout": timedelta(seconds=SILENT_S),
                "timeout": timedelta(seconds=LONGEST_S),
            },
            retry_config={
                "max_retries": ATTEMPTS - 1,
                "retry_timeout": timedelta(seconds=ANSWER_S),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=2),
                },
            },
            credential_provider=provider,
        )

    def put(self, key: str, path: Path) -> Found | None:
        """Write a file as an object, whole or not at all; return what is there, None if that is another one's."""
        import obstore

        with _errors(), _source(path) as source:
            written = obstore.put(self._store, key, source)
        return self._found(key, written["e_tag"])

    def create(self, key: str, path: Path) -> tuple[bool, Found | None]:
        """Write a file as an object if there is none; return whether its content is there now, and what is there.

        Of several writers one succeeds. A request whose answer was lost is sent again by the client: it finds what it
        has written itself.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        data = path.read_bytes()
        try:
            with _errors(keep=(AlreadyExistsError, PreconditionError)):
                written = obstore.put(self._store, key, data, mode="create")
        except (AlreadyExistsError, PreconditionError):
            return self.read(key) == data, None
        return True, self._found(key, written["e_tag"])

    def replace(self, key: str, path: Path, known: Found) -> bool:
        """Write a file in the place of the `known` object; return whether it is there now: not if another one was."""
        import obstore
        from obstore.exceptions import PreconditionError

        data = path.read_bytes()
        try:
            with _errors(keep=(PreconditionError,)):
                obstore.put(self._store, key, data, mode={"e_tag": known.e_tag})
        except (PreconditionError, NotThere):
            with suppress(NotThere):
                return self.read(key) == data  # a request whose answer was lost is sent again
            return False
        return True

    def read(self, key: str) -> bytes:
        """Return an object's content.

        Raises:
            NotThere: there is none.
        """
        import obstore

        with _errors():
            return bytes(obstore.get(self._store, key).bytes())

    def fetch(self, key: str, path: Path) -> None:
        """Write an object's content into a file.

        Raises:
            NotThere: there is none.
        """
        import obstore

        with _errors(), path.open("wb") as target:
            for chunk in obstore.get(self._store, key).stream():
                target.write(chunk)

    def delete(self, keys: list[str]) -> None:
        """Remove objects; those that are not there are no error."""
        import obstore

        if keys:
            with _errors(), suppress(FileNotFoundError):
                obstore.delete(self._store, keys)

    def delete_known(self, known: Mapping[str, Found]) -> None:
        """Remove objects, one by one, each unless it is another one by now.

        Between the look at an object and its removal it may be replaced: obstore removes without a condition.
        """
        for key, found in known.items():
            if self._found(key) == found:
                self.delete([key])

    def listing(self, key: str) -> dict[str, Found]:
        """Return the object of that name, or all objects below it, by name."""
        import obstore

        if Path(key).suffix and (found := self._found(key)) is not None:
            return {key: found}
        with _errors():
            below = [one for chunk in obstore.list(self._store, prefix=key or None) for one in chunk]
        if not below and key and not Path(key).suffix:
            found = self._found(key)
            return {} if found is None else {key: found}
        return {one["path"]: _of(one) for one in below}

    def names(self, key: str) -> list[str]:
        """Return the names of objects and folders directly below a folder, sorted."""
        import obstore

        with _errors():
            found = obstore.list_with_delimiter(self._store, prefix=key or None)
        paths = [*found["common_prefixes"], *(one["path"] for one in found["objects"])]
        return sorted({path.rstrip("/").rpartition("/")[2] for path in paths})

    def _found(self, key: str, e_tag: str | None = None) -> Found | None:
        """Return an object; None if there is none, or, with an `e_tag`, if it is another one."""
        import obstore

        try:
            with _errors():
                found = obstore.head(self._store, key)
        except NotThere:
            return None
        return _of(found) if e_tag is None or _plain(found["e_tag"]) == _plain(e_tag) else None


def endpoint_url() -> str:
    """Return the address of the object store; empty for AWS's own."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _of(found: ObjectMeta) -> Found:
    mark = int.from_bytes(sha256(_plain(found["e_tag"]).encode()).digest()[:8], "big") % NS
    return Found(found["size"], int(found["last_modified"].timestamp()) * NS + mark, found["e_tag"] or "")


def _plain(e_tag: str | None) -> str:
    return (e_tag or "").strip('"')


def _source(path: Path) -> Any:
    """Return a file that is sent."""
    return path.open("rb")


class _errors:  # noqa: N801 (a context manager)
    """Turn obstore's errors into OSError without an errno; those of this machine's disk have one, and stay."""

    def __init__(self, *, keep: tuple[type[Exception], ...] = ()) -> None:
        self._keep = keep

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        from obstore.exceptions import BaseError

        if error is None or isinstance(error, self._keep):
            return
        if isinstance(error, FileNotFoundError) and error.errno is None:
            raise NotThere(_line(error)) from None
        if isinstance(error, BaseError) or (isinstance(error, OSError) and error.errno is None):
            raise OSError(_line(error)) from None


def _line(error: BaseException) -> str:
    """Return what an error says, in one line: obstore's messages end with a dump of their own structure."""
    text = str(error).partition("\n\nDebug source:")[0]
    return " ".join(text.split())[:300]
