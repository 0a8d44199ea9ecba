"""Environments with torch, one transformers and nothing else: what a person has who is given an exported folder.

Torch and what it needs are linked from where the tests run; a transformers that is not there is installed by pip.
Kept in a folder of the user's under the temporary one, by version: made in seconds, and anew where the environment that
it is linked from has gone.
"""

from __future__ import annotations

import getpass
import secrets
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

TORCH = ("torch", "numpy", "safetensors")
# The newest transformers 4, with those of its dependencies that transformers 5 does not share.
TRANSFORMERS_4 = ("transformers==4.57.6", "huggingface-hub==0.36.2", "tokenizers==0.22.2")
SHARED_BY_4 = ("filelock", "packaging", "pyyaml", "regex", "requests", "tqdm", "fsspec", "typing-extensions")


def with_transformers_4() -> Path:
    """The Python of an environment with torch and the newest transformers 4."""
    return _environment("-".join(TRANSFORMERS_4[:1]), linked=(*TORCH, *SHARED_BY_4), installed=TRANSFORMERS_4)


def with_transformers_5() -> Path:
    """The Python of an environment with torch and the transformers that the tests run with."""
    version = distribution("transformers").version
    return _environment(f"transformers=={version}", linked=(*TORCH, "transformers"), installed=())


def with_sentence_transformers() -> Path:
    """The Python of an environment with torch and the sentence-transformers that the tests run with."""
    version = distribution("sentence-transformers").version
    return _environment(f"sentence-transformers=={version}", linked=("sentence-transformers",), installed=())


def _environment(name: str, *, linked: Iterable[str], installed: tuple[str, ...]) -> Path:
    torch = distribution("torch").version
    root = Path(tempfile.gettempdir()) / f"prunefront-tests-{getpass.getuser()}"
    place = root / f"{name}-torch=={torch}-python{sys.version_info.major}.{sys.version_info.minor}"
    if not next(place.glob("lib/python*/site-packages/torch/__init__.py"), None):
        root.mkdir(mode=0o700, exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        part = root / f".{secrets.token_hex(4)}.part"
        try:
            _make(part, linked, installed)
            part.rename(place)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return place / "bin" / "python"


def _make(part: Path, linked: Iterable[str], installed: tuple[str, ...]) -> None:
    venv.create(part, symlinks=True, with_pip=False)
    site = next((part / "lib").glob("python*/site-packages"))
    if installed:
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            str(site),
            *installed,
        ]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode and "Could not find a version" in run.stderr + run.stdout:
            pytest.skip(f"no package index to fetch {installed[0]} from")
        assert run.returncode == 0, run.stderr
    for found in _closure(linked):
        for entry in _entries(found):
            link = site / entry.name
            if not link.exists():
                link.symlink_to(entry)


def _closure(names: Iterable[str]) -> list[Distribution]:
    """Installed distributions, and all that they require."""
    found: dict[str, Distribution] = {}
    left = list(names)
    while left:
        name = left.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # for another system or Python
            continue
        for text in found[name].requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                left.append(needed.name)
    return list(found.values())


def _entries(found: Distribution) -> set[Path]:
    """What a distribution has in site-packages, at the top."""
    site = Path(str(found.locate_file("")))
    tops = {Path(str(file)).parts[0] for file in found.files or ()}
    return {site / top for top in tops if top not in ("..", "__pycache__") and not top.endswith(".pth")}
