"""Which of Ray's processes trials run in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.driver.execute.cluster import Cluster


@contextmanager
def in_processes_that_are_there(cluster: Cluster) -> Iterator[None]:
    """Run trials in processes that Ray has started before, and that have imported what trials need.

    Tune gives its actors an environment of their own, and Ray starts new processes for one. On this machine all inherit
    the driver's; where processes import nothing at their start, all is as Tune has it.
    """
    if cluster.marks is None:
        yield
        return
    import ray

    try:
        from ray.tune.execution.class_cache import _ActorClassCache
    except ImportError:  # elsewhere in another version of Ray: trials start seconds later
        yield
        return

    def get(cache: Any, trainable: Any) -> Any:
        if trainable not in cache._cache:
            cache._cache[trainable] = ray.remote(trainable)
        return cache._cache[trainable]

    usual = _ActorClassCache.get
    _ActorClassCache.get = get  # type: ignore[method-assign]
    try:
        yield
    finally:
        _ActorClassCache.get = usual  # type: ignore[method-assign]
