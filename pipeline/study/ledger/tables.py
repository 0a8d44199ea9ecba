"""The tables of a new ledger: of two drivers that make them at once one fails, and finds them when it looks again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, IntegrityError

PAUSES_S = (0.1, 0.3, 1.0, 3.0)

T = TypeVar("T")


def made_once(make: Callable[[], T]) -> T:
    """Return what `make` opens, tried again where another process has just made the same."""
    for pause in PAUSES_S:
        try:
            return make()
        except DBAPIError as error:
            if not (isinstance(error, IntegrityError) or "already exists" in str(error)):
                raise
            time.sleep(pause)
    return make()
