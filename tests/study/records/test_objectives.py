"""Real searches on other objectives than compression, on the toy task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli.app import run as run_here
from pipeline.fronts.front import load_front
from pipeline.study.store import Store
from tests.kit.ledger import optuna_study
from tests.kit.toy import prunefront_here, small, write_task


def search(folder: Path, *options: str) -> list[str | Path]:
    task = folder / "task" / "task.toml"
    if not task.exists():
        write_task(task.parent, rows=160)
    return [
        "search", *small(task), "--name", "toy", "--trials", "2", "--store", folder / "store", *options,
    ]  # fmt: skip


@pytest.mark.usefixtures("inline")
def test_a_search_on_latency(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = prunefront_here(*search(tmp_path, "--objective", "latency", "--latency-grid", "2x16,1x8", "--json"))
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert (found["objective"], found["latency"]["batch"], found["latency"]["length"]) == ("latency", 2, 16)
    store = Store(tmp_path / "store")
    table = store.study("toy").latency.read().table
    assert table is not None
    front = load_front("toy", store=store.root)
    assert front.points
    for point in front.points:
        assert point.latency_source == "measured"
        assert [str(each.bench.shape) for each in point.latencies] == ["2x16", "1x8"]
        assert point.latency_ms == point.latencies[0].ms > 0
        seen = store.study("toy").read_record(point.trial).points[point.point]
        assert seen.measurement.latency_ms == table.predict(seen.masks)
        assert point.gain == pytest.approx(1 - table.predict(seen.masks) / table.dense_ms)
    for trial in optuna_study(f"sqlite:///{store.studies_db}", "toy").trials:
        recovered = store.study("toy").read_record(trial.number).recovered
        assert recovered is not None
        assert trial.values == pytest.approx(front.spec.values(vars(recovered.measurement)).tolist())

    assert run_here(["show", "toy", "--store", str(store.root)]) == 0
    assert "ms: a batch of 2 × 16 tokens, fp32, 1 thread" in capsys.readouterr().out.replace("\n", " ")
    most = max(point.latency_ms for point in front.points if point.latency_ms is not None)
    assert run_here(["best", "toy", "--store", str(store.root), "--max-latency-ms", str(most), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["point"]["latency_ms"] <= most

    for options, says in (
        (["--objective", "macs"], 'objective: it is "latency", requested is "macs"'),
        (
            ["--objective", "latency", "--latency-grid", "4x16"],
            'latency_at: it is "2x16", requested is "4x16"',
        ),
    ):
        assert run_here([str(each) for each in search(tmp_path, *options)]) == 2
        assert says in capsys.readouterr().err


@pytest.mark.usefixtures("inline")
def test_a_search_on_macs(tmp_path: Path) -> None:
    run = prunefront_here(*search(tmp_path, "--objective", "macs", "--latency-grid", "none", "--json"))
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert (found["objective"], found["latency"]) == ("macs", None)
    dense = load_front("toy", store=tmp_path / "store").spec.anchors.dense_macs
    assert found["points"]
    for point in found["points"]:
        assert point["gain"] == pytest.approx(1 - point["macs"] / dense)
        assert point["latency_ms"] is None
    gains = sorted((point["gain"], -point["metric"]) for point in found["points"])
    assert gains == sorted(gains, key=lambda pair: pair[1]), "on a front more saved MACs cost metric"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--objective", "speed"], "compression, macs, latency"),
        (["--latency-grid", "8"], "BATCHxTOKENS"),
        (["--latency-grid", "8x9999"], "positions for"),
        (["--objective", "latency", "--latency-grid", "none"], "measures it"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert run_here([str(each) for each in search(tmp_path, *options)]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
