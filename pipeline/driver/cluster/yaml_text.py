"""YAML as people read it: keys in their order, scripts as blocks of lines."""

from __future__ import annotations

from typing import Any

import yaml

COLUMNS = 110


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML has no types
    pass


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _string)


def dump(tree: dict[str, Any]) -> str:
    """Return a tree as YAML."""
    return str(yaml.dump(tree, Dumper=_Dumper, sort_keys=False, width=COLUMNS))
