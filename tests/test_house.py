"""The house stays as README and the floors say: imports point down, the tree is true, spaces fit methods."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.methods.registry import METHODS
from pipeline.study.space import TRIAL_KEYS, load_space

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pipeline"

# A room imports only from floors below its own.
FLOORS: tuple[tuple[str, ...], ...] = (
    (
        "batches",
        "dropout",
        "metrics",
        "norms",
        "pareto",
        "process",
        "provenance",
        "recompute",
        "records",
        "spectral",
    ),
    (
        "anatomy",
        "compiling",
        "losses",
        "phases",
        "precision",
        "space",
        "statistics",
        "store",
        "task",
        "vocabulary",
    ),
    ("distillation", "gates", "halving", "recipe", "weights"),
    ("allocation", "figures", "fronts", "halves", "measure", "methods", "models", "study", "surgery"),
    ("checkpoint", "columns", "confirmed", "curve", "finetune", "job", "latency", "picking", "resolve"),
    ("compare", "course", "portfolio", "resume", "rungs", "settings", "tracking"),
    ("delivery", "pruners", "report", "rerun", "trial"),
    ("anchors", "execute", "reopening"),
    ("confirm", "networks", "sweep"),
    ("export", "manifests", "plan"),
    ("cli",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

LONGEST = 300  # lines of a file
# What may stand behind one door only.
DOORS = {"ray": {"execute"}, "mlflow": {"tracking"}}
# Rooms that read results: quick on a laptop.
READERS = (
    "fronts",
    "store",
    "pareto",
    "metrics",
    "halves",
    "figures",
    "records",
    "tracking",
    "study",
    "statistics",
    "confirmed",
    "compare",
    "settings",
    "report",
)
HEAVY = ("torch", "ray", "transformers", "datasets")


# Of a room that is a folder, the others see what its __init__ gives.
ROOMS_INSIDE = {
    folder.name: {path.stem for path in folder.glob("*.py")} - {"__init__"}
    for folder in PACKAGE.iterdir()
    if folder.is_dir()
}


def sources() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE or "__" not in path.name]


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imports(path: Path) -> set[str]:
    """Dotted names of all that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    assert room in FLOOR, f"{room} stands on no floor: add it to FLOORS and to README's tree"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "pipeline" or len(parts) < 2 or parts[1] == room:
            continue
        assert len(parts) < 4 or parts[1] == "methods" or parts[2] not in ROOMS_INSIDE.get(parts[1], set()), (
            f"{room} reaches into {parts[1]}: import from pipeline.{parts[1]}"
        )
        assert FLOOR[parts[1]] < FLOOR[room], (
            f"{room} (floor {FLOOR[room]}) imports {parts[1]} ({FLOOR[parts[1]]})"
        )


def test_methods_import_no_other_method() -> None:
    for path in (PACKAGE / "methods").glob("*.py"):
        siblings = {name.split(".")[2] for name in imports(path) if name.startswith("pipeline.methods.")}
        assert path.stem == "__init__" or siblings <= {"base", "gated", "scored", "weighted"}, path.name


@pytest.mark.parametrize("library", sorted(DOORS))
def test_each_library_has_one_door(library: str) -> None:
    inside = {room_of(path) for path in sources() if any(n.split(".")[0] == library for n in imports(path))}
    assert inside <= DOORS[library]


def test_reading_results_loads_nothing_heavy() -> None:
    lines = "; ".join(f"import pipeline.{room}" for room in READERS)
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


def test_readmes_tree_names_every_room_and_no_other() -> None:
    tree = re.search(r"## The tree\n.*?```\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert tree is not None, "README has a section 'The tree' with a block"
    named = set(re.findall(r"^\s{2,4}(\w+)(?:\.py|/)\s", tree.group(1), re.M))
    assert named == set(FLOOR) | {"__init__", "__main__"}


def test_floors_hold_only_rooms_that_are_there() -> None:
    assert {room_of(path) for path in sources()} == set(FLOOR)


def test_files_are_small() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert {path: count for path, count in lines.items() if count > LONGEST} == {}


def test_every_dependency_says_which_file_wants_it() -> None:
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
