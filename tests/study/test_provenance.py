"""Where numbers come from: asked of git and the package index another way."""

import importlib.util
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import pipeline
from pipeline.study import provenance

ROOT = Path(__file__).resolve().parents[2]


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def copied(tmp_path: Path) -> ModuleType:
    """The module in another checkout, as deep in its package as it is here."""
    path = tmp_path / "package" / Path(provenance.__file__).relative_to(Path(pipeline.__file__).parent)
    path.parent.mkdir(parents=True)
    shutil.copy(provenance.__file__, path)
    spec = importlib.util.spec_from_file_location("copied_provenance", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_versions_are_those_that_run():
    facts = provenance.provenance()
    assert facts["version/torch"] == torch.__version__
    assert facts["version/numpy"] == np.__version__
    assert facts["version/prunefront"] == version("prunefront")
    assert all(facts[key] for key in ("cpu", "cpu_cores", "host", "version/python"))


def test_an_installed_package_has_no_commit(copied: ModuleType):
    assert copied.provenance()["commit"] == ""


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout")
def test_this_checkout_has_its_commit():
    assert provenance.provenance()["commit"].removesuffix("+") == git(ROOT, "rev-parse", "HEAD")


def test_a_checkout_has_its_commit_and_a_plus_if_it_was_changed(copied: ModuleType, tmp_path: Path):
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "untracked").write_text("does not count")
    assert copied.provenance()["commit"] == head
    copied.provenance.cache_clear()
    with Path(copied.__file__).open("a") as file:
        file.write("# changed\n")
    assert copied.provenance()["commit"] == f"{head}+"


def test_a_package_that_is_missing_is_named_so(copied: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(copied, "PACKAGES", ("no-such-package",))
    assert copied.provenance()["version/no-such-package"] == "not installed"
