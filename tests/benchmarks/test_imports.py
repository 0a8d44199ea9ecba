"""Every benchmark can be imported: nothing else runs them in the suite, and names move."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(HERE).with_suffix("").parts)
    for path in HERE.rglob("*.py")
    if not path.name.startswith(("test_", "__"))
)
RIVALS = {"moasha": "syne_tune", "primo": "neps"}  # which need packages that are not in the lock


@pytest.mark.parametrize("name", MODULES)
def test_it_is_imported(name: str) -> None:
    if name in RIVALS:
        pytest.importorskip(RIVALS[name])
    importlib.import_module(f"tests.benchmarks.{name}")
