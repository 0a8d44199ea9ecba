"""One Ray for all searches of a test process: started once, with workers that have imported torch already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pipeline.driver.execute import Cluster, Resources, connect

CORES = 2
SHARED_BYTES = 40_000_000  # 300 MB of shared memory and five times this: tiny models, toy rows


@contextmanager
def one_ray() -> Iterator[Cluster]:
    """Start Ray as a search would; whatever connects to it in this process meanwhile joins and leaves it running."""
    with (
        connect(Resources(concurrent=CORES), shared_bytes=SHARED_BYTES) as cluster,
        pytest.MonkeyPatch.context() as patch,
    ):
        import ray

        def join(*_arguments: Any, address: str | None = None, **_options: Any) -> None:
            assert address in (None, "local"), "A search on another cluster is a process of its own."

        patch.setattr(ray, "init", join)
        patch.setattr(ray, "shutdown", lambda: None)
        yield cluster
