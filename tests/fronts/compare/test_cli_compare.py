"""`prunefront compare` as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli.app import run
from tests.kit.compare import write_group, write_study


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_group(tmp_path / "runs", "snip", [0.80, 0.81, 0.82])
    write_group(tmp_path / "runs", "chance", [0.60, 0.60, 0.62], method="chance")
    return tmp_path / "runs"


def test_it_prints_a_table_and_which_differences_are_real(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", "--task", "toy", "--store", str(store)]) == 0
    shown = capsys.readouterr().out
    assert "snip is better than chance" in " ".join(shown.split())
    assert "0.1550 ± 0.0124" in shown  # 0.155 and t(0.975; 2) * 0.005 / √3


def test_json_and_a_picture(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "fronts.svg"
    names = ["snip", "snip-seed1", "snip-seed2", "chance", "chance-seed1", "chance-seed2"]
    assert (
        run(
            [
                "compare",
                *names,
                "--store",
                str(store),
                "--png",
                str(picture),
                "--html",
                str(tmp_path / "page.html"),
                "--json",
            ]
        )
        == 0
    )
    assert "snip is better than chance" in (tmp_path / "page.html").read_text()
    found = json.loads(capsys.readouterr().out)
    assert found["validation"]["tests"][0]["real"] is True
    assert found["test"] is None
    assert found["validation"]["worths"][0]["hypervolume"]["mean"] == pytest.approx(0.155)
    assert picture.read_bytes().lstrip().startswith(b"<?xml")


def test_ranks_over_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for task in ("a", "b"):
        write_study(tmp_path, f"{task}-snip", [(0.8, 0.5)], task=task, task_fingerprint=task)
        write_study(
            tmp_path, f"{task}-chance", [(0.7, 0.5)], task=task, task_fingerprint=task, method="chance"
        )
    names = ["a-snip", "b-snip", "a-chance", "b-chance"]
    picture = tmp_path / "ranks.png"
    assert run(["compare", *names, "--across-tasks", "--store", str(tmp_path), "--png", str(picture)]) == 0
    assert "average rank" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["snip", "nothing"], "nothing"),
        ([], "No study is named"),
        (["snip", "--png", "fronts.jpg"], ".svg"),
        (["snip", "chance", "--html", "x.html", "--across-tasks"], "--html"),
        (["snip", "--html", "no/such/folder/page.html"], "--html"),
        (["snip", "--png", "no/such/folder/fronts.png"], "--png"),
    ],
)
def test_bad_input_is_refused(
    store: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", *arguments, "--store", str(store)]) == 2
    assert says in capsys.readouterr().err


def test_a_page_that_cannot_be_written_leaves_no_picture_behind(store: Path, tmp_path: Path) -> None:
    picture = tmp_path / "fronts.png"
    asked = ["compare", "snip", "--png", str(picture), "--html", str(tmp_path / "no" / "page.html")]
    assert run([*asked, "--store", str(store)]) == 2
    assert not picture.exists()
