"""What is printed: texts from outside as they are, numbers that are finite, pipes that are closed."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.table import Table

from pipeline.cli.app import run
from pipeline.cli.called import called
from pipeline.cli.output import CLOSED_PIPE, OutputLost, Printer, print_json, styled
from pipeline.cli.outside_errors import outside_cause
from pipeline.cli.progress import Terminal
from pipeline.study.store import Store, store_option
from tests.kit.synthetic import point, record, spec

ODD = ["[v1]", "[/]", "[red]", "a[/bold]", "\\[x]", "back\\", ":smile:", "{name}", "[link=x]y", "[[", "100 %"]


def printed(*objects: object) -> str:
    file = io.StringIO()
    Printer(file=file, highlight=False, markup=False, emoji=False, width=200).print(*objects)
    return file.getvalue().rstrip()


@pytest.mark.parametrize("text", ODD)
def test_texts_from_outside_are_printed_as_they_are(text: str) -> None:
    assert printed(text) == text
    assert printed(styled("[bold]{name}[/]: [dim]{other}[/]", name=text, other=text)) == f"{text}: {text}"
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row(text)
    assert printed(table) == text


@pytest.mark.parametrize("text", ODD)
def test_progress_prints_texts_from_outside_as_they_are(text: str) -> None:
    file = io.StringIO()
    terminal = Terminal(Printer(file=file, highlight=False, markup=False, emoji=False, width=200))
    terminal.stage(text)
    terminal.warn(text)
    lines = file.getvalue().splitlines()
    assert lines[0].endswith(f"  {text} …")
    assert lines[1] == text


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999", "NaN"])
@pytest.mark.parametrize(
    "command",
    [
        ["search", "--minutes"],
        ["search", "--gpu-hours"],
        ["search", "--cpus-per-trial"],
        ["search", "--gpus-per-trial"],
        ["search", "--checkpoint-seconds"],
        ["plan", "--minutes"],
        ["confirm", "x", "--minutes"],
        ["best", "x", "--max-drop"],
        ["best", "x", "--min-metric"],
        ["export", "x", "--to", "y", "--max-drop"],
    ],
)
def test_numbers_are_finite(
    command: list[str],
    number: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([*command[:-1], f"{command[-1]}={number}"]) == 2
    said = capsys.readouterr().err
    assert f"{command[-1]} is {float(number)}. Give a finite number." in said or "Invalid value for" in said
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pipe_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(SystemExit) as left:
            print_json({"a": "b" * 100_000})
    assert left.value.code == CLOSED_PIPE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no full device")
def test_an_output_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115 (its closing fails, too)
    monkeypatch.setattr(sys, "stdout", full)
    with pytest.raises(OutputLost, match="No space left"):
        print_json(json.loads("{}"))
    os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    full.close()


@pytest.mark.parametrize(
    ("typed", "found", "says", "other"),
    [
        ("/env/bin/prunefront", True, "prunefront", "mlflow"),  # the shell finds it
        ("/env/bin/prunefront", False, "/env/bin/prunefront", "/env/bin/mlflow"),
        (".venv/bin/prunefront", False, ".venv/bin/prunefront", ".venv/bin/mlflow"),
        ("my env/bin/prunefront", False, "'my env/bin/prunefront'", "'my env/bin/mlflow'"),
        ("prunefront", False, "prunefront", "mlflow"),
        ("/usr/lib/python3/pytest/__main__.py", False, "prunefront", "mlflow"),  # called by a program
    ],
)
def test_hints_call_programs_as_the_shell_finds_them(
    typed: str, found: bool, says: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [typed, "show"])
    place = str(Path(typed).parent) if found else "/another/bin"
    monkeypatch.setattr("shutil.which", lambda name: f"{place}/{name}")
    assert (called(), called("mlflow")) == (says, other)


def test_a_hint_with_a_store_can_be_pasted_into_a_shell(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = store / "my store"
    place.mkdir()
    (store / "studies").rename(place / "studies")
    assert run(["show", "toy", "--store", str(place)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("One point:")]
    words = shlex.split(line.removeprefix("One point:"))
    assert words == ["prunefront", "best", "toy", "--max-drop", "0.02", "--store", str(place)]
    assert store_option(Path("mlflow_runs")) == ""


def test_a_ledger_without_sync_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["studies", "--store", str(tmp_path), "--ledger", "sqlite:///x.db"]) == 2
    assert "--ledger is for --sync." in capsys.readouterr().err


SHOW = (sys.executable, "-m", "pipeline", "show", "toy", "--store")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A study of one trial."""
    study = Store(tmp_path).study("toy")
    study.write_record(record(0, point(0.9, 0.3), point(0.8, 0.6)))
    study.write_validation(ids=np.arange(8), labels=np.array([0, 1] * 4))
    study.write_spec(spec())
    return tmp_path


@pytest.mark.parametrize("more", [(), ("--help",)])
def test_show_ends_quietly_where_nobody_reads(store: Path, more: tuple[str, ...]) -> None:
    """As `prunefront show STUDY | head -n 1`: the plot is printed before the table, and both may lose their reader."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        shown = subprocess.run(
            [*SHOW, store, *more], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (shown.returncode, shown.stderr) == (CLOSED_PIPE, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_another_encoding_shows_what_it_can(encoding: str, store: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    shown = subprocess.run([*SHOW, store], env=environment, capture_output=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert "60.0 %" in shown.stdout.decode(encoding)


def test_a_file_in_a_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "studies").write_text("")
    with pytest.raises(NotADirectoryError) as met:
        (tmp_path / "studies" / "toy").mkdir()
    said = outside_cause(met.value)
    assert said is not None
    assert said.startswith(f"{tmp_path}/studies/toy cannot be used: Not a directory. Move away")
    assert outside_cause(ValueError("a fault")) is None
