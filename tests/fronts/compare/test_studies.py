"""`prunefront.compare`: studies of a store by name, task or method."""

from __future__ import annotations

from pathlib import Path

import pytest

import prunefront
from tests.kit.compare import write_group


def test_it_compares_the_studies_that_are_named(tmp_path: Path) -> None:
    first = write_group(tmp_path, "snip", [0.70, 0.71, 0.72])
    second = write_group(tmp_path, "chance", [0.60, 0.60, 0.62], method="chance")
    found = prunefront.compare([*first, *second], store=tmp_path)
    assert [group.label for group in found.groups] == ["snip", "chance"]
    assert any("snip" in sentence and "chance" in sentence for sentence in prunefront.sentences(found))
    assert prunefront.compare(method="chance", store=str(tmp_path)).groups[0].spec.method == "chance"


def test_no_studies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(prunefront.BadInput, match="No study is named"):
        prunefront.compare(store=tmp_path)
