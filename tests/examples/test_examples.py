"""The examples run, on a tiny model that one trial has trained; that trial is what their searches find."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

import pipeline.driver.search.api
from pipeline.driver.search.request import Search
from pipeline.fronts.front import Front, load_front
from pipeline.task.loading import load_task
from pipeline.trial.latency import timing
from tests.kit.documents import ROOT
from tests.kit.pages_folder import OWN as STUDY
from tests.kit.pages_folder import copy_pages_folder, copy_study

EXAMPLES = ROOT / "examples"
LINES = 40


@pytest.fixture
def folder(pages_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy as the current folder. A search's stand-in copies its study under the name that is asked for."""
    copy_pages_folder(pages_folder, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(timing, "WHOLE_SECONDS", 0.05)

    def run(request: Search, watcher: object) -> Front:
        assert request.task.startswith("builtin/") or Path(request.task).is_file()
        if request.name is not None:
            copy_study(STUDY, request.name, store=request.store, method=request.method, seed=request.seed)
        return load_front(request.name or STUDY)

    monkeypatch.setattr(pipeline.driver.search.api, "run", run)
    return tmp_path / "here"


def run_notebook(path: Path) -> dict[str, Any]:
    """Run the code cells of a notebook in order, as Jupyter would; return its names."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(json.loads(path.read_text())["cells"]):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{path.name}[{number}]", "exec"), names)
    return names


def run_example(name: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_the_notebook_runs_and_holds_no_output(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with mpl.rc_context({"backend": "agg"}):
        names = run_notebook(EXAMPLES / "first_front.ipynb")
    assert names["chosen"] in names["front"].points
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(names["front"].points) + 1
    cells = json.loads((EXAMPLES / "first_front.ipynb").read_text())["cells"]
    assert all(not cell.get("outputs") for cell in cells)


def test_own_data_splits_its_rows_once_and_searches(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"a sentence of number {row},{row % 3}" for row in range(50)]
    (folder / "mine.csv").write_text("\n".join(["sentence,topic", *rows]) + "\n")
    run_example("own_data.py", "mine.csv", "sentence", "topic", "2", monkeypatch=monkeypatch)
    parts = [(folder / "mine" / name).read_text().splitlines() for name in ("train.csv", "test.csv")]
    assert [len(part) - 1 for part in parts] == [40, 10]
    assert sorted(row for part in parts for row in part[1:]) == sorted(rows)
    task = load_task(str(folder / "mine" / "task.toml"), cache=folder / "cache")
    assert (task.name, task.class_names, task.train.num_rows + task.validation.num_rows) == (
        "mine",
        ("0", "1", "2"),
        40,
    )
    assert "FrontPoint(" in capsys.readouterr().out


def test_search_builtin_prints_the_front(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("search_builtin.py", "1", monkeypatch=monkeypatch)
    printed = capsys.readouterr().out.splitlines()
    found = load_front(STUDY)
    assert printed[0].startswith(f"dense {found.spec.anchors.dense:.3f}")
    assert len(printed) == 1 + len(found.points)


def test_pick_and_export_writes_a_folder_that_loads(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("pick_and_export.py", STUDY, "small", "1", monkeypatch=monkeypatch)
    assert (folder / "small" / "model.safetensors").is_file()
    smallest = max(load_front(STUDY).points, key=lambda point: point.gain)
    assert f"{smallest.parameters:,} parameters" in capsys.readouterr().out


def test_compare_methods_prints_sentences(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("compare_methods.py", "reviews.toml", "3", monkeypatch=monkeypatch)
    assert "chance" in capsys.readouterr().out


def test_scripts_are_short() -> None:
    names = ["add_a_method", "compare_methods", "own_data", "pick_and_export", "search_builtin"]
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert [path.stem for path in scripts] == names
    for path in scripts:
        assert len(path.read_text().splitlines()) < LINES, path.name
