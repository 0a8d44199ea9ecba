"""Help: examples that parse, text that flows, a table of methods, completion of names."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typer.main import get_command

from pipeline.cli.app import _with_lists, app, run
from pipeline.cli.commands import TABLE
from pipeline.cli.completion import complete_choice, complete_method, complete_study
from pipeline.cli.examples import EXAMPLES
from pipeline.methods.registry import METHODS, ranks_weights
from pipeline.study.store import Store
from tests.kit.synthetic import spec

COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]


def test_every_command_ends_with_examples_that_parse() -> None:
    assert set(EXAMPLES) == set(COMMANDS)
    for name, lines in EXAMPLES.items():
        assert lines
        for line in lines:
            words = shlex.split(line)
            assert words[:2] == ["prunefront", name]
            # raises on an unknown option or a missing argument
            COMMANDS[name].make_context(name, _with_lists(words[1:])[1:])


@pytest.mark.parametrize("name", ["export", "compare"])
def test_help_shows_them_and_flows(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert EXAMPLES[name][0] in " ".join(shown.split())
    assert all("\n" not in paragraph for paragraph in COMMANDS[name].help.split("\n\n"))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["search", "--trails", "2"], "No such option: --trails. Did you mean --trials?"),
        (["search", "--methd=snip"], "No such option: --methd. Did you mean --method?"),
        (["best", "--max-drp", "0.1"], "No such option: --max-drp. Did you mean --max-drop"),
        (["show", "--qqqqq"], "No such option: --qqqqq."),
    ],
)
def test_an_option_that_is_mistyped_gets_the_nearest_one(
    typed: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(typed) == 2
    said = " ".join(capsys.readouterr().err.replace("│", "").split())
    assert meant in said
    assert "Possible options" not in said


def test_the_help_of_the_program_imports_no_command() -> None:
    code = (
        "import sys; from pipeline.cli.app import run; run(['--help']); print(*sys.modules, file=sys.stderr)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name, entry in TABLE.items():
        assert name in found.stdout
        assert COMMANDS[name].help.split("\n\n")[0] == entry.summary
    loaded = set(found.stderr.split())
    assert not loaded & {
        "numpy",
        "pandas",
        "scipy",
        "sqlalchemy",
        "optuna",
        "pyarrow",
        "pipeline.study.records",
    }


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_has_no_types_that_say_nothing(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert "--help" in said
    assert "<bool>" not in said
    assert "list[" not in said


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_no_name_default_or_range_is_cut_on_a_narrow_terminal(
    name: str, columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= columns
    words = said.replace("│", " ").replace(",", " ").split()
    for each in COMMANDS[name].params:
        for option in (*each.opts, *each.secondary_opts):
            if option.startswith("-"):
                assert words.count(option) >= 1, option
        if isinstance(each.default, int | float) and each.default and not isinstance(each.default, bool):
            assert str(each.default) in said
    cut = [word for word in words if word.endswith("…") and word != "…"]
    assert cut == []


@pytest.mark.parametrize(
    "words",
    [
        ["--tasks", "A", "B", "C"],
        ["--task", "A", "--task", "B", "--task", "C"],
        ["--tasks", "A", "--", "B", "C"],
        ["--tasks", "A", "--seed", "1", "--", "B", "C"],
    ],
)
def test_tasks_of_a_pruner_are_given_in_every_way_that_versions_had(words: list[str]) -> None:
    given = _with_lists(["fit-pruner", "--model", "m", *words])[1:]
    assert COMMANDS["fit-pruner"].make_context("fit-pruner", given).params["tasks"] == ["A", "B", "C"]


@pytest.mark.parametrize("words", [["--tasks"], ["--methods", "x", "--tasks"], ["--tasks", "--methods", "x"]])
def test_a_list_without_a_word_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sweep", *words]) == 2
    said = " ".join(capsys.readouterr().err.replace("│", "").split())
    assert "--tasks has no value. Give one or several: --tasks A B." in said


def test_methods_are_listed_with_what_they_rank(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["methods", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)["methods"]}
    assert set(found) == set(METHODS)
    for name, facts in found.items():
        assert ("weights" in facts["ranks"]) == ranks_weights(name)
    assert found["snip"]["tuned"]
    assert "2010.01791" in found["snip"]["source"]
    assert not found["fisher"]["trains"]
    assert found["smp"]["needs_fit"]
    assert run(["methods", "fisher"]) == 0
    assert "search_spaces/fisher.toml" in capsys.readouterr().out
    assert run(["methods", "fischer"]) == 2
    assert "Did you mean fisher" in capsys.readouterr().err


def test_a_shell_completes_studies_and_methods(tmp_path: Path) -> None:
    for name in ("toy-snip", "toy-obs", "other"):
        Store(tmp_path).write_spec(spec(name))
    context = cast("Any", SimpleNamespace(params={"store": tmp_path}))
    assert complete_study(context, "toy") == ["toy-obs", "toy-snip"]
    context = cast("Any", SimpleNamespace(params={"store": tmp_path / "none"}))
    assert complete_study(context, "") == []
    assert complete_method("sn") == ["snip"]
    assert complete_choice(("nsga2", "none", "tpe"))("n") == ["nsga2", "none"]
