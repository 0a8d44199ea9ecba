"""What a part of the rows can be kept aside of."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pyarrow as pa


class Whole(Protocol):
    """Rows of a file, a folder or a library, which can be read twice."""

    @property
    def path(self) -> Path: ...  # noqa: D102

    @property
    def text(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def is_here(self) -> bool: ...  # noqa: D102

    def read_with_remarks(self, part: str) -> tuple[pa.Table, tuple[str, ...]]: ...  # noqa: D102
