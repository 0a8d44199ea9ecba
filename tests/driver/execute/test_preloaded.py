"""Ray's processes import what trials need as they start, where trials will need them all and there is memory."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from pipeline.driver.execute import Resources, connect, exclusive, run_alone, run_each
from pipeline.driver.execute import cluster as module
from pipeline.driver.execute.cluster import PRELOADED, preloaded
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


@pytest.mark.usefixtures("one_ray")
def test_a_timing_waits_until_all_processes_have_run_something(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []
    wait = exclusive._wait_for_imports

    def noted(cores: int, *, timeout_s: float) -> None:
        wait(cores, timeout_s=timeout_s)
        waited.append(cores)

    monkeypatch.setattr(exclusive, "_wait_for_imports", noted)
    with connect(Resources(concurrent=1), shared_bytes=0) as cluster:
        assert run_alone(replace(cluster, imports=False), lambda _, item: item + 1, None, 1) == 2
        assert waited == []
        assert run_alone(replace(cluster, imports=True), lambda _, item: item + 1, None, 1) == 2
        assert waited == [round(cluster.cpus)]


@pytest.mark.usefixtures("one_ray")
def test_a_process_has_them_before_its_first_task() -> None:
    if not preloaded(Resources(concurrent=CORES)):
        pytest.skip("this machine has too many cores for two trials, or too little memory")
    with connect(Resources(concurrent=1), shared_bytes=0) as cluster:
        (order,) = run_each(cluster, lambda *_: list(sys.modules), None, [0], done=lambda: None)
    for name in PRELOADED:
        assert order.index(name) < order.index("pipeline.driver.execute.queue")
