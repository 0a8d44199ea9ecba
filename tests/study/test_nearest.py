"""The nearest known name to a mistyped one."""

from __future__ import annotations

import pytest

from pipeline.study.nearest import did_you_mean


@pytest.mark.parametrize(
    ("name", "known", "says"),
    [
        ("snipp", ("snip", "smp", "mgpp"), " Did you mean snip"),
        ("sst2", ("glue/sst2", "glue/qqp"), " Did you mean glue/sst2?"),
        ("SNIP", ("snip",), " Did you mean snip?"),
        ("zebra", ("snip", "mgpp"), ""),
        ("a", (), ""),
    ],
)
def test_near_names_are_named(name: str, known: tuple[str, ...], says: str) -> None:
    found = did_you_mean(name, known)
    assert found.startswith(says)
    assert bool(found) == bool(says)
