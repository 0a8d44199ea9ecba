"""The examples run, on a tiny task: one real search, by the notebook; where others search, they get its front."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

import pipeline.driver.search.api
from pipeline.driver.search.request import Search
from pipeline.fronts.front import Front, load_front
from pipeline.trial.latency import timing
from tests.kit.documents import ROOT
from tests.kit.pages_folder import copy_study
from tests.kit.toy import write_task

EXAMPLES = ROOT / "examples"
LINES = 40
STUDY = "reviews-tiny-bert-snip"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of one's own, split by the example, and searched by the notebook."""
    folder = tmp_path_factory.mktemp("examples")
    rows = (write_task(folder / "toy", rows=1600).parent / "train.tsv").read_text()
    (folder / "reviews.csv").write_text(rows.replace("\t", ","))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(timing, "WHOLE_SECONDS", 0.05)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        task = runpy.run_path(str(EXAMPLES / "own_data.py"))["write_task"](
            Path("reviews.csv"), "sentence", "label"
        )
        for name, value in (("TASK", str(task)), ("TRIALS", "1")):
            patch.setenv(f"EXAMPLE_{name}", value)
        with mpl.rc_context({"backend": "agg"}):
            run_notebook(EXAMPLES / "first_front.ipynb")
    return folder


def run_notebook(path: Path) -> None:
    """Run the code cells of a notebook in order, as Jupyter would, in one namespace."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(json.loads(path.read_text())["cells"]):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{path.name}[{number}]", "exec"), names)


@pytest.fixture
def found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Front:
    """The notebook's front, which stands in for every further search."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(timing, "WHOLE_SECONDS", 0.05)

    def run(request: Search, watcher: object) -> Front:
        assert request.task.startswith("builtin/") or Path(request.task).is_file()
        if request.name is not None:
            copy_study(STUDY, request.name, store=request.store, method=request.method, seed=request.seed)
        return load_front(request.name or STUDY)

    monkeypatch.setattr(pipeline.driver.search.api, "run", run)
    return load_front(STUDY)


def run_example(name: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_the_notebook_searches_and_holds_no_output(folder: Path) -> None:
    assert len(load_front(STUDY, store=folder / "mlflow_runs").points) > 1
    cells = json.loads((EXAMPLES / "first_front.ipynb").read_text())["cells"]
    assert all(not cell.get("outputs") for cell in cells)


def test_the_rows_of_a_file_are_split_once(folder: Path) -> None:
    whole, *parts = (
        list(csv.reader((folder / name).open(newline="")))
        for name in ("reviews.csv", "reviews/train.csv", "reviews/test.csv")
    )
    assert [len(part) - 1 for part in parts] == [1280, 320]
    assert sorted(row for part in parts for row in part[1:]) == sorted(whole[1:])


def test_search_builtin_prints_the_front(
    found: Front, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("search_builtin.py", "1", monkeypatch=monkeypatch)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"dense {found.spec.anchors.dense:.3f}")
    assert len(printed) == 1 + len(found.points)


def test_pick_and_export_writes_a_folder_that_loads(
    found: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("pick_and_export.py", STUDY, str(tmp_path / "small"), "1", monkeypatch=monkeypatch)
    assert (tmp_path / "small" / "model.safetensors").is_file()
    smallest = max(found.points, key=lambda point: point.gain)
    assert f"{smallest.parameters:,} parameters" in capsys.readouterr().out


def test_compare_methods_prints_sentences(
    found: Front, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("compare_methods.py", "reviews/task.toml", "3", monkeypatch=monkeypatch)
    assert "chance" in capsys.readouterr().out


def test_scripts_are_short() -> None:
    names = ["add_a_method", "compare_methods", "own_data", "pick_and_export", "search_builtin"]
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert [path.stem for path in scripts] == names
    for path in scripts:
        assert len(path.read_text().splitlines()) < LINES, path.name
