"""A process that runs trials has one heap: what one trial frees, the next one has."""

import os

from pipeline.execute import Resources, connect, run_each


def test_workers_have_one_heap() -> None:
    with connect(Resources(concurrent=1), shared_bytes=0) as cluster:
        found = run_each(
            cluster, lambda _, name: os.environ.get(name), None, ["MALLOC_ARENA_MAX"], done=lambda: None
        )
    assert found == ["1"]
