"""Fitting a pruner: interrupted and continued it is the same; by the real command, then a search that uses it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli.app import run as run_here
from pipeline.cli.fit_pruner import STEPS
from pipeline.export.reopen import reopen
from pipeline.methods.smp import DEFAULT_STEPS, Fit, fit_pruner
from pipeline.model.source import read_weights
from pipeline.study.records import BadInput
from pipeline.study.store import Store
from tests.kit.gate import patched
from tests.kit.toy import SHORT_CUT, environment, write_model, write_task

SPACE = SHORT_CUT + "[tune_epochs]\nvalue = 0\n[recover_epochs]\nvalue = 1\n"


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("task"), rows=200)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("model")))


class Stopped(Exception):  # noqa: N818
    """Somebody pressed Ctrl-C."""


def test_interrupted_and_continued_is_the_same(task: Path, model: str, tmp_path: Path, monkeypatch) -> None:
    whole = Fit(model, (str(task),), steps=3, store=tmp_path / "whole")
    through = fit_pruner(whole)

    def stop(line: str) -> None:
        if line.startswith("step 1 "):
            raise Stopped

    parts = replace(whole, store=tmp_path / "parts")
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.methods.smp.fit.LOG_S", 0.0)
        with pytest.raises(Stopped):
            fit_pruner(parts, stop)
    assert not list((tmp_path / "parts").rglob("pruner.safetensors"))
    fit_pruner(replace(parts, steps=2))
    heard: list[str] = []
    after = fit_pruner(parts, heard.append)
    assert any(line.startswith("step 3 of 3") for line in heard)
    one, other = (read_weights(each.folder / "pruner.safetensors") for each in (through, after))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert after.about["steps"] == 3
    assert json.loads((after.folder / "pruner.json").read_text()) == after.about
    with pytest.raises(BadInput, match="seed was 0, requested is 1"):
        fit_pruner(replace(parts, seed=1))
    (after.folder / "fitting.safetensors").write_bytes(b"torn")
    with pytest.raises(BadInput, match="cannot be read"):
        fit_pruner(parts)


@pytest.mark.usefixtures("inline")
def test_the_command_then_a_search(
    task: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    asked = ["fit-pruner", "--model", model, "--tasks", str(task), "--store", str(store)]
    every_step = patched(
        [*asked, "--steps", "1000"], "from pipeline.methods.smp import fit", "fit.LOG_S = 0.0"
    )
    process = subprocess.Popen(
        every_step, stderr=subprocess.PIPE, text=True, env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step "):
            break
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    process.stderr.close()
    (state,) = store.rglob("fitting.safetensors")
    assert not (state.parent / "pruner.safetensors").exists()
    assert run_here([*asked, "--steps", "1", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["steps"] >= 1
    assert list(about["tasks"]) == ["toy"]
    (published,) = (store / "artifacts").rglob("pruner.safetensors")
    assert published.read_bytes() == (state.parent / "pruner.safetensors").read_bytes()

    (tmp_path / "space.toml").write_text(SPACE)
    asked = [
        "search", "--method", "smp", "--model", model, "--task", str(task), "--space", str(tmp_path / "space.toml"),
        "--store", str(store), "--trials", "1", "--concurrent", "1", "--latency-grid", "none",
        "--name", "toy", "--json",
    ]  # fmt: skip
    assert run_here(asked) == 0, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out)["method"] == "smp"
    record = Store(store).study("toy").read_record(0)
    assert record.state == "complete", record.reason
    assert record.recovered is not None
    left = record.recovered.masks.heads.sum(axis=1)
    assert left.max() - left.min() <= 1  # the same share of every layer
    assert left.sum() in (6, 7)  # half of all
    assert reopen(Store(store), "toy").inputs.fitted is not None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--steps", "0"], "--steps"), (["--seed", "-1"], "--seed"), (["nowhere.toml"], "nowhere.toml")],
)
def test_what_makes_no_sense_is_refused(
    task: Path,
    model: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    asked = ["fit-pruner", "--model", model, "--tasks", str(task), "--store", str(tmp_path / "store")]
    assert run_here([*asked, *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_the_commands_default_is_the_rooms() -> None:
    assert STEPS == DEFAULT_STEPS
