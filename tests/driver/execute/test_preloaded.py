"""Ray's processes import what trials need as they start, where trials will need them all and there is memory."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from importlib import reload
from pathlib import Path

import pytest

from pipeline.driver.execute import Resources, connect, exclusive, imported, run_each
from pipeline.driver.execute import cluster as module
from pipeline.driver.execute.cluster import PRELOADED, Cluster, preloaded
from pipeline.driver.execute.processes import in_processes_that_are_there
from tests.kit.one_ray import CORES


@pytest.mark.parametrize(
    ("cores", "free_mb", "resources", "all_needed"),
    [
        (2, 2_000.0, Resources(), True),
        (2, 1_999.0, Resources(), False),
        (64, None, Resources(), True),
        (64, None, Resources(concurrent=32), True),
        (64, None, Resources(concurrent=31), False),
        (64, None, Resources(cpus_per_trial=2.0), True),
        (64, None, Resources(cpus_per_trial=3.0), False),
    ],
)
def test_they_do_where_trials_need_half_of_them_or_more(
    cores: int, free_mb: float | None, resources: Resources, all_needed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    monkeypatch.setattr(module, "free_memory_mb", lambda: free_mb)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert preloaded(resources) == (PRELOADED if all_needed else ())
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert preloaded(resources) == ()


def test_a_wait_ends_with_the_last_mark_or_some_time_after_the_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, marked_at = [0.0], [1.0, 2.5]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def sleep(seconds: float) -> None:
        now[0] += seconds
        for number, at in enumerate(marked_at):
            if now[0] >= at:
                (tmp_path / str(number)).touch()

    monkeypatch.setattr("time.sleep", sleep)
    exclusive._wait_for_imports(tmp_path, 2)
    assert now[0] == pytest.approx(2.5, abs=0.06)
    exclusive._wait_for_imports(tmp_path, 3)  # the third has not been started
    assert now[0] == pytest.approx(2.5 + exclusive.LATER_S, abs=0.2)
    exclusive._wait_for_imports(tmp_path / "..", 1)
    assert now[0] < 5.0


def test_a_mark_is_left_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(imported.MARKS, raising=False)
    reload(imported)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv(imported.MARKS, str(tmp_path))
    reload(imported)
    assert [each.name for each in tmp_path.iterdir()] == [str(os.getpid())]


@pytest.mark.usefixtures("one_ray")
def test_a_process_has_them_before_its_first_task() -> None:
    if not preloaded(Resources(concurrent=CORES)):
        pytest.skip("this machine has too many cores for two trials, or too little memory")
    with connect(Resources(concurrent=1), shared_bytes=0) as cluster:
        (order,) = run_each(cluster, lambda *_: list(sys.modules), None, [0], done=lambda: None)
    for name in PRELOADED:
        assert order.index(name) < order.index("pipeline.driver.execute.queue")


def test_actors_have_no_environment_of_their_own_where_processes_have_imported(tmp_path: Path) -> None:
    from ray.tune.execution.class_cache import _ActorClassCache

    def environment() -> object:
        made = _ActorClassCache().get(type("Trainable", (), {}))
        return made._default_options.get("runtime_env")

    plain = Cluster(2, 1.0, 0.0)
    with in_processes_that_are_there(plain):
        assert environment(), "as Tune has it; without one this file is not needed"
    with in_processes_that_are_there(replace(plain, marks=tmp_path)):
        assert environment() is None
    assert environment()
