"""Commands that only read, without pandas: pyarrow imports it to ask whether arrays are of pandas.

That is half of such a command's time. Nothing in them needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

READING = ("show", "best", "studies")
PUBLISHES = "--sync"


class _NoPandas:
    """Finds no pandas."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("a command that only reads needs no pandas", name=name)


def spare_pandas(arguments: Sequence[str]) -> None:
    """Keep pandas out of this process if its command only reads."""
    if arguments and arguments[0] in READING and PUBLISHES not in arguments and "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas)
