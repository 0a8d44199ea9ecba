"""Whose weights a search leaves in its store: of all networks, or of the front's only; a real search of two trials."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.fronts.front import load_front
from pipeline.study.store import Store
from tests.kit.toy import prunefront_here, small, write_task


@pytest.mark.usefixtures("inline")
def test_weights_of_all_networks_or_of_the_front_only(tmp_path: Path) -> None:
    task = write_task(tmp_path / "task", rows=160)
    usual = [
        "search", *small(task), "--store", tmp_path / "store", "--name", "toy", "--trials", "2",
        "--scheduler", "none", "--latency-grid", "none", "--quiet",
    ]  # fmt: skip

    def weights(*, keep: str) -> set[Path]:
        made = prunefront_here(*usual, "--keep-weights", keep)
        assert made.returncode == 0, made.stderr
        return set((tmp_path / "store" / "studies" / "toy" / "trials").glob("*/weights/*.safetensors"))

    everything = weights(keep="all")
    assert {file.parts[-3] for file in everything} == {"00000", "00001"}
    assert {file.name for file in everything} == {"round-00.safetensors", "recovered.safetensors"}
    front = load_front("toy", store=tmp_path / "store").points
    kept = Store(tmp_path / "store").study("toy").weights
    of_front = {kept.of_point(point) for point in front}
    assert of_front < everything, "a toy whose every network is on the front shows nothing"
    assert weights(keep="front") == of_front
