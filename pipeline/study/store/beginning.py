"""The beginning of a study whose name an earlier search has left unseen: its files are removed, its word is replaced.

Another driver may take over at any moment, and begin in the same folder. On a disk a folder is renamed in one step,
and put back if it was the other one's. In a bucket, which renames nothing, only the objects that were there before the
last look at the lease are removed, one by one, each only if it was not replaced. One that is replaced between that
look and its removal, milliseconds later, is lost, since obstore removes without a condition: of a driver that stands
still there for minutes, and is taken over, one file of the later search. If it is a record, the next start misses it,
says so, and runs its trial again. The word, without which that search's workers would end, is replaced on condition.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from pipeline.study.store.objects import Bucket, bucket_of
from pipeline.study.store.recordfile import json_bytes
from pipeline.study.store.studyfile import Began, began_file
from pipeline.study.store.written_once import send_instead


def begin_study(study: Path, *, check: Callable[[], None]) -> None:
    """Remove what an earlier search left in a study's folder, and note a new word; a later driver's word stays.

    Args:
        study: its folder.
        check: raises an error if another driver has taken over.
    """
    bucket = bucket_of(study)
    if bucket is not None:
        _in_bucket(study, bucket, check)
        return
    check()
    _remove_here(study, check)
    began_file(study).write_once(new_word())


def new_word() -> Began:
    """Return a word that no other search has."""
    return Began(secrets.token_hex(4))


def _in_bucket(study: Path, bucket: Bucket, check: Callable[[], None]) -> None:
    left = bucket.listing(study)
    check()  # what is listed is no later driver's
    _remove_here(study, check)
    began = began_file(study)
    known = left.pop(began.path.relative_to(bucket.copy).as_posix(), None)
    if known is None:
        began.write_once(new_word())
    elif not send_instead(began.path, json_bytes(new_word()), known):
        return  # another driver has begun, and removes what is left
    bucket.drop_known(left)  # its earlier workers leave nothing from now on


def _remove_here(study: Path, check: Callable[[], None]) -> None:
    """Remove a folder; a driver that has stood still since its last check puts it back."""
    if not study.is_dir():
        return
    aside = study.with_name(f".{study.name}.{secrets.token_hex(4)}.part")
    study.rename(aside)
    try:
        check()
    except Exception:
        aside.rename(study)
        raise
    shutil.rmtree(aside, ignore_errors=True)
