"""Checks before anything is written: the name of a study, the place of a store."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from pipeline.study.records import BadInput
from pipeline.study.store.objects import OBJECTS, Bucket, ObjectStoreLost
from pipeline.study.store.recordfile import write_and_send
from pipeline.study.whole_file import write_whole

NO_CONDITIONS = (
    "{place} ignores the condition If-None-Match: of two attempts at a trial that end at the same moment, as a worker "
    "that was cut off and the one in its place, the later one's record replaces the other's. One driver at a time is "
    "ensured by the ledger, as everywhere. AWS, R2, and newer versions of MinIO and Ceph know conditional writes."
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # also a folder's name, on any file system


def check_name(study: str) -> None:
    """Refuse an invalid name of a study.

    Raises:
        BadInput: the name is not valid.
    """
    if not NAME.fullmatch(study):
        raise BadInput(
            f"{study!r} cannot name a study. A name is up to 100 letters, digits, '.', '_' and '-', the first a letter "
            "or digit."
        )


def check_place(root: Path, bucket: Bucket | None) -> str:
    """Try to write into the bucket, the folder `root`, or its nearest parent that exists; leave nothing behind.

    Return what the user should know of the place; empty if nothing.

    Raises:
        BadInput: nothing can be written there.
    """
    if bucket is None:
        _check_folder(root)
        return ""
    return "" if _check_bucket(bucket) else NO_CONDITIONS.format(place=f"{OBJECTS}{bucket.place}")


def _check_folder(root: Path) -> None:
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    try:
        trial = place / f".{secrets.token_hex(4)}.part"
        trial.write_bytes(b"x")
        trial.unlink()
    except OSError as error:
        raise BadInput(
            f"{root} cannot be written: {error.strerror} at {place}. Choose another folder by --store."
        ) from error


def _check_bucket(bucket: Bucket) -> bool:
    """Write an object, and try to write another one where it is; return whether that is refused, as it should be."""
    mark = bucket.copy / f"seen-{secrets.token_hex(4)}"
    try:
        bucket.copy.mkdir(parents=True, exist_ok=True)
        write_and_send(mark, b"x")
        write_whole(mark, b"y")
        is_new = bucket.send_new(mark)
        bucket.drop(mark)
    except ObjectStoreLost as error:
        raise BadInput(f"--store is a folder, or s3://BUCKET/PREFIX that can be written. {error}") from None
    finally:
        mark.unlink(missing_ok=True)
    return not is_new
