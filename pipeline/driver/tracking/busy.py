"""A database of MLflow's that is busy: what it refuses for a moment is asked again at once.

A deadlock or a lock ends a transaction, of which nothing is written. A server that answers 429, 500, 502, 503 or 504
is asked again by MLflow's own client (`opening.ENVIRONMENT`). Where the first request had been carried out a run may be
there twice, of which one stays (`doubles`).
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import Any

PAUSES_S = (
    0.2,
    1.0,
    4.0,
)  # each up to twice as long, at random: two that wait for each other must not meet again
STATES = ("40001", "40P01", "55P03")  # of SQL: serialization failure, deadlock, lock not available
WORDS = re.compile(
    r"deadlock|database (table )?is locked|lock wait timeout|could not serialize", re.IGNORECASE
)


class PatientClient:
    """An MlflowClient whose calls are repeated while its database is busy."""

    def __init__(self, client: Any) -> None:
        """Wrap a client."""
        self._client = client

    def __getattr__(self, name: str) -> Any:
        """Return a method of the client, with patience."""
        call = getattr(self._client, name)
        return lambda *arguments, **options: patiently(lambda: call(*arguments, **options))


def patiently(call: Callable[[], Any]) -> Any:
    """Return the result of a call, repeated after pauses while the database is busy."""
    for pause in PAUSES_S:
        try:
            return call()
        except Exception as error:
            if not is_busy(error):
                raise
            time.sleep(pause * random.uniform(1.0, 2.0))
    return call()


def is_busy(error: BaseException | None) -> bool:
    """Return whether an error, or a cause of it, is a deadlock or a lock."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        state = getattr(getattr(error, "orig", None), "sqlstate", None)
        if state in STATES or WORDS.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False
