"""A method of another package: found by its entry point, searched with, checked against the laws, shown in tables."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from runpy import run_path

import pytest

from tests.kit.toy import command, environment, prunefront, prunefront_here, small, write_task

ROOT = Path(__file__).parents[2]
FILES = ("add_a_method.py", "output-norm.toml")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example as an installed distribution: its module, its space, its entry point."""
    site = tmp_path_factory.mktemp("site")
    for name in FILES:
        shutil.copy(ROOT / "examples" / name, site / name)
    about = site / "my_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[prunefront.methods]\noutput-norm = add_a_method:OutputNorm\n")
    return site


def test_it_is_short() -> None:
    assert len((ROOT / "examples" / FILES[0]).read_text().splitlines()) < 40


def test_its_file_run_alone_checks_it_against_the_laws(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(installed)  # as Python itself does for a file that it runs
    run_path(str(installed / FILES[0]), run_name="__main__")


def test_a_process_finds_it_by_its_entry_point(installed: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        command("search", "--method", "output-nrm", "--store", tmp_path / "store"),
        capture_output=True,
        text=True,
        env=environment() | {"PYTHONPATH": f"{installed}:{ROOT}"},
        check=False,
    )
    assert run.returncode == 2
    assert "Did you mean output-norm?" in " ".join(run.stderr.split())


@pytest.mark.usefixtures("inline")
def test_a_search_runs_it_and_its_results_are_read_without_it(installed: Path, tmp_path: Path) -> None:
    task, store = write_task(tmp_path / "toy", rows=160), tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(installed)
        run = prunefront_here(
            "search", *small(task), "--method", "output-norm", "--trials", "1",
            "--latency-grid", "none", "--store", store, "--name", "own", "--quiet", "--json",
        )  # fmt: skip
        assert (run.returncode, run.stderr) == (0, "")
        assert json.loads(run.stdout)["method"] == "output-norm"
        assert "norm" in prunefront_here("show", "own", "--store", store).stdout.split()
    without = prunefront("show", "own", "--store", store)  # a process of its own knows of no package
    assert without.returncode == 0, without.stderr
    assert "norm" not in without.stdout.split()
    assert "output-norm" in without.stdout


def test_it_is_unknown_where_it_is_not_installed(tmp_path: Path) -> None:
    run = prunefront_here("search", "--method", "output-norm", "--store", tmp_path)
    assert run.returncode == 2
    assert "'output-norm'" in run.stderr
