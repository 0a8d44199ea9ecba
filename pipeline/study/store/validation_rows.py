"""The ids and labels of the rows on which networks are measured, as one .npz file."""

from __future__ import annotations

import io
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from pipeline.study.records import Array
from pipeline.study.store.recordfile import Damaged, write_and_send


def write_rows(path: Path, ids: list[str], labels: Array) -> None:
    """Write ids and labels [V], replacing an earlier file; the folder is made if it is missing."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, ids=np.array(ids, dtype=np.str_), labels=labels)
    write_and_send(path, buffer.getvalue())


def read_rows(path: Path) -> tuple[list[str], Array]:
    """Return ids and labels [V] as they were written.

    Raises:
        OSError: there is no such file.
        Damaged: it is not whole.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["ids"].tolist(), arrays["labels"]
    except (ValueError, KeyError, EOFError, BadZipFile) as error:
        raise Damaged(
            f"A store's files are whole; {path} is damaged: {error}. Restore it from a copy."
        ) from error
