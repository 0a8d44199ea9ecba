"""What goes wrong with a journal's files, as Optuna says it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import StorageInternalError


@contextmanager
def file_errors() -> Iterator[None]:
    """Turn errors of files, and of what is in them, into Optuna's."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise StorageInternalError(str(error)) from error
