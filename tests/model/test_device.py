"""The device is said by who gives it: a trial without a GPU runs on the CPU, whatever its process sees."""

import pytest
import torch

from pipeline.driver.execute.cluster import Cluster
from pipeline.model.device import device_of


def test_a_cpu_that_was_said_is_used_beside_a_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [device_of(said).type for said in ("cpu", "cuda", "auto")] == ["cpu", "cuda", "cuda"]


def test_a_gpu_that_was_said_and_is_not_there_is_missed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [device_of(said).type for said in ("cpu", "auto")] == ["cpu", "cpu"]
    with pytest.raises(RuntimeError, match="was given a GPU, and torch finds none"):
        device_of("cuda")


@pytest.mark.parametrize(("gpus", "device"), [(0.0, "cpu"), (0.25, "cuda"), (2.0, "cuda")])
def test_a_cluster_says_the_device_of_its_trials(gpus: float, device: str):
    assert Cluster(concurrent=1, cpus_per_trial=1.0, gpus_per_trial=gpus).device == device
