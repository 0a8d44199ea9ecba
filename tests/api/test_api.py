"""What `prunefront` gives: all of it, lazily, the same objects as `pipeline` has; in a built wheel, too."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import pipeline
import prunefront
from pipeline import _MODULES
from pipeline.driver.search.option import options_of

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "ray", "mlflow", "transformers", "optuna", "pyarrow")


def type_checking_imports() -> dict[str, str]:
    """Name -> module, of the TYPE_CHECKING block in pipeline/__init__.py."""
    tree = ast.parse((ROOT / "pipeline" / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    return {
        alias.name: str(node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_what_dir_shows_is_what_is_public() -> None:
    assert dir(prunefront) == sorted([*prunefront.__all__, "__version__"])
    assert dir(pipeline) == sorted([*pipeline.__all__, "__version__"])
    assert all(hasattr(prunefront, name) for name in dir(prunefront))


def test_the_lazy_table_is_what_type_checkers_read() -> None:
    assert {name: f"pipeline.{module}" for name, module in _MODULES.items()} == type_checking_imports()
    assert list(_MODULES) == pipeline.__all__
    assert len(set(pipeline.__all__)) == len(pipeline.__all__)


@pytest.mark.parametrize("name", sorted(_MODULES))
def test_every_public_name_is_there_and_described(name: str) -> None:
    found = getattr(prunefront, name)
    assert found is getattr(pipeline, name)
    assert found is getattr(importlib.import_module(f"pipeline.{_MODULES[name]}"), name)
    assert (found.__doc__ or "").strip()


def test_export_is_the_function_in_prunefront_and_the_wing_in_pipeline() -> None:
    from pipeline.export.export import export

    assert prunefront.export is export
    assert pipeline.export.__name__ == "pipeline.export"  # type: ignore[attr-defined]


def test_an_unknown_name_is_an_attribute_error() -> None:
    for module in (pipeline, prunefront):
        with pytest.raises(AttributeError, match="has no attribute 'searhc'"):
            module.searhc  # noqa: B018
        assert {"search", "load_front"} <= set(dir(module))


def test_importing_loads_nothing_heavy() -> None:
    code = f"import sys, prunefront, pipeline; print([m for m in {HEAVY!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_version_has_one_source() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "pipeline/__init__.py"
    assert prunefront.__version__ == pipeline.__version__


WHEEL_CODE = """
import json, runpy, sys, pathlib, prunefront, pipeline
from importlib.metadata import version
from pipeline.study.space import known_methods
print(json.dumps({
    "places": [prunefront.__file__, pipeline.__file__],
    "version": [prunefront.__version__, version("prunefront")],
    "same": prunefront.load_front is pipeline.load_front and prunefront.BadInput is pipeline.BadInput,
    "methods": len(known_methods()),
    "typed": all((pathlib.Path(m.__file__).parent / "py.typed").is_file() for m in (prunefront, pipeline)),
    "twins": [n for n in sys.modules if n.startswith("prunefront.")],
}), flush=True)
sys.argv = ["prunefront", "--help"]
runpy.run_module("prunefront", run_name="__main__")
"""


def test_a_built_wheel_has_both_names(tmp_path: Path) -> None:
    """Built from this source by pip, installed into a fresh folder, imported from elsewhere."""
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    pip += ["--no-compile"]  # 400 files, of which a tenth is imported
    subprocess.run([*pip, "--target", str(target), str(ROOT)], check=True, timeout=200)
    there = {path.name for path in target.iterdir() if path.suffix != ".dist-info"} - {"bin"}
    assert there == {"pipeline", "prunefront"}
    assert (target / "pipeline" / "search_spaces" / "snip.toml").is_file()
    assert (target / "pipeline" / "task" / "corpus" / "train.parquet").is_file()
    run = subprocess.run(
        [sys.executable, "-P", "-c", WHEEL_CODE],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(target)},
        cwd=tmp_path,
    )
    line, help_page = run.stdout.split("\n", 1)
    found = json.loads(line)
    assert all(Path(place).is_relative_to(target) for place in found["places"])
    assert found["version"][0] == found["version"][1] == pipeline.__version__
    assert found["same"]
    assert found["typed"]
    assert found["methods"] == 25
    assert found["twins"] == []
    assert "search" in help_page


def test_the_docstring_of_search_explains_every_option() -> None:
    text = pipeline.search.__doc__ or ""
    for option in options_of(pipeline.Search):
        line = next(line for line in text.splitlines() if line.startswith(f"        {option.name}: "))
        assert len(line.split()) > 2, option.name
        assert "[dim]" not in line
