"""The house stays as its documentation says: imports point down, the wings are nine, spaces fit methods."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from pipeline.methods.registry import METHODS
from pipeline.study.space import TRIAL_KEYS, load_space

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pipeline"

# A wing imports only from floors below its own.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("study",),
    ("task", "model", "fronts"),
    ("methods",),
    ("trial",),
    ("driver",),
    ("export",),
    ("cli",),
)
FLOOR = {wing: floor for floor, wings in enumerate(FLOORS) for wing in wings}

LONGEST = 300  # lines of a file
WING_LINES = 10  # of a wing's __init__: what the wing is for, and nothing else
# What may be imported behind one door only.
DOORS = {"ray": "driver/execute", "mlflow": "driver/tracking"}
# Wings and rooms that read results: quick on a laptop.
READERS = ("study", "fronts", "driver/tracking")
HEAVY = ("torch", "ray", "transformers", "datasets")
# Words of a dialect: a parameter is not told, a server does not hear. Also as a part of a name.
ODD = re.compile(
    r"(?<![a-z])(un)?(told|hears?|heard|who(m)?ever|nobody|somebody|so\s(#\s)?many)(?![a-z])", re.IGNORECASE
)


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def inside() -> list[Path]:
    """All files but the two of the top level."""
    return [path for path in sources() if path.parent != PACKAGE]


def wing_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def name_of(path: Path) -> str:
    """The dotted name of a file as it is imported."""
    return ".".join(("pipeline", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sources()}


@cache
def imports(path: Path) -> frozenset[str]:
    """Dotted names of all that a file imports, wherever in it: a module of ours where it is one."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES and alias.name not in given(node.module) else node.module)
    return frozenset(found)


@cache
def given(module: str) -> frozenset[str]:
    """The names in a module's __all__: `from pipeline.export.confirm import confirm` is a function, not the file."""
    if module not in MODULES:
        return frozenset()
    for node in ast.parse(MODULES[module].read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return frozenset(ast.literal_eval(node.value))
    return frozenset()


def ours(path: Path) -> frozenset[str]:
    return frozenset(name for name in imports(path) if name in MODULES and name != "pipeline")


def test_the_package_has_nine_wings_and_nothing_else() -> None:
    there = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert there == set(FLOOR) | {"__init__.py", "__main__.py", "py.typed"}


def test_imports_point_down() -> None:
    up = [
        f"{path.relative_to(PACKAGE)} (floor {FLOOR[wing_of(path)]}) imports {name} (floor {FLOOR[wing]})"
        for path in inside()
        for name in sorted(ours(path))
        if (wing := name.split(".")[1]) != wing_of(path) and FLOOR[wing] >= FLOOR[wing_of(path)]
    ]
    assert up == []


def test_rooms_of_other_wings_are_entered_by_their_door() -> None:
    """Of a folder in another wing, a file imports what the folder's own __init__ gives."""
    past = [
        f"{path.relative_to(PACKAGE)} reaches into {door}: import from {door}, not from {name}"
        for path in inside()
        for name in sorted(ours(path))
        if name.split(".")[1] != wing_of(path)
        and name.count(".") >= 3
        and given(door := name.rpartition(".")[0])
    ]
    assert past == []


def test_no_two_files_import_each_other() -> None:
    mutual = {
        tuple(sorted((name, other)))
        for name, path in MODULES.items()
        for other in ours(path)
        if other != name and name in ours(MODULES[other])
    }
    assert mutual == set()


def test_wings_say_what_they_are_for_and_import_nothing() -> None:
    for wing in FLOOR:
        text = (PACKAGE / wing / "__init__.py").read_text()
        tree = ast.parse(text)
        assert ast.get_docstring(tree), wing
        assert len(tree.body) == 1, f"{wing}/__init__.py holds more than its description"
        assert len(text.splitlines()) <= WING_LINES, wing


def test_methods_import_no_other_method() -> None:
    for path in (PACKAGE / "methods").glob("*.py"):
        if path.stem in ("__init__", "registry"):
            continue
        siblings = {name.split(".")[2] for name in ours(path) if name.startswith("pipeline.methods.")}
        assert siblings <= {"base", "bases"}, path.name


@pytest.mark.parametrize("library", sorted(DOORS))
def test_each_library_has_one_door(library: str) -> None:
    door = PACKAGE / DOORS[library]
    users = {path for path in sources() if any(name.split(".")[0] == library for name in imports(path))}
    assert {path for path in users if door not in path.parents} == set()


def test_reading_results_loads_nothing_heavy() -> None:
    readers = [name_of(path) for path in inside() if any(PACKAGE / room in path.parents for room in READERS)]
    lines = "; ".join(f"import {name}" for name in readers if not name.endswith(".served"))
    code = f"import sys; {lines}; print([m for m in {HEAVY!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_methods_fields_are_the_keys_of_its_space(method: str) -> None:
    space = load_space(method, file=None, pretrained=True)
    _, own = space.split(space.defaults())
    names = {field.name for field in fields(METHODS[method]) if field.init}  # type: ignore[arg-type]
    assert set(own) - set(TRIAL_KEYS) == names
    assert len({"threshold", "target"} & set(own)) == 1


def test_files_are_small() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert {path: count for path, count in lines.items() if count > LONGEST} == {}


def test_words_are_plain() -> None:
    """In docstrings, comments, messages, names and pages; the log and its quotations excepted."""
    folders = ("pipeline", "prunefront", "docs", "examples", "search_spaces")
    texts = [path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
    texts = [
        path for path in texts if path.suffix in (".py", ".js", ".md", ".toml") and ".min." not in path.name
    ]
    texts += sorted(ROOT.glob("*.md"))
    found = [
        f"{path.relative_to(ROOT)}: {word[0]}"
        for path in texts
        if path != ROOT / "docs" / "log.md"
        for word in ODD.finditer(
            path.read_text().replace("penalties_told_apart", "")
        )  # a key of `best --json`
    ]
    assert len(texts) > 400
    assert found == []


def test_tests_mirror_the_wings() -> None:
    others = {"api", "kit", "benchmarks", "chaos", "faults", "docs", "examples"}
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name[0] not in "_."}
    assert folders - others == set(FLOOR)
    assert {path.name for path in (ROOT / "tests").glob("test_*.py")} == {"test_house.py"}


def test_no_test_file_imports_another() -> None:
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            assert not re.match(r"tests\.(.+\.)?(test_\w+|conftest)$", module), f"{path}: {module}"


def test_every_dependency_names_the_files_that_use_it() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    wanted = [line for line in lines if re.match(r'\s+"[a-z][\w\[\]-]*[>=<]', line)]
    assert len(wanted) > 15
    for line in wanted:
        assert re.search(r"#\s\S+", line), f"no reason beside {line.strip()}"


def test_the_lock_pins_everything_for_any_machine() -> None:
    rows = [row for row in (ROOT / "requirements.lock").read_text().splitlines() if row and row[0] != "#"]
    assert len(rows) > 50
    for row in rows:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", row), row  # no +cpu, no hashes, no folders
        assert not row.lower().startswith(("nvidia-", "triton")), row
