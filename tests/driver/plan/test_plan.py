"""`prunefront plan` as a person meets it: a probe against a real search, then the search read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli.app import run as run_here
from pipeline.study.store import Store
from tests.kit.toy import prunefront_here, small, write_task

KEYS = {
    "study",
    "trials",
    "concurrent",
    "source",
    "epochs_per_trial",
    "epochs",
    "minutes_per_trial",
    "minutes",
}
KEYS |= {"dense_minutes", "gpu_hours", "checkpoints_mb", "front_mb", "memory_mb", "fit_minutes"}
Here = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = run_here([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.mark.usefixtures("executor")
def test_a_probe_is_near_the_search_and_the_search_is_read_after_it(tmp_path: Path, here: Here) -> None:
    # trials of 160 rows take less than what starts and ends them, which varies most
    task, store = write_task(tmp_path / "task", rows=640), tmp_path / "store"
    asked: list[str | Path] = [*small(task), "--store", store]
    asked += ["--trials", "2", "--latency-grid", "none", "--quiet", "--json"]

    run = prunefront_here("plan", *asked, "--minutes", "1")
    assert run.returncode == 0, run.stderr
    probed = json.loads(run.stdout)
    assert probed.keys() >= KEYS
    assert probed["source"] == probed["minutes"]["source"] == "probe"
    assert probed["gpu_hours"] is None
    assert not store.exists(), "a plan leaves nothing in the store"

    search = prunefront_here("search", *asked)
    assert search.returncode == 0, search.stderr
    kept = Store(store)
    records = [kept.study(probed["study"]).read_record(number) for number in range(2)]
    assert probed["epochs"]["typical"] == pytest.approx(
        sum(r.epochs for r in records) + kept.study(probed["study"]).read_spec().anchors.dense_epochs, rel=0.4
    )
    real = sum(r.seconds for r in records) / 2 / 60
    typical = probed["minutes_per_trial"]["typical"]
    assert real / 5 < typical < 5 * real, "a busy machine, trials of a few seconds: the order of magnitude"
    peak = max(float(r.provenance["peak_memory_mb"]) for r in records)
    assert peak / 2 < probed["memory_mb"]["typical"] < 2 * peak

    before = sorted(store.rglob("*"))
    code, printed, message = here("plan", *asked)
    assert code == 0, message
    read = json.loads(printed)
    assert read["source"] == read["study"] == probed["study"]
    assert read["epochs_per_trial"]["low"] >= min(r.epochs for r in records)
    assert read["minutes_per_trial"]["high"] <= max(r.seconds for r in records) / 60 + 1e-9
    assert read["dense_minutes"] == {"typical": 0, "low": 0, "high": 0, "unit": "min", "source": "store"}
    assert read["front_mb"]["typical"] == kept.study(probed["study"]).weights.size_bytes() / 1e6
    code, printed, _ = here("plan", *asked, "--keep-weights", "all")
    everything = json.loads(printed)["front_mb"]["typical"]
    one = kept.study(probed["study"]).read_spec().anchors.dense_size_mb
    assert everything == pytest.approx(
        2 * 2 * one, rel=0.05
    )  # two trials of one round: before and after its cut
    assert sorted(store.rglob("*")) == before
    code, printed, _ = here("plan", *(each for each in asked if each != "--json"))
    assert code == 0
    assert "time of the search" in printed
    assert probed["study"] in printed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--trials", "0"], "--trials"),
        (["--task", "glue/sst3"], "glue/sst2"),
        (["--method", "snap"], "snip"),
        (["--model", "./no/such/folder"], "no/such/folder"),
        (["--gpu-hours", "1", "--gpus-per-trial", "0"], "--minutes"),
    ],
    ids=["trials", "task", "method", "model", "gpu"],
)
def test_what_a_search_refuses_a_plan_refuses(
    tmp_path: Path, here: Here, arguments: list[str], says: str
) -> None:
    code, printed, message = here("plan", "--store", tmp_path / "store", *arguments)
    assert code == 2, message
    assert says in message
    assert printed == ""
    assert not (tmp_path / "store").exists()
