"""How many trials run at once: worked out by hand from plain facts."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.driver.execute import Cluster, Peak, Resources, pack
from pipeline.driver.execute.packing import fitting, trials_per_gpu
from pipeline.driver.search.gpu_sharing import alone, grows, peak_of_trials
from pipeline.study.store import Store
from pipeline.trial.training.gpu_use import BUSY, GpuUse, nvml_reader
from pipeline.trial.training.process import free_memory_mb, mps_runs, usable_cores
from tests.kit.synthetic import point, record, spec

CPUS = Cluster(concurrent=8, cpus_per_trial=1.0, gpus_per_trial=0.0, cpus=8.0)
GPUS = Cluster(concurrent=2, cpus_per_trial=1.0, gpus_per_trial=1.0, cpus=16.0, gpus=2.0)


@pytest.mark.parametrize(
    ("free_mb", "at_once"),
    [(100_000, 8), (10_000, 6), (1_700, 1), (100, 1)],  # 0.9 · free / (1.5 · 1,000)
)
def test_memory_holds_fewer_trials_than_cores_do(free_mb: float, at_once: int):
    packing = pack(Resources(), CPUS, Peak(1_000), free_mb=free_mb)
    assert packing.cluster.concurrent == at_once
    assert packing.reason == (
        f"{at_once} at once, 1 thread each: 8 cores, {free_mb / 1_000:.0f} GB free, about 1.5 GB a trial"
    )


@pytest.mark.parametrize(
    ("busy", "stack", "together"),
    [
        (0.08, 1, 9),  # 72,000 / 8,100 would be 8.9: memory decides
        (0.2, 1, 5),  # 0.9 / 0.2
        (0.5, 1, 2),
        (0.95, 1, 1),
        (0.0, 1, 4),  # it is not known
        (0.1, 2, 4),  # 72,000 / 15,600: stacks of two
        (0.3, 4, 1),
    ],
)
def test_as_many_as_it_takes_to_keep_a_gpu_busy(busy: float, stack: int, together: int):
    peak = Peak(1_000, gpu_total_mb=80_000, gpu_trial_mb=7_200, gpu_busy=busy)
    expected = min(together, int(0.9 * 80_000 / (7_200 * stack + 600)))
    assert trials_per_gpu(peak.of_stack(stack)) == expected
    reason = pack(Resources(), GPUS, peak.of_stack(stack), free_mb=None).reason
    assert ("keeps it busy" in reason) == (busy > 0 and expected > 1)


def test_on_one_gpu_room_grows_when_the_first_trial_has_shown_what_it_needs():
    one = replace(GPUS, gpus=1.0, concurrent=1)
    estimate, measured = Peak(1_000, 4_000, 24_000), Peak(1_000, 4_000, 24_000, gpu_trial_mb=9_000)
    peaks = [estimate]
    packing = pack(Resources(), one, estimate, free_mb=None)
    assert (packing.estimated, packing.cluster.concurrent) == (True, 3)
    room = grows(packing.cluster, lambda: pack(Resources(), one, peaks[-1], free_mb=None))
    assert [room(), room()] == [1, 1]
    peaks.append(measured)
    assert room() == 2  # 21,600 / 9,600
    peaks.append(replace(measured, gpu_trial_mb=1_000))
    assert room() == 2  # decided once


def test_the_use_of_a_gpu_is_sampled_between_steps_once_a_trial_is_warm():
    now, percent = [0.0], iter((10, 30, 99))
    use = GpuUse(lambda: next(percent), clock=lambda: now[0])
    for now[0] in (0.1, 2.9, 3.1, 3.2, 3.3, 3.7):
        use.sample()
    assert use.facts() == {BUSY: "0.200"}
    assert GpuUse(None).facts() == {}
    assert nvml_reader(torch.device("cpu")) is None


def test_what_a_person_has_given_stays():
    given = Resources(concurrent=5, cpus_per_trial=2.0)
    cluster = Cluster(5, 2.0, 0.0, cpus=10.0)
    packing = pack(given, cluster, Peak(1_000), free_mb=100)
    assert packing.cluster == cluster
    assert packing.reason.startswith("5 at once, 2 threads each")
    given = Resources(gpus_per_trial=1.0)
    assert pack(given, GPUS, Peak(1, 100, 80_000), free_mb=None).cluster == GPUS


def test_without_a_measurement_cores_alone_decide():
    assert pack(Resources(), CPUS, None, free_mb=10).cluster == CPUS
    assert pack(Resources(), CPUS, Peak(1_000), free_mb=None).cluster == CPUS
    assert pack(Resources(), GPUS, None, free_mb=10_000).cluster == GPUS


@pytest.mark.parametrize(
    ("gpu_mb", "total_mb", "together"),
    [
        (5_000, 80_000, 4),  # 72,000 / 8,100 would be 8
        (8_000, 24_000, 1),  # 21,600 / 12,600
        (4_000, 16_000, 2),  # 14,400 / 6,600
        (20_000, 16_000, 1),
        (4_000, 24_000, 3),  # 21,600 / 6,600: Ray takes 0.3333, not 1 / 3
        (0, 0, 1),
    ],
)
def test_as_many_trials_share_a_gpu_as_its_memory_holds(gpu_mb: float, total_mb: float, together: int):
    peak = Peak(1_000, gpu_mb, total_mb)
    assert trials_per_gpu(peak) == together
    packing = pack(Resources(), GPUS, peak, free_mb=100_000)
    assert packing.cluster.gpus_per_trial == pytest.approx(1 / together, abs=1e-4)
    assert packing.cluster.concurrent == 2 * together
    assert ("share a GPU" in packing.reason) == (together > 1)


def test_trials_on_gpus_are_no_more_than_cores_or_memory_hold():
    peak = Peak(1_000, 1_000, 80_000)
    few = Cluster(2, 1.0, 1.0, cpus=5.0, gpus=2.0)
    assert pack(Resources(), few, peak, free_mb=100_000).cluster.concurrent == 5
    assert pack(Resources(), few, peak, free_mb=5_000).cluster.concurrent == 3
    assert pack(Resources(concurrent=3), few, peak, free_mb=5_000).cluster.concurrent == 3


def test_nothing_fits_where_a_trial_needs_more_than_is_free():
    assert (fitting(1_000, 900), fitting(900, 1_000), fitting(450, 1_000)) == (0, 1, 2)


def test_free_memory_is_the_containers_where_that_is_less(tmp_path: Path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000000 kB\nMemAvailable: 2000000 kB\n")
    assert free_memory_mb(meminfo, tmp_path) == pytest.approx(2_048)
    (tmp_path / "memory.max").write_text("1500000000\n")
    (tmp_path / "memory.current").write_text("500000000\n")
    assert free_memory_mb(meminfo, tmp_path) == pytest.approx(1_000)
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory_mb(meminfo, tmp_path) == pytest.approx(2_048)
    assert free_memory_mb(tmp_path / "nowhere", tmp_path / "nowhere") is None


def test_cores_are_the_containers_where_they_are_fewer(tmp_path: Path):
    mine = usable_cores(tmp_path)
    assert 1 <= mine <= (os.cpu_count() or 1)
    for text, cores in (("max 100000", mine), ("100000 100000", 1), ("50000 100000", 1)):
        (tmp_path / "cpu.max").write_text(text)
        assert usable_cores(tmp_path) == cores


def test_of_a_trials_own_peak_it_takes_no_more() -> None:
    assert (
        pack(
            Resources(), Cluster(8, 1.0, 0.0, 8.0), Peak.of_trial(1_000.0), free_mb=4_000.0
        ).cluster.concurrent
        == 3
    )


@pytest.mark.parametrize(
    ("dense_mb", "trial_mb", "together"),
    [
        (8_000, 6_600, 3),  # 21,600 / 7,200, where 1.5 times the dense network's would have been 1
        (4_000, 12_000, 1),  # 21,600 / 12,600, where it would have been 3
        (4_000, 6_000, 3),
        (0, 3_000, 4),  # a dense network from the store that was trained on a CPU; 6 would fit
    ],
)
def test_what_a_trial_needed_on_a_gpu_outdoes_the_guess(dense_mb: float, trial_mb: float, together: int):
    packing = pack(Resources(), GPUS, Peak(1_000, dense_mb, 24_000, trial_mb), free_mb=None)
    assert packing.cluster.concurrent == 2 * together
    assert not packing.estimated
    assert alone(packing) is None


def test_while_it_is_guessed_the_first_trials_have_a_card_each():
    packing = pack(Resources(), GPUS, Peak(1_000, 4_000, 24_000), free_mb=None)
    assert packing.estimated
    first = alone(packing)
    assert first is not None
    assert (first.concurrent, first.gpus_per_trial) == (2, 1.0)
    one = pack(Resources(concurrent=1), GPUS, Peak(1_000, 4_000, 24_000), free_mb=None)
    assert alone(one).concurrent == 1
    for given in (Resources(gpus_per_trial=0.5), Resources(gpus_per_trial=1.0)):
        assert alone(pack(given, GPUS, Peak(1_000, 4_000, 24_000), free_mb=None)) is None
    assert alone(pack(Resources(), CPUS, Peak(1_000), free_mb=None)) is None


@pytest.mark.parametrize(
    ("mps", "says"),
    [(None, "GPU"), (True, "GPU by NVIDIA's MPS"), (False, "GPU in turn (NVIDIA's MPS does not run)")],
)
def test_the_packing_line_has_how_a_card_is_shared(mps: bool | None, says: str):
    packing = pack(Resources(), GPUS, Peak(1_000, 4_000, 24_000), free_mb=None, mps=mps)
    assert packing.reason.endswith(f"3 share a {says}")
    assert "GPU" not in pack(Resources(), CPUS, Peak(1_000), free_mb=None, mps=False).reason


def test_mps_is_found_by_its_daemon_or_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
    for number, name in (("1", "init"), ("22", "python")):
        (tmp_path / number).mkdir()
        (tmp_path / number / "comm").write_text(f"{name}\n")
    assert not mps_runs(tmp_path)
    (tmp_path / "333").mkdir()
    (tmp_path / "333" / "comm").write_text("nvidia-cuda-mps\n")
    assert mps_runs(tmp_path)
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")
    assert mps_runs(tmp_path / "nowhere")


def test_the_most_that_a_trial_had_is_read_from_records(tmp_path: Path):
    store, dense = Store(tmp_path), Peak(1_000, 4_000, 24_000)
    store.write_spec(spec("toy"))
    assert peak_of_trials(store, "toy", dense) == dense
    for number, gpu in enumerate(("6000", "7000", None)):
        facts = {"peak_memory_mb": "3000"}
        facts |= {} if gpu is None else {"peak_gpu_reserved_mb": gpu, "gpu_total_mb": "23000"}
        store.study("toy").write_record(replace(record(number, point(0.5, 0.5)), provenance=facts))
    assert peak_of_trials(store, "toy", dense) == Peak(1_000, 4_000, 23_000, 7_000)
    assert peak_of_trials(store, "toy", None) == Peak(2_000, 0.0, 23_000, 7_000)
